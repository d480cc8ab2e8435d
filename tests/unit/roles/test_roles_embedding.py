from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.domain.scheduling import ORDINARY, RequestClass, Standing
from ansambl.roles import embedding
from ansambl.roles.embedding import Embedder
from ansambl.runtime.carrying import Lease
from ansambl.runtime.coordinator import Coordinator


class Answer:
    def __init__(self, status: int, content: bytes) -> None:
        self.status, self._content = status, content

    async def body(self) -> bytes:
        return self._content


class Engine:
    """What the embedder asks of a coordinator."""

    def __init__(self, content: bytes | None = None, status: int = 200) -> None:
        self.content, self.status = content, status
        self.asked: list[dict[str, Any]] = []
        self.standings: list[Standing] = []

    @asynccontextmanager
    async def lease(self, model: str, *, standing: Standing) -> AsyncIterator[Lease]:
        self.standings.append(standing)
        yield Lease(model, Endpoint("http://127.0.0.1/v1", name="there"), 0.0)

    @asynccontextmanager
    async def open(self, lease: Lease, path: str, body: bytes) -> AsyncIterator[Answer]:
        assert (lease.model, path) == ("mini", "/embeddings")
        asked = json.loads(body)
        self.asked.append(asked)
        # Out of order, as the format allows.
        listed = [{"index": index, "embedding": [len(one), 1]} for index, one in enumerate(asked["input"])][::-1]
        yield Answer(self.status, json.dumps({"data": listed}).encode() if self.content is None else self.content)


def embedder(engine: Engine) -> Embedder:
    return Embedder(cast("Coordinator", engine))


async def test_vectors_are_asked_for_with_the_standing_of_who_asks_and_examples_kept_for_all() -> None:
    engine, batch = Engine(), Standing(RequestClass.BATCH, key="k")
    asks = embedder(engine)
    await asks.on_behalf(batch).examples("mini", ["aa"])
    await asks.examples("mini", ["aa", "b"])
    assert engine.standings == [batch, ORDINARY]
    assert [one["input"] for one in engine.asked] == [["aa"], ["b"]]


async def test_examples_are_asked_for_once_and_come_in_their_order() -> None:
    engine = Engine()
    asks = embedder(engine)
    assert await asks.examples("mini", ["aa", "b", "aa"]) == [(2.0, 1.0), (1.0, 1.0), (2.0, 1.0)]
    assert await asks.examples("mini", ["b", "ccc"]) == [(1.0, 1.0), (3.0, 1.0)]
    assert [one["input"] for one in engine.asked] == [["aa", "b"], ["ccc"]]
    assert engine.asked[0]["model"] == "there"
    await asks.vectors("mini", ["b"])
    assert engine.asked[-1]["input"] == ["b"]


async def test_many_examples_are_asked_for_in_parts_and_the_oldest_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedding, "KEPT", 100)
    engine = Engine()
    asks = embedder(engine)
    texts = [str(number) for number in range(150)]
    assert len(await asks.examples("mini", texts)) == 150
    assert [len(one["input"]) for one in engine.asked] == [64, 64, 22]
    await asks.examples("mini", texts[:60])
    assert len(engine.asked[-1]["input"]) == 50


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no", b"[]", b"{}", b'{"data":[]}', b'{"data":[{"embedding":[1]}]}', b'{"data":[{"embedding":[1]},{}]}',
        b'{"data":[{"embedding":"x"},{"embedding":"y"}]}', b'{"data":[{"embedding":[]},{"embedding":[]}]}',
        b'{"data":[{"embedding":[1]},{"embedding":[1,2]}]}', b'{"data":[{"embedding":[null]},{"embedding":[1]}]}',
        b'{"data":5}', b"[" * 100_000,
    ],
)  # fmt: skip
async def test_what_is_no_vectors_is_said(content: bytes) -> None:
    with pytest.raises(EngineError, match="'mini' did not answer with 2 vectors"):
        await embedder(Engine(content)).vectors("mini", ["a", "b"])


async def test_a_refusal_is_said() -> None:
    with pytest.raises(EngineError, match="'mini' gave no vectors: no embeddings here"):
        await embedder(Engine(b"no embeddings here", 501)).vectors("mini", ["a"])
