"""Who agrees that Open WebUI is installed with ``ansambl up --open-webui``."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ansambl.app.configuration.settings_file import load_settings
from ansambl.cli.open_webui_installing import agreed
from ansambl.domain.errors import UnavailableError, UsageError


@pytest.mark.usefixtures("own_folder")
def test_without_a_terminal_nobody_agrees_and_it_is_said_how_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for piped in ("", "y\n"):
        monkeypatch.setattr("sys.stdin", io.StringIO(piped))
        with pytest.raises(UsageError, match="'ansambl open-webui install' shows its licence and size, and with --yes"):
            agreed(load_settings(None), offline=False, yes=False)
    with pytest.raises(UnavailableError, match="install it once with"):
        agreed(load_settings(None), offline=True, yes=True)
    assert not (tmp_path / "data").exists()
