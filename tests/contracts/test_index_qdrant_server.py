"""The shared suite for the index on a Qdrant server, on the local mode of its client: no registry carries a server."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansambl.domain.errors import UnavailableError, UsageError
from ansambl.knowledge.embedding import VectorSpace
from ansambl.knowledge.index.contract import Index, IndexPlace
from ansambl.knowledge.index.opening import open_index
from ansambl.testing.index_samples import SPACE, Open
from ansambl.testing.index_suite import IndexContract


@pytest.fixture(autouse=True)
def _client() -> None:
    pytest.importorskip("qdrant_client", reason="qdrant-client is not installed")


class TestQdrantServer(IndexContract):
    # The local mode lets nobody else in by an error of its own; a server lets everybody in.
    exclusive = threads = False
    examples = 10

    @pytest.fixture(autouse=True)
    def _no_warnings(self) -> Iterator[None]:
        """Of payload indexes, which have no effect in the local mode."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Open:
        client = importlib.import_module("qdrant_client")
        adapter = importlib.import_module("ansambl.knowledge.index.qdrant_server")

        def open_it(space: VectorSpace | None) -> Index:
            local = client.QdrantClient(path=str(tmp_path / "local"), force_disable_check_same_thread=True)
            index: Index = adapter.QdrantServerIndex(IndexPlace("", space), client=local)
            return index

        return open_it


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line with the address and without the key."""
    monkeypatch.setenv("QDRANT_API_KEY", "hidden-key")
    # A key over plain HTTP is warned of; here nobody listens.
    warnings.simplefilter("ignore")
    for address in ("http://127.0.0.1:1", "http://:another-hidden@127.0.0.1:1"):
        with pytest.raises(UnavailableError) as problem:
            open_index("qdrant", IndexPlace("", SPACE, address))
        assert "127.0.0.1:1" in str(problem.value)
        assert "hidden" not in str(problem.value)
        assert "\n" not in str(problem.value)


@pytest.mark.parametrize(("address", "name"), [
    ("", "n"), ("ftp://host", "n"), ("http://[bad", "n"), ("nonsense", "n"), ("http://h:99999", "n"),
    ("http://127.0.0.1:1", ""), ("http://127.0.0.1:1", "a/b"),
])  # fmt: skip
def test_what_cannot_be_used(address: str, name: str) -> None:
    """Refused in words."""
    with pytest.raises(UsageError):
        open_index("qdrant", IndexPlace("", SPACE, address, name))
