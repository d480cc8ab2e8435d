"""Vectors from a model that is asked over a wire: what an embedder adds to the asking itself.

Prefixes by the model's name, batches that are made smaller where the model refuses them, rows of unit length, the rate,
and the space, of which the dimension is kept on the disk so that nobody is asked for it twice.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from ansambl.app.knowledge.prefixes import Prefixes
from ansambl.app.knowledge.spaces import SpaceBook
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text
from ansambl.knowledge.embedding import Vectors, VectorSpace

BATCH = 32
LONGEST_QUESTION = 4_000
"""Characters of a question: a whole message may be one, and its beginning says what it is about."""

_SHORTEST = 200
_NEWEST_COUNTS = 0.3


class AskedEmbedder(ABC):
    """Fulfils `ansambl.knowledge.embedding.Embedder`, but for the asking. `space_name` names the space of the model."""

    bundled = False

    def __init__(self, space_name: str, prefixes: Prefixes, spaces: SpaceBook) -> None:
        self.space_name = space_name
        self._prefixes = prefixes
        self._spaces = spaces
        self._rate: float | None = None
        self._lock = threading.Lock()

    @abstractmethod
    def _asked(self, texts: Sequence[str], *, question: bool) -> Sequence[Sequence[float]]:
        """The vectors of texts as the model gives them.

        Raises:
            EngineError: the model refuses these texts; others, or fewer, may do.
            UnavailableError: it cannot be reached now.
        """

    @abstractmethod
    def close(self) -> None:
        """Ask nothing any more; whoever waits is told that Ansambl stops."""

    @property
    def batch(self) -> int:
        """What engines take well; one that takes fewer gets fewer."""
        return BATCH

    def rate(self) -> float | None:
        """Measured at the newest batches of this run."""
        return self._rate

    def space(self) -> VectorSpace:
        """The model is asked for its dimension once in the life of the data folder."""
        known = self._spaces.dimension(self.space_name)
        if known is None:
            with self._lock:
                known = self._spaces.dimension(self.space_name)
                if known is None:
                    known = self._rows([self._prefixes.passage + "dimension"], question=False).shape[1]
        return VectorSpace(self.space_name, known)

    def passages(self, texts: Sequence[str]) -> Vectors:
        """A row for each text. Raises as `_asked`."""
        if not texts:
            return np.empty((0, self.space().dimension), dtype=np.float32)
        began = time.monotonic()
        rows = self._split([self._prefixes.passage + one for one in texts])
        seconds = time.monotonic() - began
        if seconds > 0:
            now = len(texts) / seconds
            self._rate = now if self._rate is None else (1 - _NEWEST_COUNTS) * self._rate + _NEWEST_COUNTS * now
        return rows

    def query(self, text: str) -> Vectors:
        """The vector of a question. Raises as `_asked`."""
        vector: Vectors = self._rows([self._prefixes.question + text[:LONGEST_QUESTION]], question=True)[0]
        return vector

    def _split(self, texts: list[str]) -> Vectors:
        """All rows; what the model refuses at once is asked in halves, and one text alone without its second half."""
        try:
            return self._rows(texts, question=False)
        except EngineError:
            if len(texts) == 1:
                if len(texts[0]) < _SHORTEST:
                    raise
                return self._split([texts[0][: len(texts[0]) // 2]])
        half = len(texts) // 2
        return np.concatenate([self._split(texts[:half]), self._split(texts[half:])])

    def _rows(self, texts: list[str], *, question: bool) -> Vectors:
        try:
            rows = np.asarray(self._asked(texts, question=question), dtype=np.float32)
        except ValueError:
            rows = np.empty(0, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[0] != len(texts) or not rows.shape[1] or not np.isfinite(rows).all():
            raise EngineError(text("The model of vectors '{model}' did not answer with {count} vectors.",
                                   model=self.space_name, count=len(texts)))  # fmt: skip
        self._spaces.check(self.space_name, rows.shape[1])
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: Vectors = rows / np.maximum(lengths, 1e-12)
        return unit
