"""Reading logs: the newest lines, and what is added to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansambl.cli.log_files import find_log, follow_file, newest_lines
from ansambl.domain.errors import UnknownNameError
from ansambl.foundation.paths import DataPaths


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    found = DataPaths(tmp_path)
    found.create()
    return found


def test_the_log_of_an_engine_is_found_by_its_model(paths: DataPaths) -> None:
    file = paths.logs / "engine-my_model.log"
    file.write_bytes(b"1\n2\xff\n3\n")
    assert find_log(paths, "my model") == file
    assert newest_lines(file, 2) == ["2\ufffd", "3"]
    with pytest.raises(UnknownNameError, match="there are logs of: my_model"):
        find_log(paths, "other")


def test_no_log_yet(paths: DataPaths) -> None:
    with pytest.raises(UnknownNameError, match="ansambl up"):
        find_log(paths, None)


def append(file: Path, words: str) -> None:
    with file.open("a") as open_file:
        open_file.write(words)


def test_lines_are_followed_through_a_rotation(paths: DataPaths, monkeypatch: pytest.MonkeyPatch) -> None:
    file = paths.logs / "ansambl.log"
    file.write_text("old\n")
    steps = iter(
        [
            lambda: append(file, "one\ntw"),
            lambda: append(file, "o\n"),
            lambda: file.rename(paths.logs / "ansambl.log.1"),
            lambda: file.write_text("new file\n"),
        ]
    )
    # Each wait of the reader is when the writer acts: nothing depends on time.
    monkeypatch.setattr("ansambl.cli.log_files.time.sleep", lambda _seconds: next(steps)())
    lines = follow_file(file)
    assert [next(lines) for _ in range(3)] == ["one", "two", "new file"]
