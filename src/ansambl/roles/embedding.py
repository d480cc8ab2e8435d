"""Vectors of texts, asked of an embeddings model; those of examples are kept."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from ansambl.domain.errors import EngineError
from ansambl.domain.scheduling import ORDINARY, Standing
from ansambl.domain.text import text
from ansambl.runtime.coordinator import Coordinator

KEPT = 4_096
"""Vectors that are kept: some 50 MB of vectors of 384 numbers."""

_PATH = "/embeddings"
_UNREADABLE = (
    msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError, ValueError, AttributeError,
)  # fmt: skip
_AT_ONCE = 64
_SHOWN = 200
Vector = tuple[float, ...]


class Embedder:
    """Asks models of one coordinator for vectors. Kept vectors belong to a model's name and a text."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._kept: OrderedDict[tuple[str, str], Vector] = OrderedDict()
        self._standing = ORDINARY

    def on_behalf(self, standing: Standing) -> Embedder:
        """The same embedder, whose requests have that standing; the vectors of examples are kept for all."""
        found = copy.copy(self)
        found._standing = standing  # noqa: SLF001 - a copy of this one
        return found

    async def examples(self, model: str, texts: Sequence[str]) -> list[Vector]:
        """The vectors of texts that will be asked for again, in their order.

        Raises:
            AnsamblError: as `vectors`.
        """
        missing = [one for one in dict.fromkeys(texts) if (model, one) not in self._kept]
        found = {one: self._kept[model, one] for one in texts if (model, one) in self._kept}
        for start in range(0, len(missing), _AT_ONCE):
            asked = missing[start : start + _AT_ONCE]
            found.update(zip(asked, await self.vectors(model, asked), strict=True))
        for one, vector in found.items():
            self._kept[model, one] = vector
            self._kept.move_to_end((model, one))
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return [found[one] for one in texts]

    async def vectors(self, model: str, texts: Sequence[str]) -> list[Vector]:
        """The vectors of `texts`, in their order; nothing is kept.

        Raises:
            EngineError: the engine refused, or what it answered are not that many vectors.
            UnavailableError: there is no place, or the engine cannot be made ready.
        """
        async with self._coordinator.lease(model, standing=self._standing) as lease:
            body = msgspec.json.encode({"model": lease.endpoint.name or model, "input": list(texts)})
            async with self._coordinator.open(lease, _PATH, body) as answer:
                content = await answer.body()
                if answer.status >= 400:
                    reason = content[:_SHOWN].decode("utf-8", "replace").strip() or answer.status
                    raise EngineError(text("The model '{model}' gave no vectors: {reason}", model=model, reason=reason))
        return _read(model, content, len(texts))


def _read(model: str, content: bytes, count: int) -> list[Vector]:
    try:
        listed: list[dict[str, Any]] = msgspec.json.decode(content)["data"]
        by_index = {int(one.get("index", place)): one["embedding"] for place, one in enumerate(listed)}
        vectors = [tuple(map(float, by_index[index])) for index in range(count)]
    except _UNREADABLE:
        raise EngineError(
            text("The model '{model}' did not answer with {count} vectors.", model=model, count=count)
        ) from None
    if any(not vector or len(vector) != len(vectors[0]) for vector in vectors):
        raise EngineError(text("The model '{model}' did not answer with {count} vectors.", model=model, count=count))
    return vectors
