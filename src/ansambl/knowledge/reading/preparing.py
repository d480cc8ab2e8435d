"""From a material to a document that can be kept: divided, its words counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ansambl.domain.knowledge import Material
from ansambl.domain.past_conversation import PastConversation
from ansambl.knowledge.analysis.likeness import fingerprint
from ansambl.knowledge.analysis.terms import terms_of
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.passages.dividing import divide, searched_text
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading.limits import ReadingLimits
from ansambl.knowledge.reading.options import ReadingOptions
from ansambl.knowledge.reading.read import digested


def documents(path: Path, place: str, limits: ReadingLimits, options: ReadingOptions) -> Iterator[Prepared | Refused]:
    """All documents of a file, prepared, and what was refused."""
    for one in digested(path, place, limits, options):
        yield one if isinstance(one, Refused) else prepared(one.material, one.digest)


def prepared(material: Material, digest: str, conversation: PastConversation | None = None) -> Prepared:
    """One document: its passages, and the terms of each."""
    passages, terms = [], []
    for passage in divide(material):
        counted = terms_of(searched_text(passage), passage.language)
        terms.append(counted)
        passages.append(replace(passage, fingerprint=fingerprint(counted)))
    return Prepared(material, tuple(passages), tuple(terms), digest, conversation)
