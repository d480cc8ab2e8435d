"""Sorting what was found once more by a model that reads the question and each passage together."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ansambl.app.knowledge.asking import Asks
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text

LONGEST = 6_000
"""Characters of a passage or a question that are sent."""
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


class ModelReranker:
    """Asks a model by ``/rerank``, as Cohere and Jina have it; `name` is the model's, for errors."""

    def __init__(self, asks: Asks, name: str) -> None:
        self._asks = asks
        self._name = name

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        """How well each text answers the question, between 0 and 1, in the order of `texts`.

        Raises:
            AnsamblError: the model cannot be asked now, or answers with something else.
        """
        if not texts:
            return []
        body = {"query": question[:LONGEST], "documents": [one[:LONGEST] for one in texts], "top_n": len(texts)}
        answer = self._asks.ask("/rerank", body, urgent=True)
        try:
            found = {int(one["index"]): float(one["relevance_score"]) for one in answer["results"]}
            scores = [found[number] for number in range(len(texts))]
        except _UNREADABLE:
            raise self._unreadable(len(texts)) from None
        if not all(map(math.isfinite, scores)):
            raise self._unreadable(len(texts))
        if all(0.0 <= one <= 1.0 for one in scores):
            return scores
        # llama.cpp gives what comes out of the model, other engines probabilities.
        return [1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, one)))) for one in scores]

    def _unreadable(self, count: int) -> EngineError:
        return EngineError(
            text("The reranker '{model}' did not answer with {count} scores.", model=self._name, count=count)
        )

    def close(self) -> None:
        """Ask nothing any more."""
        self._asks.close()
