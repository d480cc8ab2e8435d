"""A material made ready to be kept: divided, its passages analysed. Runs in the child process that read it."""

from __future__ import annotations

from dataclasses import replace

from ansambl.domain.knowledge import Material, Passage
from ansambl.domain.past_conversation import PastConversation
from ansambl.knowledge.analysis.likeness import fingerprint
from ansambl.knowledge.analysis.terms import terms_of
from ansambl.knowledge.passages.dividing import divide
from ansambl.knowledge.passages.limits import DEFAULT, PassageLimits
from ansambl.knowledge.prepared import Prepared


def prepared(
    material: Material, digest: str, conversation: PastConversation | None = None, limits: PassageLimits = DEFAULT
) -> Prepared:
    """All that is kept of a material: `digest` is the hash of what was read (hexadecimal)."""
    passages: list[Passage] = []
    terms: list[dict[str, int]] = []
    contexts: dict[str, dict[str, int]] = {}
    for passage in divide(material, limits):
        counted = terms_of(passage.text, passage.language)
        # Of the text alone: what says the same under another title is folded, too.
        passages.append(replace(passage, fingerprint=fingerprint(counted)))
        if passage.context:
            if passage.context not in contexts:
                contexts[passage.context] = terms_of(passage.context, passage.language)
            for term, times in contexts[passage.context].items():
                counted[term] = counted.get(term, 0) + times
        terms.append(counted)
    return Prepared(material, tuple(passages), tuple(terms), digest, conversation)
