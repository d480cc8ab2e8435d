"""Vectors for passages that have none: in batches, newest passages first, kept as they come."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.knowledge import Passage
from ansambl.domain.text import text
from ansambl.knowledge.contract import Refused, Stopped
from ansambl.knowledge.embedding import Embedder, Vectors, VectorSpace
from ansambl.knowledge.ingest.progress import Telling
from ansambl.knowledge.store.database import KnowledgeDatabase
from ansambl.knowledge.store.records import passage_of
from ansambl.knowledge.store.spaces import put_vectors, without_vector
from ansambl.knowledge.store.texts import text_of

_WINDOW = 256
"""Passages that are fetched at once; a batch is smaller."""

_LAST = 2**63 - 1


@dataclass(slots=True)
class _Wanted:
    digest: bytes
    text: str
    place: str
    passages: int


@dataclass(slots=True)
class Embedded:
    """What a run did."""

    passages: int = 0
    refused: list[Refused] = field(default_factory=list)


class Embedding:
    """One run over all passages that have no vector in a space."""

    def __init__(
        self, database: KnowledgeDatabase, embedder: Embedder, number: int, space: VectorSpace, *,
        embedded_text: Callable[[Passage], str], telling: Telling, stopped: Stopped | None,
        kept: Callable[[], None],
    ) -> None:  # fmt: skip
        """`kept` is called when a batch was kept."""
        self._database, self._embedder, self._number, self._space = database, embedder, number, space
        self._embedded_text, self._telling, self._stopped, self._kept = embedded_text, telling, stopped, kept
        self._failed: set[bytes] = set()
        self.done = Embedded()

    def run(self) -> Embedded:
        """Embed until nothing is left, also of what comes meanwhile.

        Raises:
            UnavailableError: the model cannot be asked now; what was done stays.
        """
        below = _LAST
        found_some = False
        while True:
            window = self._window(below)
            if window is None:
                if below == _LAST or not found_some:
                    return self.done
                # New ones may have come at the top meanwhile.
                below, found_some = _LAST, False
                continue
            wanted, below = window
            size = max(1, self._embedder.batch)
            for start in range(0, len(wanted), size):
                if self._stopped is not None and self._stopped():
                    return self.done
                batch = wanted[start : start + size]
                self._telling.tell(current=batch[0].place)
                found = self._vectors(batch)
                if not found:
                    continue
                count = self._keep(found)
                found_some = True
                self.done.passages += count
                self._telling.step(count)
                self._kept()

    def _keep(self, found: Sequence[tuple[bytes, Vectors]]) -> int:
        return self._database.write(lambda connection: put_vectors(connection, self._number, found))

    def _window(self, below: int) -> tuple[list[_Wanted], int] | None:
        """The next texts, each once, and the number below which to go on."""
        with self._database.snapshot() as connection:
            rows = without_vector(connection, self._number, below, _WINDOW)
            if not rows:
                return None
            wanted: dict[bytes, _Wanted] = {}
            for row in rows:
                digest = row["hash"]
                if digest in self._failed:
                    continue
                if digest in wanted:
                    wanted[digest].passages += 1
                    continue
                passage = passage_of(row, partial(text_of, connection, row["document"], row["start"], row["stop"]))
                place = connection.execute("SELECT place FROM documents WHERE id = ?", (row["document"],)).fetchone()
                wanted[digest] = _Wanted(digest, self._embedded_text(passage), place[0], 1)
            return list(wanted.values()), rows[-1]["id"]

    def _vectors(self, batch: Sequence[_Wanted]) -> list[tuple[bytes, Vectors]]:
        """The vectors of a batch; where the model refuses it, of its halves, down to the one that it refuses."""
        try:
            found = self._checked(self._embedder.passages([one.text for one in batch]), len(batch))
        except UnavailableError:
            raise
        except AnsamblError as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                return [*self._vectors(batch[:middle]), *self._vectors(batch[middle:])]
            self._failed.add(batch[0].digest)
            refused = Refused(batch[0].place, text("a passage got no vector: {reason}", reason=error.message))
            self.done.refused.append(refused)
            self._telling.step(batch[0].passages, current=batch[0].place, note=str(refused.reason))
            return []
        return [(one.digest, vector) for one, vector in zip(batch, found, strict=True)]

    def _checked(self, found: Vectors, count: int) -> Vectors:
        """Rows of unit length, or an error: a model that was replaced behind its name must not spoil the space."""
        if found.shape != (count, self._space.dimension):
            message = text(
                "the model {model} gave {shape} numbers where {wanted} were due, so they do not fit the earlier "
                "ones",
                model=self._space.model, shape="x".join(map(str, found.shape)),
                wanted=f"{count}x{self._space.dimension}",
            )  # fmt: skip
            raise AnsamblError(message)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if not np.all(np.isfinite(lengths)) or not np.all(lengths > 0):
            raise AnsamblError(text("the model {model} gave a vector without a direction", model=self._space.model))
        unit: Vectors = (found / lengths).astype(np.float32)
        return unit


def seconds_for(passages: int, rate: float | None) -> float | None:
    """How long so many passages take; None where the rate is not known."""
    return math.ceil(passages / rate) if rate else None
