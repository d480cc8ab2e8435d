"""A conversation as bytes for the store, its hash, and which of two states of one is the newer."""

from __future__ import annotations

import hashlib

import msgspec

from ansambl.domain.past_conversation import PastConversation, Turn

_ENCODER = msgspec.msgpack.Encoder(order="sorted")
_DECODER = msgspec.msgpack.Decoder(PastConversation)


def encode(conversation: PastConversation) -> bytes:
    """The whole conversation as bytes; equal ones give equal bytes."""
    return _ENCODER.encode(conversation)


def decode(data: bytes) -> PastConversation:
    """The conversation that `encode` made `data` of.

    Raises:
        ValueError: the bytes are no conversation.
    """
    return _DECODER.decode(data)


def digest(conversation: PastConversation) -> str:
    """The hash of what was said and when (hexadecimal), so that the same export again adds nothing.

    What our reading of it adds (warnings, counts of repairs, other facts) changes nothing.
    """
    said = (
        conversation.source, conversation.id, conversation.title, conversation.turns, conversation.branches,
        conversation.facts.get("model", ""),
    )  # fmt: skip
    return hashlib.sha256(_ENCODER.encode(said)).hexdigest()


def supersedes(new: PastConversation, old: PastConversation) -> bool:
    """Whether `new` takes the place of `old`, two states of one conversation: an older export never undoes a newer.

    The time of the last change decides; where one of them has none, or they are equal, the number of turns. Where the
    same is said in both, nothing is undone: its dates may be read in another way now (the month first).
    """
    if _said(new) == _said(old):
        return True
    if new.updated is not None and old.updated is not None and abs(new.updated - old.updated) >= 1:
        return new.updated > old.updated
    return _size(new) >= _size(old)


def _said(one: PastConversation) -> tuple[str, list[str]]:
    return one.title, [turn.text for turn in _turns(one)]


def _turns(one: PastConversation) -> list[Turn]:
    return [*one.turns, *(turn for branch in one.branches for turn in branch.turns)]


def _size(one: PastConversation) -> tuple[int, int]:
    turns = _turns(one)
    return len(turns), sum(len(turn.text) for turn in turns)
