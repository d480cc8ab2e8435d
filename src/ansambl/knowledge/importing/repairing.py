"""Undoing wrong character sets in a whole conversation: what one turn shows helps to see it in the short ones."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from ansambl.domain.past_conversation import Branch, PastConversation, Turn
from ansambl.knowledge.importing.repair import repaired


def with_repairs(conversation: PastConversation) -> PastConversation:
    """The conversation with its texts, titles and names as they were written; `repairs` counts what was undone."""
    texts = [conversation.title]
    turns = (*conversation.turns, *(turn for one in conversation.branches for turn in one.turns))
    for turn in turns:
        texts += (turn.text, *turn.attachments)
    first = [repaired(one) for one in texts]
    seen = {one.mistake for one in first if one.mistake}
    if not seen:
        return conversation
    counts: Counter[str] = Counter(conversation.repairs)
    expected = frozenset(seen)

    def mended(text: str) -> str:
        found = repaired(text, expected)
        if found.mistake:
            counts[found.mistake] += found.count
        return found.text

    def turn_of(turn: Turn) -> Turn:
        return replace(turn, text=mended(turn.text), attachments=tuple(mended(one) for one in turn.attachments))

    return replace(
        conversation,
        title=mended(conversation.title),
        turns=tuple(turn_of(one) for one in conversation.turns),
        branches=tuple(Branch(one.after, tuple(turn_of(turn) for turn in one.turns)) for one in conversation.branches),
        repairs=dict(sorted(counts.items())),
    )
