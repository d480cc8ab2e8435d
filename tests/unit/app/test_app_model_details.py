"""What lists show of models, read from the heads of their files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_files import write_gguf

from ansambl.app.configuration.settings import ModelSettings
from ansambl.app.model_details import details_of

TENSORS = {"token_embd.weight": ("F32", (4, 4))}


def test_of_a_gguf_file(tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, {"general.architecture": "llama", "llama.context_length": 4096}, TENSORS)
    found = details_of(ModelSettings(checkpoint=str(path)), tmp_path)
    assert found is not None
    assert (found.format, found.architecture, found.context) == ("gguf", "llama", 4096)
    assert found.size == path.stat().st_size
    assert (found.vision, found.embeds, found.reranks) == (False, False, False)


@pytest.mark.parametrize("settings", [{"mmproj": "/x.gguf"}, {"arguments": ("--mmproj", "/x.gguf")}])
def test_a_projector_lets_it_see(tmp_path: Path, settings: dict[str, object]) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, {"general.architecture": "llama"}, TENSORS)
    found = details_of(ModelSettings.model_validate({"checkpoint": str(path), **settings}), tmp_path)
    assert found is not None
    assert found.vision


@pytest.mark.parametrize(("pooling", "embeds", "reranks"), [(1, True, False), (4, False, True), (0, False, False)])
def test_models_that_write_no_words(tmp_path: Path, pooling: int, *, embeds: bool, reranks: bool) -> None:
    path = tmp_path / "model.gguf"
    write_gguf(path, {"general.architecture": "bert", "bert.pooling_type": pooling}, TENSORS)
    found = details_of(ModelSettings(checkpoint=str(path)), tmp_path)
    assert found is not None
    assert (found.embeds, found.reranks) == (embeds, reranks)


def test_what_is_no_model_has_no_details(tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF")
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": []}))
    for one in ("broken.gguf", "missing.gguf", "."):
        assert details_of(ModelSettings(checkpoint=str(tmp_path / one)), tmp_path) is None
    assert details_of(ModelSettings(address="http://127.0.0.1:1/v1"), tmp_path) is None
