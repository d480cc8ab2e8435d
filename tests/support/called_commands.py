"""Commands called in this process, as users call them; `pytest` holds what they print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansambl.cli import main as program
from ansambl.foundation.locales import speak

Called = tuple[int, str, str]
"""The exit code, standard output, standard error."""


def called(capsys: pytest.CaptureFixture[str], *arguments: str) -> Called:
    code = program.main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def models_command(
    monkeypatch: pytest.MonkeyPatch, data: Path, elsewhere: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Called]:
    """What calls ``ansambl models …`` with the folder `data`, in English, from the folder `elsewhere`."""
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("ANSAMBL_DATA", str(data))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(elsewhere / "user"))
    monkeypatch.setattr(speak, "language", "en")
    return lambda *arguments: called(capsys, "models", *arguments)
