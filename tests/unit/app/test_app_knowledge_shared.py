"""One knowledge for all: opened when it is needed, replaced between calls, closed once; and kept complete."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ansambl.app.configuration.knowledge_settings import CollectionSettings, KnowledgeSettings
from ansambl.app.knowledge.jobs import JobDesk
from ansambl.app.knowledge.keeper import KnowledgeKeeper, unknown_collections
from ansambl.app.knowledge.running import RunningKnowledge
from ansambl.app.knowledge.shared import Opened, SharedKnowledge
from ansambl.domain.errors import UnavailableError
from ansambl.domain.role import Role
from ansambl.knowledge.contract import Report, State
from ansambl.testing.fake_knowledge import FakeKnowledge

LIMIT = 10.0


class Slow(FakeKnowledge):
    """Embeds until it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.ended = threading.Event(), threading.Event()

    def embed(self, *, watch: Any = None, stopped: Any = None) -> Report:
        self.embedding.set()
        while not stopped():
            self.ended.wait(0.001)
        return Report(embedded=1)


def test_it_is_opened_by_the_first_call_and_says_before_whether_there_is_any(tmp_path: Path) -> None:
    opened = []

    def open_it() -> Opened:
        opened.append(FakeKnowledge())
        return Opened(opened[-1])

    shared = SharedKnowledge(open_it, tmp_path / "knowledge")
    assert not shared.exists
    (tmp_path / "knowledge").mkdir()
    assert shared.exists
    assert opened == []
    shared.create("a")
    assert [one.name for one in shared.collections()] == ["a"]
    assert len(opened) == 1


def test_one_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    ways = iter([UnavailableError, FakeKnowledge])

    def open_it() -> Opened:
        way = next(ways)
        if way is UnavailableError:
            raise UnavailableError(cast("Any", "no"))
        return Opened(FakeKnowledge())

    shared = SharedKnowledge(open_it, tmp_path)
    with pytest.raises(UnavailableError):
        shared.collections()
    assert shared.collections() == []


def test_other_settings_end_embedding_and_open_anew_when_nobody_is_inside(tmp_path: Path) -> None:
    first, second = Slow(), FakeKnowledge()
    shared = SharedKnowledge(lambda: Opened(first), tmp_path)
    reports: list[Report] = []
    thread = threading.Thread(target=lambda: reports.append(shared.embed()))
    thread.start()
    assert first.embedding.wait(LIMIT)
    shared.use(lambda: Opened(second))
    thread.join(LIMIT)
    assert [one.embedded for one in reports] == [1]
    second.create("b")
    assert [one.name for one in shared.collections()] == ["b"]
    assert first.closed


def test_close_ends_long_work_closes_what_was_started_for_it_and_nothing_is_opened_after(tmp_path: Path) -> None:
    slow, closed = Slow(), []
    shared = SharedKnowledge(lambda: Opened(slow, [lambda: closed.append(slow.closed)]), tmp_path)
    thread = threading.Thread(target=shared.embed)
    thread.start()
    assert slow.embedding.wait(LIMIT)
    shared.close()
    thread.join(LIMIT)
    # The model is closed after what asks it.
    assert closed == [True]
    with pytest.raises(UnavailableError, match="stopping"):
        shared.collections()
    shared.close()
    assert closed == [True]


# --- the keeper -------------------------------------------------------------------------------------------------------


class Known(FakeKnowledge):
    """With as many passages without a vector as it is told, which an embedding takes away."""

    def __init__(self, pending: int = 0) -> None:
        super().__init__()
        self.pending = pending
        self.embedded = threading.Event()
        self.forgotten: list[str] = []

    def state(self) -> State:
        return State(documents=1, passages=5, pending=self.pending, model="m", index="exact")

    def embed(self, *, watch: Any = None, stopped: Any = None) -> Report:
        self.pending = 0
        self.embedded.set()
        return Report()

    def forget(self, owner: str, collection: str | None = None) -> int:
        self.forgotten.append(owner)
        return 0


class Running:
    """A running knowledge on a fake one."""

    def __init__(self, knowledge: FakeKnowledge, settings: KnowledgeSettings, *, exists: bool = True) -> None:
        self._knowledge = knowledge
        self.settings = settings
        self.exists = exists

    def __getattr__(self, name: str) -> Any:
        return getattr(self._knowledge, name)


def keeper_of(running: Running, jobs: JobDesk) -> KnowledgeKeeper:
    return KnowledgeKeeper(cast("RunningKnowledge", running), jobs, first_look=0.0, look_every=0.005)


def until(condition: Callable[[], object]) -> None:
    waited, moment = 0.0, threading.Event()
    while not condition():
        assert waited < LIMIT
        moment.wait(0.005)
        waited += 0.005


def test_what_has_no_vector_gets_one_and_what_is_of_a_revoked_key_goes() -> None:
    known, jobs = Known(pending=3), JobDesk()
    keeper = keeper_of(Running(known, KnowledgeSettings()), jobs)
    keeper.start(revoked=["k1"])
    try:
        assert known.embedded.wait(LIMIT)
        until(lambda: keeper.state is not None and keeper.state.pending == 0)
        assert known.forgotten == ["k1"]
        assert [one.kind for one in jobs.jobs()] == ["embed"]
    finally:
        keeper.stop()
        jobs.close()


def test_the_folders_of_the_configuration_are_taken_in_and_kept_in_step(tmp_path: Path) -> None:
    (tmp_path / "one.md").write_text("# Title\n\nwords", encoding="utf-8")
    settings = KnowledgeSettings(
        collections={"notes": CollectionSettings(description="Mine", folders=(str(tmp_path),), include=("*.md",))}
    )
    known, jobs = FakeKnowledge(), JobDesk()
    keeper = keeper_of(Running(known, settings, exists=False), jobs)
    keeper.start()
    try:
        until(known.documents)
        (collection,) = known.collections()
        assert (collection.name, collection.description) == ("notes", "Mine")
        assert collection.folders == (str(tmp_path),)
    finally:
        keeper.stop()
        jobs.close()


def test_nothing_is_opened_where_there_is_no_knowledge_and_unknown_collections_are_told_all_the_same() -> None:
    running = SimpleNamespace(exists=False, settings=KnowledgeSettings())
    keeper = KnowledgeKeeper(cast("RunningKnowledge", running), JobDesk(), first_look=0.0, look_every=0.005)
    told: list[str] = []
    keeper.start(roles=[Role("lawyer", "", collections=("laws",))], warn=lambda one: told.append(str(one)))
    try:
        until(lambda: told)
    finally:
        keeper.stop()
    assert len(told) == 1
    assert "'laws', which is not there yet" in told[0]
    assert keeper.state is None


def test_a_collection_that_is_nearly_there_is_named() -> None:
    roles = [Role("a", "", collections=("contracts", "lawz")), Role("b", "")]
    (found,) = unknown_collections(roles, ["contracts", "laws"])
    assert str(found) == "The role 'a' reads the collection 'lawz', which is not there; did you mean 'laws'?"
