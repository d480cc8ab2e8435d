"""The table ``[open_webui]``: its defaults, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansambl.app.configuration.settings_file import load_settings
from ansambl.companions.open_webui.records import Wanted
from ansambl.domain.errors import AnsamblError


def loaded(folder: Path, lines: str):
    file = folder / "ansambl.toml"
    file.write_text(f"[open_webui]\n{lines}\n", encoding="utf-8")
    return load_settings(file).settings.open_webui


def test_the_defaults_of_the_file_are_those_of_the_companion(own_folder, tmp_path: Path) -> None:
    found = loaded(tmp_path, "")
    assert found.wanted() == Wanted()
    assert found.start is False


def test_all_of_the_table_reaches_the_companion(own_folder, tmp_path: Path) -> None:
    found = loaded(
        tmp_path,
        'start = true\nbuild = "slim"\nhost = "0.0.0.0"\nport = 9000\nsign_in = true\ntitles = false\ntags = false\n'
        'follow_ups = false\ntask_model = "brief"\ndefault_model = "coder"\nembedding_model = "vectors"\n'
        'environment = { X = "1" }',
    )
    assert found.wanted() == Wanted(
        "slim", "0.0.0.0", 9000, True, False, False, False, "brief", "coder", "vectors", {"X": "1"}  # noqa: S104
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "named", "said"),
    [
        ('host = "0.0.0.0"\nsign_in = false', "sign_in", "loopback"),
        ('build = "tiny"', "build", "full"),
        ("port = 0", "port", "1"),
        ('environment = { OPENAI_API_KEYS = "x" }', "OPENAI_API_KEYS", "sets"),
        ('environment = { "A=B" = "x" }', "A=B", "cannot be"),
        ("colour = 1", "colour", "colour"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_name(
    own_folder, tmp_path: Path, lines: str, named: str, said: str
) -> None:
    with pytest.raises(AnsamblError) as refused:
        loaded(tmp_path, lines)
    assert named in str(refused.value)
    assert said in str(refused.value)
