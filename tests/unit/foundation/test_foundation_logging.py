"""Ansambl's own log: what is written, and who may read it."""

from __future__ import annotations

import errno
import io
import logging
import logging.handlers
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from ansambl.foundation.logging import configure, get_logger


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    """The root logger and structlog belong to the whole process."""
    root = logging.getLogger()
    handlers, level, configured = list(root.handlers), root.level, structlog.get_config()
    root.handlers = []
    yield
    for one in root.handlers:
        one.close()
    root.handlers, root.level = handlers, level
    structlog.configure(**configured)


def test_a_log_is_for_its_owner_alone_also_after_a_rotation(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        file = tmp_path / "ansambl.log"
        configure(file)
        get_logger("x").info("something_happened", model="big")
        assert "event=something_happened model=big" in file.read_text(encoding="utf-8")
        handler = logging.getLogger().handlers[0]
        assert isinstance(handler, logging.handlers.RotatingFileHandler)
        handler.doRollover()
        get_logger("x").info("later")
        assert {one.name: one.stat().st_mode & 0o777 for one in tmp_path.iterdir()} == {
            "ansambl.log": 0o600, "ansambl.log.1": 0o600
        }  # fmt: skip
    finally:
        os.umask(before)


def test_nothing_that_was_asked_is_a_command_for_the_terminal_of_who_reads_the_log(tmp_path: Path) -> None:
    """A Host is logged when it is refused, before any key is looked at."""
    file = tmp_path / "ansambl.log"
    configure(file)
    get_logger("x").info("request_refused", reason="The Host '\x9b31m\x1b]0;t\x07' is none", path="/a\nlevel=error")
    written = file.read_text(encoding="utf-8")
    assert written.count("\n") == 1
    assert "\\u009b31m\\u001b]0;t\\u0007" in written
    assert not {"\x1b", "\x9b", "\x07"} & set(written)


class Full(io.StringIO):
    """A file on a full disk, or one whose writer has a fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, _words: str, /) -> int:
        raise self._error


@pytest.mark.parametrize(
    ("error", "shown"), [(OSError(errno.ENOSPC, "No space left on device"), False), (ValueError("a fault"), True)]
)
def test_a_full_disk_does_not_fill_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], error: Exception, shown: bool
) -> None:
    configure(tmp_path / "ansambl.log")
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    was = handler.setStream(Full(error))
    assert was is not None
    was.close()
    get_logger("x").warning("something_happened")
    assert ("Traceback" in capsys.readouterr().err) is shown
