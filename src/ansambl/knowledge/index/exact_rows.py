"""What `exact` knows of each row of its vectors, as columns in memory: filters become one mask in a millisecond."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ansambl.domain.knowledge import Filters

_CODED = ("collection", "kind", "source", "author", "role", "language", "owner")
_NONE = 0
"""The code of None, which no filter names."""


@dataclass(frozen=True, slots=True)
class RowBook:
    """Columns by row. A book is never changed: a change makes another, so that a search under way keeps its own."""

    ids: NDArray[np.int64]
    alive: NDArray[np.bool_]
    documents: NDArray[np.int64]
    times: NDArray[np.float64]
    coded: NDArray[np.int32]
    codes: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def used(self) -> int:
        """Rows that can be found."""
        return int(np.count_nonzero(self.alive))

    @property
    def unused(self) -> int:
        """Rows of passages that were removed or replaced."""
        return len(self.alive) - self.used

    @classmethod
    def empty(cls) -> RowBook:
        """A book of no rows."""
        return cls(
            np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.int64), np.zeros(0, np.float64),
            np.zeros((len(_CODED), 0), np.int32), {name: {} for name in _CODED},
        )  # fmt: skip

    @classmethod
    def read(cls, rows: Iterable[Sequence[Any]], count: int) -> RowBook:
        """From the table: row, id, document, collection, kind, source, author, role, language, time, owner."""
        changes = [(row, (one, row, *rest)) for row, one, *rest in rows]
        return cls.empty().changed(changes, (), count)

    def changed(self, added: Sequence[tuple[int, tuple[Any, ...]]], buried: Sequence[int], count: int) -> RowBook:
        """A book of `count` rows with what was added (the table's values by row), without what was buried."""
        former = len(self.alive)

        def grown(column: NDArray[Any], fill: Any) -> NDArray[Any]:
            wider = np.full(count, fill, column.dtype)
            wider[:former] = column
            return wider

        ids, documents = grown(self.ids, -1), grown(self.documents, -1)
        times, alive = grown(self.times, np.nan), grown(self.alive, False)
        coded = np.zeros((len(_CODED), count), np.int32)
        coded[:, :former] = self.coded
        codes = {name: dict(known) for name, known in self.codes.items()}
        if added:
            rows = np.fromiter((row for row, _ in added), np.int64, len(added))
            # id, row, document, collection, kind, source, author, role, language, time, owner
            columns = list(zip(*(values for _, values in added), strict=True))
            ids[rows], documents[rows] = columns[0], columns[2]
            times[rows] = [np.nan if one is None else one for one in columns[9]]
            for number, (name, values) in enumerate(zip(_CODED, (*columns[3:9], columns[10]), strict=True)):
                known = codes[name]
                coded[number, rows] = [
                    _NONE if one is None else known.setdefault(one, len(known) + 1) for one in values
                ]
            alive[rows] = True
        if len(buried):
            alive[np.asarray(buried, np.int64)] = False
        return RowBook(ids, alive, documents, times, coded, codes)

    def kept(self, rows: NDArray[np.int64]) -> RowBook:
        """A book of these rows alone, in their order."""
        return RowBook(
            self.ids[rows], self.alive[rows], self.documents[rows], self.times[rows], self.coded[:, rows], self.codes
        )

    def mask(self, filters: Filters) -> NDArray[np.bool_]:
        """Which rows may be found."""
        mask = self.alive.copy()
        wanted_sets = (
            filters.collections, filters.kinds, filters.sources, filters.authors, filters.roles, filters.languages,
            filters.owners,
        )  # fmt: skip
        for number, (name, wanted) in enumerate(zip(_CODED, wanted_sets, strict=True)):
            if wanted is not None:
                known = self.codes[name]
                allowed = [known[str(one)] for one in wanted if str(one) in known]
                mask &= np.isin(self.coded[number], np.asarray(allowed, np.int32))
        if filters.documents is not None:
            mask &= np.isin(self.documents, np.asarray(filters.documents, np.int64))
        if filters.since is not None:
            mask &= self.times >= filters.since
        if filters.until is not None:
            mask &= self.times < filters.until
        return mask
