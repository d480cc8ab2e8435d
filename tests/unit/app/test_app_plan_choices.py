"""What one can plan with is worked out once, and anew where the file of a configured model is another one."""

from __future__ import annotations

import pytest
from model_files import tiny_gemma

from ansambl.app import planning
from ansambl.app.admin.plan_choices import catalog_document
from ansambl.app.configuration.settings_file import load_settings
from ansambl.foundation.paths import DataPaths


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A configuration with one file, its path, and how often files were read."""
    file = tmp_path / "tiny.gguf"
    tiny_gemma(file)
    config = tmp_path / "ansambl.toml"
    config.write_text(f'[models.tiny]\ncheckpoint = "{file}"\n', encoding="utf-8")
    reads = []
    inspect = planning.inspect_checkpoint
    monkeypatch.setattr(planning, "inspect_checkpoint", lambda path: reads.append(path) or inspect(path))
    return load_settings(config, environment={}), DataPaths(tmp_path / "data"), file, reads


def tiny(found):
    return next((one for one in found.models if one.configured and one.name == "tiny"), None)


def test_a_file_is_read_once_as_long_as_it_is_the_same(world):
    loaded, paths, _, reads = world
    first, second = (catalog_document(loaded, paths) for _ in range(2))
    assert tiny(first) == tiny(second)
    assert tiny(first).checkpoints[0].bytes > 0
    assert len(reads) == 1
    # The shipped models are the very same documents: nothing is derived again.
    assert first.models[-1] is second.models[-1]
    assert len(first.models) > 100


def test_another_file_in_its_place_is_read(world):
    loaded, paths, file, reads = world
    before = tiny(catalog_document(loaded, paths))
    file.write_bytes(file.read_bytes() + bytes(4096))
    after = tiny(catalog_document(loaded, paths))
    assert len(reads) == 2
    assert after.checkpoints[0].bytes == before.checkpoints[0].bytes + 4096


def test_a_file_that_goes_takes_its_model_along_and_brings_it_back(world):
    loaded, paths, file, _ = world
    assert tiny(catalog_document(loaded, paths)) is not None
    file.rename(file.with_suffix(".away"))
    assert tiny(catalog_document(loaded, paths)) is None
    file.with_suffix(".away").rename(file)
    assert tiny(catalog_document(loaded, paths)) is not None
