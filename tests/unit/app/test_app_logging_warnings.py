"""While contents of requests are written, the owner is told where, by a start and by doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansambl.app.check import Level
from ansambl.app.configuration.gateway_settings import GatewaySettings
from ansambl.app.doctor import examine
from ansambl.app.logging_warnings import logging_warnings
from ansambl.foundation.paths import DataPaths


def test_nothing_is_said_of_what_is_not_written(tmp_path: Path) -> None:
    settings = GatewaySettings()
    assert settings.log_requests
    assert not settings.log_contents
    assert logging_warnings(settings, DataPaths(tmp_path)) == ()


def test_the_file_of_contents_is_named(tmp_path: Path) -> None:
    (warning,) = logging_warnings(GatewaySettings(log_contents=True), DataPaths(tmp_path))
    assert str(tmp_path / "logs" / "contents.log") in str(warning)


def test_doctor_warns_and_says_how_to_end_it(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansambl.app.doctor._models", lambda *_arguments: [])
    file = own_folder / "ansambl.toml"
    file.write_text("[gateway]\nport = 0\nlog_contents = true\n", encoding="utf-8")
    found = [one for one in examine(file) if one.name == "log_contents"]
    assert [one.level for one in found] == [Level.WARNING]
    assert "log_contents = false" in str(found[0].fix)
    file.write_text("[gateway]\nport = 0\n", encoding="utf-8")
    assert not [one for one in examine(file) if one.name == "log_contents"]
