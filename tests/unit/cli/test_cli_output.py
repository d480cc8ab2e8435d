"""Questions on a terminal: what counts as a yes, in both languages."""

from __future__ import annotations

import io
import sys

import pytest

from ansambl.cli.output import ask_yes
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
