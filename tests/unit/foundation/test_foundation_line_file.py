"""Lines that a thread writes: all of them in order, rotated, private, bounded; and nobody waits for the disk."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ansambl.foundation.line_file import LineFile


def encode(number: int) -> bytes:
    return b"%d" % number


def numbers(*files: Path) -> list[int]:
    return [int(one) for file in files for one in file.read_text().split()]


def test_all_lines_are_written_in_order_by_whoever_closes(tmp_path: Path) -> None:
    file = LineFile(tmp_path / "x.log", encode)
    for number in range(5000):
        file.put(number)
    file.close()
    assert numbers(file.file) == list(range(5000))
    assert file.file.stat().st_mode & 0o777 == 0o600
    assert file.dropped == 0
    file.put(1)
    assert file.dropped == 1


def test_a_line_is_written_without_anybody_closing_also_after_a_pause(tmp_path: Path) -> None:
    written = threading.Event()

    def told(number: int) -> bytes:
        written.set()
        return encode(number)

    file = LineFile(tmp_path / "x.log", told)
    for number in range(3):
        file.put(number)
        assert written.wait(10)
        written.clear()
    file.close()
    assert numbers(file.file) == [0, 1, 2]


def test_a_full_file_becomes_an_older_one_and_the_oldest_goes(tmp_path: Path) -> None:
    for start in range(0, 60, 10):
        # Opened again for each batch: rotation counts what was there before, too.
        file = LineFile(tmp_path / "x.log", encode, limit=25, kept=2)
        for number in range(start, start + 10):
            file.put(number)
        file.close()
    assert {one.name for one in tmp_path.iterdir()} == {"x.log.1", "x.log.2"}
    assert numbers(tmp_path / "x.log.2", tmp_path / "x.log.1") == list(range(40, 60))
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in tmp_path.iterdir())


def test_what_comes_faster_than_it_is_written_is_counted(tmp_path: Path) -> None:
    going = threading.Event()

    def slowly(number: int) -> bytes:
        going.wait(10)
        return encode(number)

    file = LineFile(tmp_path / "x.log", slowly, most=10)
    for number in range(1000):
        file.put(number)
    # A batch may be with the thread already; the rest waits, and no more of it than was said.
    assert 1000 - 20 <= file.dropped <= 1000 - 10
    going.set()
    file.close()
    assert len(numbers(file.file)) == 1000 - file.dropped


def test_a_disk_that_takes_nothing_stops_nobody(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    file = LineFile(folder / "x.log", encode)
    file.put(1)
    file.close()
    assert file.dropped == 1
    assert isinstance(file.failure, FileNotFoundError)


@pytest.mark.parametrize("kept", [0, 1])
def test_few_or_no_older_files(tmp_path: Path, kept: int) -> None:
    file = LineFile(tmp_path / "x.log", encode, limit=1, kept=kept)
    file.put(1)
    file.close()
    assert [one.name for one in tmp_path.iterdir()] == ["x.log.1"] * kept


def test_an_item_that_cannot_be_encoded_costs_itself_alone(tmp_path: Path) -> None:
    def picky(number: int) -> bytes:
        if number == 1:
            raise ValueError(number)
        return encode(number)

    file = LineFile(tmp_path / "x.log", picky)
    for number in range(4):
        file.put(number)
    file.close()
    assert numbers(file.file) == [0, 2, 3]
    assert file.dropped == 1
