"""What ``up`` shows: lines into a pipe, a bar on a terminal that never stays, an offer that is never taken unasked."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from ansambl.cli.reporter import TerminalReporter
from ansambl.domain.plan import Attachment
from ansambl.domain.text import text

OFFER = Attachment("qwen", "http://127.0.0.1:11434/v1", "qwen3:8b", server="Ollama")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def console(*, terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100, markup=False, highlight=False)


def said(out: Console) -> str:
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def test_a_pipe_gets_whole_lines_and_no_bar() -> None:
    out = console(terminal=False)
    reporter = TerminalReporter(out, yes=False)
    reporter.fetching(10, 100)
    reporter.say(text("a [b]"))
    reporter.warn(text("gone"))
    assert said(out) == "a [b]\nwarning: gone\n"


def test_the_bar_goes_before_the_next_line_and_the_cursor_comes_back() -> None:
    out = console(terminal=True)
    reporter = TerminalReporter(out, yes=False)
    reporter.fetching(10, 100)
    reporter.fetching(100, 100)
    assert HIDE_CURSOR in said(out)
    assert SHOW_CURSOR not in said(out)
    reporter.say(text("here"))
    assert said(out).index(SHOW_CURSOR) < said(out).index("here")


def test_the_bar_goes_when_the_download_failed() -> None:
    out = console(terminal=True)
    reporter = TerminalReporter(out, yes=False)
    reporter.fetching(10, 100)
    reporter.close()
    reporter.close()
    assert said(out).count(SHOW_CURSOR) == 1


def test_an_offer_is_taken_with_yes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    out = console(terminal=False)
    assert TerminalReporter(out, yes=True).offer(OFFER)
    assert not TerminalReporter(out, yes=False).offer(OFFER)
    assert '[models.main]\n    address = "http://127.0.0.1:11434/v1"\n    name = "qwen3:8b"\n' in said(out)
