"""An index in a process of its own: what happens when that process ends, hangs or cannot open its files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ansambl.domain.errors import AnsamblError, NotSupportedError
from ansambl.domain.knowledge import NO_FILTERS
from ansambl.knowledge.index.contract import Index, IndexPlace
from ansambl.knowledge.index.errors import EntryRefusedError, IndexFailedError, IndexGoneError
from ansambl.knowledge.index.opening import INDEX_KINDS, chosen_kind, open_index
from ansambl.knowledge.index.own_process import OwnProcess
from ansambl.testing.index_model import NaiveIndex
from ansambl.testing.index_samples import SPACE, entry, ids, vector

LIMIT = 30.0


def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, but not for ever."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


@pytest.fixture(autouse=True)
def indexes_of_this_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The child takes nothing from the present folder, and so finds the classes below by their package's folder."""
    folder = Path(__file__).parents[__name__.count(".")]
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.fixture
def place(tmp_path: Path) -> IndexPlace:
    return IndexPlace(str(tmp_path / "index"), SPACE)


@pytest.fixture
def index(place: IndexPlace) -> Iterator[OwnProcess]:
    made = open_index("exact", place)
    assert isinstance(made, OwnProcess)
    yield made
    made.close()


def killed(index: OwnProcess) -> None:
    pid = index.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    # Until it is started again: before that, a call may still be sent to the one that has ended.
    until(lambda: index.pid not in {pid, None})


def test_a_process_that_ends_is_started_again(index: OwnProcess) -> None:
    """At its last commit; a listener is told, and searches go on."""
    told: list[int] = []
    index.listen(told.append)
    index.put([entry(1)])
    index.commit(1)
    killed(index)
    assert ids(index.by_terms({"word": 1.0}, NO_FILTERS, 5)) == [1]
    assert index.generation == 2
    until(lambda: told == [2])
    state = index.state()
    assert (state.applied, state.facts["generation"], state.facts["process"]) == (1, "2", str(index.pid))
    assert int(state.facts["resident_bytes"]) > 0


@pytest.mark.parametrize("then", ["commit", "put", "remove"])
def test_a_commit_never_goes_without_what_was_written_before_it(index: OwnProcess, then: str) -> None:
    """The next write says that something was lost, once; else the index would note a revision it has not reached."""
    index.put([entry(1)])
    index.commit(1)
    index.put([entry(2)])
    killed(index)
    writes: dict[str, Callable[[], None]] = {
        "commit": lambda: index.commit(2), "put": lambda: index.put([entry(3)]), "remove": lambda: index.remove([1]),
    }  # fmt: skip
    with pytest.raises(IndexGoneError):
        writes[then]()
    assert index.state().applied == 1
    index.put([entry(2)])
    index.commit(2)
    assert ids(index.by_terms({"own2": 1.0}, NO_FILTERS, 5)) == [2]


def test_calls_in_flight_are_told_once(index: OwnProcess) -> None:
    """Each of them, whatever it asked."""
    index.put([entry(number) for number in range(50)])
    index.commit(1)
    pid = index.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    problems: list[AnsamblError] = []

    def search() -> None:
        try:
            index.by_vector(vector(1), NO_FILTERS, 5)
        except AnsamblError as error:
            problems.append(error)

    threads = [threading.Thread(target=search) for _ in range(5)]
    for one in threads:
        one.start()
    until(lambda: len(index._calls) == 5)
    os.kill(pid, signal.SIGKILL)
    for one in threads:
        one.join(LIMIT)
    assert [type(one) for one in problems] == [IndexGoneError] * 5
    assert all("SIGKILL" in str(one) and "\n" not in str(one) for one in problems)
    assert len(ids(index.by_vector(vector(1), NO_FILTERS, 5))) == 5


def test_a_process_that_hangs_is_ended(place: IndexPlace) -> None:
    """After the patience of the call; then another one answers."""
    index = OwnProcess(INDEX_KINDS["exact"].maker, place, search_patience=0.3)
    try:
        pid = index.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(IndexGoneError, match="has not answered"):
            index.by_terms({"word": 1.0}, NO_FILTERS, 5)
        until(lambda: index.generation == 2)
        assert index.state().entries == 0
        assert not psutil.pid_exists(pid)
    finally:
        index.close()


def test_signals_of_the_terminal_do_not_end_it(index: OwnProcess) -> None:
    """It leads a session of its own, and leaves it to us when it ends."""
    pid = index.pid
    assert pid is not None
    assert os.getsid(pid) == pid
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pid, number)
    index.put([entry(1)])
    index.commit(1)
    assert index.pid == pid
    index.close()
    assert not psutil.pid_exists(pid)
    index.close()


def test_it_ends_with_its_parent(place: IndexPlace) -> None:
    """However the parent ends; and its folder is free for the next one."""
    script = (
        "import sys; from ansambl.knowledge.index.opening import open_index; "
        "from ansambl.knowledge.index.contract import IndexPlace; from ansambl.testing.index_samples import SPACE; "
        "index = open_index('exact', IndexPlace(sys.argv[1], SPACE)); print(index.pid, flush=True); sys.stdin.read()"
    )
    for how in ("kill", "end of input"):
        parent = subprocess.Popen(
            [sys.executable, "-c", script, place.folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert psutil.pid_exists(child)
        if how == "kill":
            parent.kill()
        parent.communicate()
        until(lambda child=child: not psutil.pid_exists(child))  # type: ignore[misc]
    open_index("exact", place).close()


@pytest.mark.parametrize("kind", ["exact", "qdrant-edge"])
def test_damaged_files_are_set_aside(kind: str, place: IndexPlace) -> None:
    """The index begins empty, at revision 0, and is useful; the files are kept for who wants to look."""
    if kind == "qdrant-edge":
        pytest.importorskip("qdrant_edge")
    index = open_index(kind, place)
    index.put([entry(1)])
    index.commit(5)
    index.close()
    for path in sorted(Path(place.folder).rglob("*")):
        if path.is_file() and path.name != "lock":
            path.write_bytes(b"rubbish " * 100)
    index = open_index(kind, place)
    try:
        assert (index.state().entries, index.state().applied) == (0, 0)
        assert any(Path(place.folder, "damaged").iterdir())
        index.put([entry(2)])
        index.commit(6)
        assert ids(index.by_terms({"own2": 1.0}, NO_FILTERS, 5)) == [2]
    finally:
        index.close()


def test_damage_while_it_runs(index: OwnProcess, place: IndexPlace) -> None:
    """Its process ends and finds its files damaged: it begins empty, and the revision says so."""
    index.put([entry(1)])
    index.commit(5)
    pid = index.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    for path in Path(place.folder).glob("exact.db*"):
        path.unlink()
    Path(place.folder, "exact.db").write_bytes(b"rubbish " * 1000)
    os.kill(pid, signal.SIGKILL)
    until(lambda: index.generation == 2)
    assert (index.state().entries, index.state().applied) == (0, 0)


class DiesOpening(NaiveIndex):
    """Ends its process as native code does on some files, until its folder is empty."""

    def __init__(self, place: IndexPlace) -> None:
        super().__init__()
        marker = Path(place.folder, "files")
        if marker.exists():
            os.abort()


def test_files_that_end_the_process_are_set_aside(place: IndexPlace) -> None:
    """After the second time; else it would go on for ever."""
    Path(place.folder).mkdir()
    Path(place.folder, "files").touch()
    index = OwnProcess(f"{__name__}:DiesOpening", place)
    try:
        assert index.state().entries == 0
        assert Path(place.folder, "damaged", "files").exists()
    finally:
        index.close()


class FindsNoRoom(NaiveIndex):
    """Ends its process as a mapped file does on a full disk, as long as a marker stands in its folder."""

    def __init__(self, place: IndexPlace) -> None:
        super().__init__()
        if Path(place.folder, "full").exists():
            os.kill(os.getpid(), signal.SIGBUS)


def test_a_full_disk_is_told_at_once_and_its_files_are_kept(place: IndexPlace) -> None:
    """Waiting for a process that cannot start took a minute, and its good files were set aside."""
    marker = Path(place.folder, "full")
    marker.parent.mkdir()
    marker.touch()
    began = time.monotonic()
    with pytest.raises(IndexFailedError, match="disk is full") as told:
        OwnProcess(f"{__name__}:FindsNoRoom", place)
    # Over HTTP it is no mistake of Ansambl's.
    assert (told.value.status, told.value.code) == (503, "disk_full")
    assert time.monotonic() - began < LIMIT
    assert marker.exists()
    marker.unlink()
    index = OwnProcess(f"{__name__}:FindsNoRoom", place)
    try:
        assert index.state().entries == 0
    finally:
        index.close()


class Panics(NaiveIndex):
    """Fails as native code behind Python does: with something that is no Exception."""

    def __init__(self, place: IndexPlace) -> None:
        super().__init__()

    def commit(self, applied: int) -> None:
        raise BaseException("a panic\nwith many lines")  # noqa: TRY002 - what a panic looks like


def test_a_panic_is_one_line(place: IndexPlace) -> None:
    """And the process goes on."""
    index = OwnProcess(f"{__name__}:Panics", place)
    try:
        pid = index.pid
        with pytest.raises(AnsamblError, match="a panic") as problem:
            index.commit(1)
        assert "\n" not in str(problem.value)
        assert index.state().entries == 0
        assert index.pid == pid
    finally:
        index.close()


def test_what_cannot_be_opened_says_why(place: IndexPlace) -> None:
    """The error of the opening itself, in the parent."""

    with pytest.raises(AnsamblError, match="no_such_module"):
        OwnProcess("no_such_module:Thing", place)
    with pytest.raises(AnsamblError, match="no index of the kind 'x'"):
        open_index("x", place)
    assert chosen_kind("auto") in {"exact", "qdrant-edge"}


def test_a_missing_library_is_named(place: IndexPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that brings it."""
    for module, kind, extra in (
        ("qdrant_edge", "qdrant-edge", "knowledge"), ("psycopg", "postgresql", "postgresql"),
        ("qdrant_client", "qdrant", "qdrant"),
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(NotSupportedError, match=rf"pip install 'ansambl\[{extra}\]'"):
            open_index(kind, place, own_process=False)


def test_many_threads(index: Index) -> None:
    """Each gets its own answer."""
    index.put([entry(number) for number in range(100)])
    index.commit(1)
    wrong: list[object] = []

    def search(number: int) -> None:
        for _ in range(30):
            found = index.by_vector(vector(number), NO_FILTERS, 1)[0].id
            words = index.by_terms({f"own{number}": 1.0}, NO_FILTERS, 3)[0].id
            if (found, words) != (number, number):
                wrong.append((number, found, words))

    threads = [threading.Thread(target=search, args=(number,)) for number in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(LIMIT)
    assert not wrong


def test_bad_entries_do_not_reach_it(index: OwnProcess) -> None:
    """What cannot be sent is refused, and the process goes on."""
    with pytest.raises(EntryRefusedError):
        index.put([entry(1, {"\ud800": 1})])
    assert index.generation == 1
    assert index.state().entries == 0
