"""The shared suite for every index."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansambl.knowledge.embedding import VectorSpace
from ansambl.knowledge.index import opening
from ansambl.knowledge.index.contract import Index, IndexPlace
from ansambl.testing.index_samples import Open
from ansambl.testing.index_suite import IndexContract


class _InFolder(IndexContract):
    kind = ""
    own_process = False

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Open:
        def open_it(space: VectorSpace | None) -> Index:
            return opening.open_index(
                self.kind, IndexPlace(str(tmp_path / "index"), space), own_process=self.own_process
            )

        return open_it


class TestExact(_InFolder):
    kind = kind_to_kill = "exact"


class TestExactInItsOwnProcess(_InFolder):
    kind = "exact"
    own_process = True


class TestQdrantEdge(_InFolder):
    kind = kind_to_kill = "qdrant-edge"

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("qdrant_edge")


class TestQdrantEdgeInItsOwnProcess(_InFolder):
    kind = "qdrant-edge"
    own_process = True

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        pytest.importorskip("qdrant_edge")
