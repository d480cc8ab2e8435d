"""Fixtures that several suites share."""

from pathlib import Path

import pytest
from secrets_watch import (
    pytest_runtest_makereport as pytest_runtest_makereport,  # noqa: PLC0414 - hooks of the plugin
)
from secrets_watch import (
    pytest_runtest_teardown as pytest_runtest_teardown,  # noqa: PLC0414
)
from secrets_watch import (
    pytest_sessionfinish as pytest_sessionfinish,  # noqa: PLC0414
)
from secrets_watch import (
    pytest_terminal_summary as pytest_terminal_summary,  # noqa: PLC0414
)

from ansambl.foundation.locales import speak
from ansambl.model_catalog import embedded

BUILD = Path(__file__).resolve().parent.parent / ".build"


@pytest.fixture(scope="session")
def embedded_model_folder():
    """A models folder that holds the embedded model, pulled once into the checkout by the product's own `pull`."""
    folder = BUILD / "models"
    embedded.pull(folder, lambda _done, _total: None)
    return folder


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """A command's world that holds nothing: folders of its own for data, configuration and the hub; in English."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OLLAMA_MODELS", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(speak, "language", "en")
    return tmp_path
