"""Questions on a terminal: what counts as a yes, in both languages; and what a terminal is never sent."""

from __future__ import annotations

import io
import json
import sys

import pytest

from ansambl.cli.commands.logs import shown_request
from ansambl.cli.output import ask_yes, console, note, print_json, print_pairs, print_table, say
from ansambl.foundation.locales import speak


class Terminal(io.StringIO):
    """Typed lines that come from a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("typed", "default", "expected"),
    [
        ("y\n", False, True),
        ("Да\n", False, True),
        ("д\n", True, True),
        ("\n", False, False),
        ("\n", True, True),
        ("n\n", True, False),
        ("", True, False),
    ],
)
def test_a_question_takes_a_yes_in_both_languages(
    typed: str, default: bool, expected: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.setattr(speak, "language", "en")
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert ask_yes("Remove?", yes=False, default=default) is expected
    assert capsys.readouterr().err == f"Remove? {'[Y/n]' if default else '[y/N]'} "


def test_without_a_terminal_the_answer_is_no(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    monkeypatch.setattr(speak, "language", "ru")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert ask_yes("Удалить?", yes=False, default=True) is False
    assert capsys.readouterr().err == "Спросить не у кого: нет терминала; добавьте --yes.\n"


EVIL = "a\x1b[31mred\x1b]0;title\x07\x9b2J\u202egnp.exe"
WRITTEN = "a\\u001b[31mred\\u001b]0;title\\u0007\\u009b2J\\u202egnp.exe"


def test_words_of_others_are_no_commands_for_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A description of a role, an answer of a model: whoever wrote it must not move the cursor or the title."""
    say(EVIL)
    note(EVIL)
    print_table("Roles", ("Name",), [(EVIL,)])
    print_pairs([("name", EVIL)])
    print_json({"name": EVIL})
    printed = capsys.readouterr()
    assert printed.out.count(WRITTEN) == 4
    assert printed.err.count(WRITTEN) == 1
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(printed.out + printed.err)
    assert json.loads(printed.out[printed.out.rindex("{") :]) == {"name": EVIL}


def test_styles_of_our_own_reach_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    console().print(EVIL, style="bold")
    # rich drops the bell by itself.
    assert terminal.getvalue() == "\x1b[1m" + WRITTEN.replace("\\u0007", "") + "\x1b[0m\n"


def test_a_request_is_one_line_whatever_path_was_asked_for() -> None:
    assert "\n" not in shown_request({"time": "2026-11-22T10:00:00", "path": "/v1/x\nfake  200", "status": 404})
