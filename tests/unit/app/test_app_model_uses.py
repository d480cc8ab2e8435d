"""Which models run which checkpoint, and what the admin API tells of both."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_files import write_gguf

from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.model_uses import configured_models, models_document, users_of
from ansambl.foundation.paths import DataPaths

FIELDS = {"general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2}


@pytest.fixture
def stage(tmp_path, monkeypatch):
    for name in ("HF_HOME", "HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    for name in ("HF_HUB_CACHE", "OLLAMA_MODELS"):
        monkeypatch.delenv(name, raising=False)
    paths = DataPaths(tmp_path / "data")
    paths.create()
    mine = paths.models / "mine.gguf"
    write_gguf(mine, FIELDS, {"token_embd.weight": ("F16", (64, 64))})
    config = tmp_path / "ansambl.toml"
    config.write_text(
        f"""\
[models.one]
checkpoint = "{mine}"
aliases = ["uno"]
context = 1024
[models.same]
checkpoint = "mine.gguf"
engine = "llama.cpp"
pinned = true
[models.gone]
checkpoint = "own/gone:Q4_K_M"
[models.remote]
address = "http://127.0.0.1:9/v1"
""",
        encoding="utf-8",
    )
    monkeypatch.setenv("ANSAMBL_DATA", str(paths.root))
    return load_settings(config), paths, mine


def test_every_model_names_its_checkpoint_and_why_it_cannot_be_used(stage):
    loaded, paths, mine = stage
    found = {one.name: one for one in configured_models(loaded, paths)}
    assert list(found) == ["gone", "one", "remote", "same"]
    assert (found["one"].path, found["one"].aliases, found["one"].context, found["one"].engine) == (
        str(mine), ("uno",), 1024, None,
    )  # fmt: skip
    assert (found["same"].path, found["same"].engine, found["same"].pinned) == (str(mine), "llama.cpp", True)
    assert (found["gone"].path, found["gone"].problem is not None) == (None, True)
    assert (found["remote"].attached, found["remote"].checkpoint, found["remote"].problem) == (True, None, None)
    assert users_of(str(mine), found.values()) == ("one", "same")


def test_the_list_says_what_uses_each_and_what_may_be_removed(stage):
    loaded, paths, mine = stage
    document = models_document(loaded, paths, lambda template: f"! {template}")
    (one,) = document.installed
    assert (one.path, one.used_by, one.removable) == (str(mine), ["one", "same"], False)
    assert (document.installed_size, document.folder) == (Path(mine).stat().st_size, str(paths.models))
    assert document.embedded is not None
    assert (document.embedded.installed, document.embedded.used_by) == (False, [])
    gone = next(one for one in document.configured if one.name == "gone")
    assert gone.problem is not None
    assert gone.problem.startswith("! own/gone:Q4_K_M")
