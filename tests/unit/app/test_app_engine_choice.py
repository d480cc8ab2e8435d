"""Which engine runs a model: what its owner named, else what its files ask for and what is here."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from ansambl.app import engine_choice
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.engine_choice import EngineFinder, place
from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import Installed, NotUsable
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.model import Checkpoint
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.foundation.paths import DataPaths

CARDS = tuple(
    Gpu(index, vendor, "card", Bytes(24 * GIB)) for index, vendor in ((0, "NVIDIA"), (1, "NVIDIA"), (0, "AMD"))
)
BUNDLED = {"llama.cpp-bundled": Installed("1", build="cpu")}


class Engines:
    """Engines of a made-up machine; `asked` counts how often each was looked for."""

    def __init__(self, here):
        self.here, self.asked = dict(here), []

    def get(self, name):
        def detect(_around):
            self.asked.append(name)
            return self.here.get(name) or NotUsable(
                text("no {name} here", name=name), text("install {name}", name=name)
            )

        return SimpleNamespace(traits=SimpleNamespace(name=name), detect=detect)


@pytest.fixture
def find(tmp_path, monkeypatch):
    def make(here, model='checkpoint = "/m"', more=""):
        engines = Engines(here)
        monkeypatch.setattr(engine_choice, "get_engine", engines.get)
        file = tmp_path / "ansambl.toml"
        file.write_text(f"[models.m]\n{model}\n{more}", encoding="utf-8")
        machine = Machine("t", "Linux", Cpu("x", "x86_64", 2, 2, 2, None), Memory(Bytes(GIB), Bytes(GIB)), gpus=CARDS)
        finder = EngineFinder(load_settings(file, environment={}), DataPaths(tmp_path / "data"), lambda: machine)
        finder.engines = engines
        return finder

    return make


def files(form):
    return Checkpoint("/m", "/m", form, Bytes(1), "1")


@pytest.mark.parametrize(
    ("here", "form", "chosen"),
    [
        ({}, "gguf", "llama.cpp-bundled"),
        ({"llama.cpp": Installed("b1", build="cpu")}, "gguf", "llama.cpp-bundled"),
        ({"llama.cpp": Installed("b1", build=None)}, "gguf", "llama.cpp-bundled"),
        ({"llama.cpp": Installed("b1", build="cuda")}, "gguf", "llama.cpp"),
        ({"sglang": Installed("1"), "transformers": Installed("1")}, "safetensors", "sglang"),
        ({"vllm": Installed("1"), "sglang": Installed("1")}, "safetensors", "vllm"),
        ({"exllamav3": Installed("1")}, "exl3", "exllamav3"),
    ],
)
def test_files_ask_for_an_engine_and_the_best_one_that_is_here_is_taken(find, here, form, chosen):
    assert find({**BUNDLED, **here}).choose("m", files(form)).name == chosen


def test_without_any_engine_the_best_one_is_what_should_be_installed(find):
    with pytest.raises(NotSupportedError, match=r"models\.m: no vllm here; install vllm"):
        find(BUNDLED).choose("m", files("safetensors"))
    with pytest.raises(NotSupportedError, match="no engine here runs tar files"):
        find(BUNDLED).choose("m", files("tar"))


def test_llama_cpp_by_name_is_the_bundled_one_unless_a_program_is_named(find):
    named = 'checkpoint = "/m"\nengine = "llama.cpp"'
    assert find(BUNDLED, named).choose("m", files("gguf")).name == "llama.cpp-bundled"
    assert find({**BUNDLED, "llama.cpp": Installed("b1")}, named).choose("m", files("gguf")).name == "llama.cpp"
    with pytest.raises(NotSupportedError, match=r"no llama\.cpp here"):
        find(BUNDLED, named, '[engines."llama.cpp"]\nprogram = "/opt/llama-server"').choose("m", files("gguf"))


def test_an_engine_is_looked_for_until_it_is_found_and_again_when_it_was_removed(find, tmp_path, monkeypatch):
    finder, program = find(BUNDLED), tmp_path / "vllm"
    for _ in range(2):
        assert isinstance(finder.find("vllm"), NotUsable)
    assert finder.engines.asked == ["vllm"]
    monkeypatch.setattr(engine_choice, "_LOOK_AGAIN", 0.0)
    program.touch()
    finder.engines.here["vllm"] = Installed("1", str(program))
    for _ in range(3):
        assert isinstance(finder.find("vllm"), Installed)
    assert finder.engines.asked == ["vllm"] * 2
    program.unlink()
    del finder.engines.here["vllm"]
    assert isinstance(finder.find("vllm"), NotUsable)


@pytest.mark.parametrize(
    ("build", "named", "gpus", "vendor"),
    [
        ("cuda", "", (0, 1), "nvidia"),
        ("rocm", "", (0,), "amd"),
        ("cuda", "gpus = [1]", (1,), "nvidia"),
        ("cuda", "gpus = []", (), "none"),
        ("cpu", "", (), "none"),
    ],
)
def test_a_build_uses_the_cards_of_its_own_vendor(find, build, named, gpus, vendor):
    finder = find({"vllm": Installed("1", build=build)}, f'checkpoint = "/m"\nengine = "vllm"\n{named}')
    placed = place(finder._loaded, "m", files("safetensors"), finder)
    assert (placed.gpus, placed.vendor) == (gpus, vendor)


@pytest.mark.parametrize(
    ("architecture", "pooling", "kind"),
    [
        ("llama", None, None),
        ("bert", None, ModelKind.EMBEDDING),
        ("bert", "rank", ModelKind.RERANKER),
        ("qwen3", "last", ModelKind.EMBEDDING),
        ("qwen3", "rank", ModelKind.RERANKER),
    ],
)
def test_a_file_tells_whether_it_makes_vectors_or_scores(find, architecture, pooling, kind):
    finder = find(BUNDLED)
    checkpoint = replace(files("gguf"), architecture=architecture, pooling=pooling)
    assert place(finder._loaded, "m", checkpoint, finder).kind is kind
