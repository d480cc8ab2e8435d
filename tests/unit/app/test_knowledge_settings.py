"""The table [knowledge]: what it defaults to, paths that are relative to the file, and one line for each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ansambl.app.configuration.settings_file import LoadedSettings, load_settings
from ansambl.domain.errors import ConfigurationError

ENGINES = ("auto", "llama.cpp-bundled", "openai-compatible", "command")
Load = Callable[[str], LoadedSettings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def load_text(source: str) -> LoadedSettings:
        file = tmp_path / "ansambl.toml"
        file.write_text(source, encoding="utf-8")
        return load_settings(file, engines=ENGINES, environment={})

    return load_text


def test_nothing_is_remembered_and_nothing_is_fetched_from_private_networks_by_default(load: Load) -> None:
    found = load("").settings.knowledge
    assert not found.memory
    assert not found.allow_private_addresses
    assert found.roots == ()
    assert (found.embedder, found.index, found.rerank) == ("auto", "auto", "none")


def test_folders_are_relative_to_the_file(load: Load, tmp_path: Path) -> None:
    found = load("""
[knowledge]
roots = ["docs"]
[knowledge.collections.notes]
description = "My notes"
folders = ["vault", "/srv/papers"]
include = ["*.md"]
exclude = ["drafts/"]
""").settings.knowledge
    assert found.roots == (str(tmp_path / "docs"),)
    notes = found.collections["notes"]
    assert notes.folders == (str(tmp_path / "vault"), "/srv/papers")
    assert (notes.include, notes.exclude) == (("*.md",), ("drafts/",))


def test_a_model_of_the_file_can_be_named(load: Load) -> None:
    source = '[models.m3]\naddress = "http://127.0.0.1:9/v1"\n[knowledge]\nembedder = "m3"\nrerank = "m3"'
    found = load(source).settings.knowledge
    assert (found.embedder, found.rerank) == ("m3", "m3")


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ('[models.bge]\naddress = "http://a/v1"\n[knowledge]\nembedder = "bgee"', 4, 'did you mean "bge"'),
        ('[models.bge]\naddress = "http://a/v1"\n[knowledge]\nrerank = "other-one"', 4, "there are: bge"),
        ('[knowledge]\nindex = "qdrant"', 2, "'address'"),
        ('[knowledge]\nindex = "lance"', 2, "knowledge.index"),
        ('[knowledge]\naddress = "http://127.0.0.1:6333"', 2, "only goes with an index on a server"),
        ('[knowledge]\nindex = "postgresql"\naddress = "postgresql://me:secret@db/x"', 3, "address_env"),
        ('[knowledge]\nindex = "qdrant"\naddress = "no address"', 3, "is not an address"),
        ('[knowledge]\nindex = "qdrant"\naddress = "http://a:0x"', 3, "is not an address"),
        ('[knowledge]\nindex = "qdrant"\naddress = "http://a"\naddress_env = "A"', 4, "keep one of them"),
        ("[knowledge]\npassage_tokens = 100\noverlap = 60", 3, "half of 'passage_tokens' (50)"),
        ("[knowledge]\npassage_tokens = 4096", 2, "400"),
        ('[knowledge]\n[knowledge.collections."a/b"]\n', 2, "cannot hold '/'"),
        ("[knowledge]\n[knowledge.collections.a]\nnonsense = 1", 3, "unknown key"),
        ('[knowledge]\nmax_file = "huge"', 2, "max_file"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_with_its_place(load: Load, source: str, line: int, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(source)
    said = str(caught.value)
    assert "\n" not in said
    assert f"line {line}" in said
    assert words in said
    assert "secret" not in said
