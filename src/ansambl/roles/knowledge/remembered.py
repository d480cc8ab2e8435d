"""Which passages stood at which turn, so that they stand there again: the API is stateless. In memory alone.

The text of documents is not written a second time: what is removed from a collection is then gone, and not in a table
of turns. A restart, or a conversation that many others came after, therefore costs one prefill from the first turn on
that had passages; the turns after it hold again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ansambl.roles.knowledge.records import Given

CAPACITY = 48 * 2**20
"""Bytes of passages that are remembered, all conversations together; those that were asked for longest ago go first."""

_SMALLEST = 512


@dataclass(frozen=True, slots=True)
class Stood:
    """What a turn's prompt held: its own passages, and whether those of all turns before it were left out."""

    given: Given | None
    drops_earlier: bool = False
    owner: str = ""

    @property
    def size(self) -> int:
        """Bytes, about."""
        if self.given is None:
            return _SMALLEST
        # Python keeps Russian in two bytes a letter, and the text of a passage stands in its source, too.
        return _SMALLEST + 4 * len(self.given.text)


class RememberedPassages:
    """Turns by the digest of their conversation up to the answer (`canonical`), bounded in bytes."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._turns: OrderedDict[bytes, Stood] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._turns)

    def keep(self, digest: bytes, stood: Stood) -> None:
        """Remember a turn, in place of what was known of it."""
        self._remove(digest)
        self._turns[digest] = stood
        self.size += stood.size
        while self.size > self._capacity:
            self._remove(next(iter(self._turns)))

    def find(self, turns: Sequence[tuple[bytes, int]]) -> dict[int, Given]:
        """What stands in the messages of a history. `turns` are digests, in order, with the message of each.

        What stood before the last turn that left earlier passages out stays out.
        """
        found: dict[int, Given] = {}
        for digest, index in turns:
            stood = self._turns.get(digest)
            if stood is None:
                continue
            self._turns.move_to_end(digest)
            if stood.drops_earlier:
                found = {place: given for place, given in found.items() if place >= index}
            if stood.given is not None:
                found[index] = stood.given
        return found

    def forget_owner(self, owner: str) -> None:
        """Forget all turns of an API key."""
        self._forget(digest for digest, stood in self._turns.items() if stood.owner == owner)

    def forget_documents(self, documents: Iterable[int]) -> None:
        """Forget all turns that hold a passage of one of these documents."""
        gone = frozenset(documents)
        self._forget(
            digest
            for digest, stood in self._turns.items()
            if stood.given is not None and any(one.piece.document.id in gone for one in stood.given.sources)
        )

    def _forget(self, digests: Iterable[bytes]) -> None:
        for digest in list(digests):
            self._remove(digest)

    def _remove(self, digest: bytes) -> None:
        stood = self._turns.pop(digest, None)
        if stood is not None:
            self.size -= stood.size
