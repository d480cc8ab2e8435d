"""The graph of qdrant-edge is built beside the index: nothing that is written meanwhile is lost, nothing is blocked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansambl.domain.knowledge import NO_FILTERS, Filters
from ansambl.knowledge.index import qdrant_aside, qdrant_edge
from ansambl.knowledge.index.contract import IndexPlace
from ansambl.knowledge.index.qdrant_edge import QdrantEdgeIndex
from ansambl.testing.index_samples import SPACE, entry, ids, vector

pytest.importorskip("qdrant_edge")

MANY = 3000
LIMIT = 60.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, but not for ever."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[QdrantEdgeIndex]:
    monkeypatch.setattr(qdrant_aside, "FROM_VECTORS", MANY)
    monkeypatch.setattr(qdrant_aside, "LEAST_CHANGES", MANY)
    monkeypatch.setattr(qdrant_aside, "QUIET", 0.0)
    made = QdrantEdgeIndex(IndexPlace(str(tmp_path), SPACE))
    made.put([entry(number) for number in range(MANY)])
    yield made
    made.close()


def shards(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob("shard-*"))


def test_what_is_written_meanwhile_is_kept(index: QdrantEdgeIndex, tmp_path: Path) -> None:
    """Added, replaced and removed while the copy was made; searches answer all the time."""
    index.commit(1)
    assert shards(tmp_path) == ["shard-1"] or index.state().facts["optimising"] == "true"
    number, rounds = MANY, 0
    while index.state().facts["optimised"] == "0":
        index.put([entry(number), entry(3, {"changed": 1}, vector=None, author="Анна")])
        index.remove([number - MANY + 100])
        assert index.by_vector(vector(number), NO_FILTERS, 1)[0].id == number
        number, rounds = number + 1, rounds + 1
        assert rounds < 100_000
    index.commit(2)
    until(lambda: shards(tmp_path) == ["shard-2"])
    state = index.state()
    assert (state.entries, state.vectors, state.applied) == (MANY, MANY - 1, 2)
    assert ids(index.by_terms({"changed": 1.0}, Filters(authors=("Анна",)), 5)) == [3]
    for one in range(MANY, number):
        assert ids(index.by_terms({f"own{one}": 1.0}, NO_FILTERS, 5)) == [one]
        assert index.by_terms({f"own{one - MANY + 100}": 1.0}, NO_FILTERS, 5) == []
    index.close()
    again = QdrantEdgeIndex(IndexPlace(str(tmp_path), SPACE))
    assert (again.state().entries, again.state().applied) == (MANY, 2)
    assert again.by_vector(vector(3), NO_FILTERS, 1)[0].id != 3
    again.close()


def test_closing_cuts_it_short(index: QdrantEdgeIndex, tmp_path: Path) -> None:
    """The index is whole, and the copy is gone."""
    index.commit(1)
    until(lambda: len(shards(tmp_path)) == 2 or index.state().facts["optimised"] == "1")
    index.close()
    again = QdrantEdgeIndex(IndexPlace(str(tmp_path), SPACE))
    assert (again.state().entries, again.state().applied) == (MANY, 1)
    assert len(shards(tmp_path)) == 1
    again.close()


def test_clearing_meanwhile(index: QdrantEdgeIndex, tmp_path: Path) -> None:
    """The copy of what was cleared never comes back."""
    index.commit(1)
    until(lambda: len(shards(tmp_path)) == 2 or index.state().facts["optimised"] == "1")
    index.clear()
    until(lambda: index.state().facts["optimising"] == "false")
    assert index.state().entries == 0
    index.put([entry(1)])
    index.commit(1)
    assert ids(index.by_vector(vector(1), NO_FILTERS, 5)) == [1]
    until(lambda: len(shards(tmp_path)) == 1)


def test_it_is_not_tried_for_ever(index: QdrantEdgeIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it fails, the index goes on as it is, comparing everything."""
    tries: list[Path] = []

    def fails(_: object, target: Path) -> bool:
        tries.append(target)
        raise OSError("no room\nat all")

    monkeypatch.setattr(qdrant_aside.Optimiser, "_graph_built", fails)
    for number in range(1, 8):
        index.commit(number)
        until(lambda: index.state().facts["optimising"] == "false")
    assert len(tries) == 3
    assert not any(one.exists() for one in tries)
    assert index.by_vector(vector(7), NO_FILTERS, 1)[0].id == 7


def test_the_revision_after_the_end_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, index: QdrantEdgeIndex
) -> None:
    """What was not flushed may be lost with the machine, so it counts as not applied; closing flushes."""
    index.commit(5)
    monkeypatch.setattr(qdrant_edge, "_QUIET", 1e9)
    index.put([entry(1)])
    index.commit(6)
    # As a copy of the files is when the power goes; the note is the only one that knows the start of the machine.
    note = (tmp_path / "applied.json").read_bytes()
    index.close()
    assert applied(tmp_path) == 6
    (tmp_path / "applied.json").write_bytes(note)
    assert applied(tmp_path) == 6
    (tmp_path / "applied.json").write_bytes(note)
    monkeypatch.setattr(qdrant_edge, "_boot", lambda: "another start")
    assert applied(tmp_path) < 6


def applied(folder: Path) -> int:
    again = QdrantEdgeIndex(IndexPlace(str(folder), SPACE))
    try:
        return again.state().applied
    finally:
        again.close()


def test_when_it_is_worth_while() -> None:
    """Not for a few; then after a share of changes, which stays within bounds."""
    assert not qdrant_aside.worth_while(49_999, 10**6)
    assert qdrant_aside.worth_while(50_000, 20_000)
    assert not qdrant_aside.worth_while(50_000, 19_999)
    assert qdrant_aside.worth_while(200_000, 40_000)
    assert not qdrant_aside.worth_while(200_000, 39_999)
    assert qdrant_aside.worth_while(10**7, 60_000)
