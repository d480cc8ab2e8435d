# ruff: noqa: S101 - a suite of pytest lives of assertions
"""The part of the indexes' suite that is about their lives: opening, closing, many threads, a sudden end."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import NO_FILTERS, Filters
from ansambl.knowledge.index.contract import Entry, Index, IndexPlace
from ansambl.knowledge.index.errors import IndexInUseError
from ansambl.knowledge.index.opening import open_index
from ansambl.testing.index_samples import SPACE, Open, entry, ids, vector


class IndexLife:
    """See `ansambl.testing.index_suite`."""

    exclusive = True
    """Whether a second opener is refused."""

    threads = True
    """Whether searches may come while something is written."""

    reopens = True
    """Whether it is still there after `close`."""

    kind_to_kill: str | None = None
    """The kind that is opened in a process which is killed; None where there is nothing to kill."""

    kills = 6

    @pytest.fixture
    def opener(self, tmp_path: Path) -> Iterator[Open]:
        """Opens the same index each time, in the space that is wanted."""
        raise NotImplementedError

    @pytest.fixture
    def index(self, opener: Open) -> Iterator[Index]:
        """An empty index with vectors of `SPACE`."""
        index = opener(SPACE)
        yield index
        index.close()

    def test_clear(self, index: Index) -> None:
        """Empty, at revision 0, and useful again."""
        index.put([entry(number) for number in range(30)])
        index.commit(4)
        index.clear()
        state = index.state()
        assert (state.entries, state.vectors, state.applied) == (0, 0, 0)
        assert index.by_vector(vector(1), NO_FILTERS, 10) == []
        assert index.by_terms({"word": 1.0}, NO_FILTERS, 10) == []
        index.put([entry(1)])
        index.commit(1)
        assert ids(index.by_vector(vector(1), NO_FILTERS, 10)) == [1]

    def test_it_is_still_there_after_closing(self, opener: Open) -> None:
        """With its revision, its vectors and its words; removed ones stay removed."""
        if not self.reopens:
            pytest.skip("this index lives in memory")
        index = opener(SPACE)
        index.put([entry(number, time=float(number), author="Анна") for number in range(40)])
        index.commit(1)
        index.remove(list(range(0, 40, 2)))
        index.put([entry(1, {"new": 1})])
        index.commit(2)
        index.close()
        index = opener(SPACE)
        try:
            state = index.state()
            assert (state.entries, state.vectors, state.applied) == (20, 20, 2)
            assert ids(index.by_terms({"new": 1.0}, NO_FILTERS, 10)) == [1]
            assert set(ids(index.by_vector(vector(1), Filters(until=10.0), 100))) == {3, 5, 7, 9}
            assert set(ids(index.by_vector(vector(1), Filters(authors=("Анна",)), 100))) == set(range(3, 40, 2))
            index.put([entry(2)])
            index.commit(3)
            assert index.by_vector(vector(2), NO_FILTERS, 1)[0].id == 2
        finally:
            index.close()

    def test_a_second_opener_is_refused(self, opener: Open, index: Index) -> None:
        """In words, and the first one goes on."""
        if not self.exclusive:
            pytest.skip("several may open this index")
        with pytest.raises(IndexInUseError) as refusal:
            opener(SPACE)
        assert "\n" not in str(refusal.value)
        index.put([entry(1)])
        index.commit(1)
        assert index.state().entries == 1

    def test_searches_go_on_while_something_is_written(self, index: Index) -> None:
        """From other threads: no error, never a passage that was not put, and what was committed is found."""
        if not self.threads:
            pytest.skip("this stand-in is not made for several threads")
        index.put([entry(number) for number in range(50)])
        index.commit(1)
        failures: list[BaseException] = []
        searched = threading.Event()
        stop = threading.Event()

        def search() -> None:
            try:
                while not stop.is_set():
                    assert index.by_vector(vector(7), NO_FILTERS, 5)[0].id == 7
                    assert set(ids(index.by_terms({"word": 1.0}, NO_FILTERS, 500))) <= set(range(400))
                    assert ids(index.by_terms({"own7": 1.0}, NO_FILTERS, 5)) == [7]
                    searched.set()
            except BaseException as error:  # noqa: BLE001 - shown by the test's own thread
                failures.append(error)
                searched.set()

        threads = [threading.Thread(target=search) for _ in range(2)]
        for one in threads:
            one.start()
        for start in range(50, 400, 25):
            index.put([entry(number) for number in range(start, start + 25)])
            index.remove(list(range(start, start + 5)))
            index.commit(start)
        assert searched.wait(30)
        stop.set()
        for one in threads:
            one.join(30)
        assert not failures, failures
        assert index.state().entries == 50 + 14 * 20

    def test_a_killed_process_leaves_what_it_committed(self, tmp_path: Path) -> None:
        """At any moment: all that was committed is there, whole, and the rest can be applied again."""
        if self.kind_to_kill is None:
            pytest.skip("this index has no process to kill")
        chance = random.Random(4)  # noqa: S311 - which moments, not secrets
        place = IndexPlace(str(tmp_path / "killed"), SPACE)
        committed = 0
        for _ in range(self.kills):
            committed = max(committed, kill_while_writing(self.kind_to_kill, place, chance))
            index = open_index(self.kind_to_kill, place, own_process=False)
            try:
                state = index.state()
                assert state.applied >= committed
                committed = state.applied
                check_written(index, committed)
            finally:
                index.close()


def written(step: int) -> tuple[list[Entry], list[int]]:
    """What step number `step` (from 1 on) puts and removes: ten new ones, one of the step before goes, one changes."""
    new = [entry(step * 10 + one, {"word": 1, f"own{step * 10 + one}": 1}) for one in range(10)]
    if step == 1:
        return new, []
    return [*new, entry(step * 10 - 10, {"word": 1, f"changed{step}": 1})], [step * 10 - 9]


def check_written(index: Index, steps: int) -> None:
    """Everything that `steps` steps wrote is in the index, words and vectors."""
    expected: dict[int, set[str]] = {}
    for step in range(1, steps + 1):
        put, removed = written(step)
        expected.update({one.id: set(one.terms) for one in put})
        for one in removed:
            expected.pop(one, None)
    below = steps * 10 + 10
    everything = 10_000
    by_words = {one for one in ids(index.by_terms({"word": 1.0}, NO_FILTERS, everything)) if one < below - 10}
    assert by_words == {one for one in expected if one < below - 10}
    for one in sorted(expected)[-30:]:
        # The last step's may have been changed by the next one, which was not committed.
        if one < below - 10:
            assert index.by_vector(vector(one), NO_FILTERS, 1)[0].id == one
            own = next(iter(expected[one] - {"word"}))
            assert ids(index.by_terms({own: 1.0}, NO_FILTERS, 5)) == [one]


def kill_while_writing(kind: str, place: IndexPlace, chance: random.Random) -> int:
    """Start a process that goes on writing, and kill it at some moment; the last step that it said is committed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "ansambl.testing.index_life_suite", kind, place.folder],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    said = 0
    try:
        for _ in range(chance.randint(1, 12)):
            line = process.stdout.readline()
            assert line, "the writing process ended by itself"
            said = int(line)
        # Not waiting for anything: a moment that is not the end of a commit.
        time.sleep(chance.random() * 0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate()
    return max([said, *(int(line) for line in rest.split() if line.isdigit())])


def write_for_ever(kind: str, folder: str) -> None:
    """Go on where the index is, step by step, and say each step that is committed."""
    index = open_index(kind, IndexPlace(folder, SPACE), own_process=False)
    step = index.state().applied
    while True:
        step += 1
        put, removed = written(step)
        index.put(put)
        index.remove(removed)
        index.commit(step)
        sys.stdout.write(f"{step}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    try:
        write_for_ever(sys.argv[1], sys.argv[2])
    except AnsamblError as problem:
        sys.exit(str(problem))
