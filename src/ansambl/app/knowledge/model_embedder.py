"""Vectors from a configured model."""

from __future__ import annotations

from collections.abc import Sequence

from ansambl.app.knowledge.asked_embedder import AskedEmbedder
from ansambl.app.knowledge.asking import Asks
from ansambl.app.knowledge.prefixes import Prefixes
from ansambl.app.knowledge.spaces import SpaceBook
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text

_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


class ModelEmbedder(AskedEmbedder):
    """Asks a model by OpenAI's ``/embeddings``."""

    def __init__(self, asks: Asks, space_name: str, prefixes: Prefixes, spaces: SpaceBook) -> None:
        super().__init__(space_name, prefixes, spaces)
        self._asks = asks

    def _asked(self, texts: Sequence[str], *, question: bool) -> list[list[float]]:
        answer = self._asks.ask("/embeddings", {"input": list(texts)}, urgent=question)
        try:
            rows = {int(one.get("index", place)): one["embedding"] for place, one in enumerate(answer["data"])}
            return [list(map(float, rows[number])) for number in range(len(texts))]
        except _UNREADABLE:
            raise EngineError(text("The model of vectors '{model}' did not answer with {count} vectors.",
                                   model=self.space_name, count=len(texts))) from None  # fmt: skip

    def close(self) -> None:
        """As `AskedEmbedder.close`."""
        self._asks.close()
