"""Whether engines that live outside of Ansambl are found: in environments, in folders of their own, on the PATH."""

import json
from dataclasses import replace

import pytest

from ansambl.domain.engine import ExitReason, Installed, NotUsable, Surroundings
from ansambl.domain.errors import UsageError
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.engines.adapters import ollama
from ansambl.engines.installations import InstallManifest, write_install_manifest
from ansambl.engines.registry import get_engine
from ansambl.engines.shared import torch_builds

CPU = Cpu("x", "x86_64", 1, 1, 1, None)
MACHINE = Machine(name="m", system="Linux", cpu=CPU, memory=Memory(1, 1), gpus=(Gpu(0, "NVIDIA", "card", 1),))
BLOB = "/store/models/blobs/sha256-" + "a1" * 32


def program(path, words):
    """An executable that says `words` whatever it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{words}\nEND\n")
    path.chmod(0o755)
    return str(path)


def python(folder, **packages):
    """A Python that has these packages."""
    return program(folder / "bin" / "python", json.dumps({one.replace("_", "-"): two for one, two in packages.items()}))


def test_sglang_is_found_where_its_owner_says(tmp_path):
    path = python(tmp_path, sglang="0.5.23", torch="2.9.0+cu128")
    assert get_engine("sglang").detect(Surroundings(program=path)) == Installed("0.5.23", path, "cuda")


def test_sglang_that_ansambl_installed_keeps_its_build(tmp_path):
    folder = tmp_path / "engines" / "sglang"
    path = python(folder, sglang="0.5.23", torch="2.9.0")
    write_install_manifest(
        folder, InstallManifest("sglang", "0.5.23", "rocm", "bin/python", "Apache-2.0", "the package index", 1.0, 1)
    )
    found = get_engine("sglang").detect(Surroundings(engines_folder=str(tmp_path / "engines")))
    assert found == Installed("0.5.23", path, "rocm", managed=True)


@pytest.mark.parametrize(
    ("gpu", "words"),
    [({"capability": "7.0"}, "compute capability 7.5"), ({"capability": "12.0", "driver": "470.10"}, "driver"),
     ({"vendor": "AMD"}, "none was found")],
)  # fmt: skip
def test_a_gpu_that_sglang_cannot_use_is_told(tmp_path, gpu, words):
    path = python(tmp_path, sglang="0.5.23", torch="2.9.0+cu128")
    machine = replace(MACHINE, gpus=(replace(MACHINE.gpus[0], **gpu),))
    found = get_engine("sglang").detect(Surroundings(machine=machine, program=path))
    assert isinstance(found, NotUsable)
    assert words in found.reason.render()
    able = replace(MACHINE, gpus=(replace(MACHINE.gpus[0], capability="12.0", driver="999.0"),))
    assert isinstance(get_engine("sglang").detect(Surroundings(machine=able, program=path)), Installed)


@pytest.mark.parametrize("gpus", [(), (Gpu(0, "AMD", "card", 1),), (Gpu(0, "NVIDIA", "old", 1, capability="7.5"),)])
def test_a_gpu_that_exllamav3_cannot_use_is_told(tmp_path, gpus):
    (tmp_path / "main.py").touch()
    (tmp_path / "venv" / "lib" / "python3.12" / "site-packages" / "exllamav3-1.6.5.dist-info").mkdir(parents=True)
    adapter = get_engine("exllamav3")
    found = adapter.detect(Surroundings(machine=replace(MACHINE, gpus=gpus), program=str(tmp_path)))
    assert isinstance(found, NotUsable)
    assert "llama.cpp" in found.how_to_fix.render()
    newer = replace(MACHINE, gpus=(Gpu(0, "NVIDIA", "new", 1, capability="8.6"),))
    assert isinstance(adapter.detect(Surroundings(machine=newer, program=str(tmp_path))), Installed)


def test_an_environment_with_torch_alone_is_no_sglang(tmp_path):
    found = get_engine("sglang").detect(Surroundings(program=python(tmp_path, torch="2.9.0")))
    assert isinstance(found, NotUsable)
    assert "ansambl engines install sglang" in found.how_to_fix.render()


@pytest.mark.parametrize(
    ("version", "build"),
    [("2.9.0+cu128", "cuda"), ("2.9.0+cpu", "cpu"), ("2.9.0+rocm6.4", "rocm"), ("2.9.0+xpu", "xpu"), (None, None)],
)
def test_the_build_of_pytorch_names_its_devices(version, build):
    assert torch_builds.build_of(version) == build


def test_pytorch_of_the_package_index_is_for_cuda_and_on_a_mac_for_metal(monkeypatch):
    assert torch_builds.build_of("2.9.0") == "cuda"
    monkeypatch.setattr(torch_builds.platform, "system", lambda: "Darwin")
    assert torch_builds.build_of("2.9.0") == "metal"


@pytest.mark.parametrize("folder", ["venv", ".venv"])
def test_tabbyapi_is_its_folder_with_exllamav3_in_its_environment(tmp_path, folder):
    adapter = get_engine("exllamav3")
    (tmp_path / "main.py").touch()
    found = adapter.detect(Surroundings(program=str(tmp_path)))
    assert isinstance(found, NotUsable)
    assert "start.sh" in found.how_to_fix.render()
    (tmp_path / folder / "lib" / "python3.12" / "site-packages" / "exllamav3-1.6.5.dist-info").mkdir(parents=True)
    wanted = Installed("1.6.5", str(tmp_path / folder / "bin" / "python"), "cuda")
    assert adapter.detect(Surroundings(program=str(tmp_path))) == wanted
    assert adapter.detect(Surroundings(program=str(tmp_path / "main.py"))) == wanted


@pytest.mark.parametrize("engine", ["exllamav3", "textgen"])
def test_a_folder_of_something_else_is_told(tmp_path, engine):
    found = get_engine(engine).detect(Surroundings(program=str(tmp_path)))
    assert isinstance(found, NotUsable)
    assert str(tmp_path) in found.reason.render()
    nowhere = get_engine(engine).detect(Surroundings(search_path=str(tmp_path)))
    assert isinstance(nowhere, NotUsable)
    assert f"engines.{engine}.program" in nowhere.how_to_fix.render()


def test_textgen_is_its_folder_with_the_environment_of_its_start_script(tmp_path):
    (tmp_path / "server.py").touch()
    adapter = get_engine("textgen")
    assert isinstance(adapter.detect(Surroundings(program=str(tmp_path))), NotUsable)
    path = python(tmp_path / "installer_files" / "env")
    assert adapter.detect(Surroundings(program=str(tmp_path))) == Installed("-", path, "cpu")
    assert adapter.detect(Surroundings(machine=MACHINE, program=str(tmp_path))) == Installed("-", path, "cuda")
    checkpoint = Checkpoint("m", "/models/m.gguf", "gguf", 1, "x")
    placement = Placement("m", "textgen", checkpoint, 512, 1, installed=Installed("-", path))
    assert adapter.launch_spec(placement, port=1, secret="s").working_folder == str(tmp_path)


@pytest.mark.parametrize(
    "said",
    ["ollama version is 0.33.3", ("Warning: could not connect to a running Ollama instance\n"
     "Warning: client version is 0.33.3"), "ollama version is 0.32.14\nWarning: client version is 0.33.3"],
)  # fmt: skip
def test_ollama_names_its_own_version_and_not_that_of_a_server_that_runs(tmp_path, said):
    path = program(tmp_path / "ollama", said)
    adapter = get_engine("ollama")
    assert adapter.detect(Surroundings(search_path=str(tmp_path))) == Installed("0.33.3", path, "cpu")
    assert adapter.detect(Surroundings(machine=MACHINE, program=path)) == Installed("0.33.3", path, "cuda")


def test_what_is_no_ollama_is_told(tmp_path):
    found = get_engine("ollama").detect(Surroundings(program=program(tmp_path / "ollama", "hello")))
    assert isinstance(found, NotUsable)
    assert isinstance(get_engine("ollama").detect(Surroundings(program=str(tmp_path / "none"))), NotUsable)
    assert isinstance(get_engine("ollama").detect(Surroundings(search_path=str(tmp_path / "none"))), NotUsable)


def test_a_reference_into_the_store_of_ollama_names_the_model_and_the_store():
    checkpoint = Checkpoint("ollama:qwen3:32b", BLOB, "gguf", 1, "x")
    placement = Placement("big", "ollama", checkpoint, 4096, 1, installed=Installed("0.33.3", "/usr/bin/ollama", "cpu"))
    spec = get_engine("ollama").launch_spec(placement, port=1, secret="s")
    assert spec.upstream_name == "qwen3:32b"
    assert spec.environment["OLLAMA_MODELS"] == "/store/models"
    assert spec.files == {}
    with pytest.raises(UsageError, match="ollama:NAME"):
        ollama.known_as(replace(placement, checkpoint=replace(checkpoint, reference=BLOB)))


def test_a_card_that_was_left_out_is_hidden_from_ollama():
    checkpoint = Checkpoint("ollama:m", BLOB, "gguf", 1, "x")
    placement = Placement("m", "ollama", checkpoint, 4096, 1, installed=Installed("1", "/usr/bin/ollama", "cuda"))
    adapter = get_engine("ollama")
    hidden = adapter.launch_spec(placement, port=1, secret="s")
    assert hidden.environment["CUDA_VISIBLE_DEVICES"] == "-1"
    shown = adapter.launch_spec(replace(placement, gpus=(1,), vendor="nvidia"), port=1, secret="s")
    assert shown.environment["CUDA_VISIBLE_DEVICES"] == "1"


def test_what_is_only_attached_to_says_what_to_do_instead(tmp_path):
    tgi = get_engine("tgi").detect(Surroundings(search_path=str(tmp_path)))
    assert isinstance(tgi, NotUsable)
    assert '"vllm"' in tgi.how_to_fix.render()
    here = Surroundings(search_path=str(tmp_path), program=program(tmp_path / "lms", ""))
    studio = get_engine("lm_studio").detect(here)
    assert isinstance(studio, NotUsable)
    assert "lms server start" in studio.how_to_fix.render()


def test_mlx_tells_its_devices_and_a_version_that_was_never_tried(tmp_path):
    adapter = get_engine("mlx")
    path = python(tmp_path, mlx_lm="0.32.2", mlx_cpu="0.32.4")
    assert adapter.detect(Surroundings(program=path)) == Installed("0.32.2", path, "cpu")
    mac = replace(MACHINE, system="Darwin", gpus=())
    assert adapter.detect(Surroundings(machine=mac, program=path)) == Installed("0.32.2", path, "metal")
    newer = adapter.detect(Surroundings(program=python(tmp_path / "new", mlx_lm="0.40.0", mlx_cuda_13="0.40.0")))
    assert isinstance(newer, Installed)
    assert newer.build == "cuda"
    assert newer.warning is not None
    missing = adapter.detect(Surroundings(search_path=str(tmp_path / "none")))
    assert isinstance(missing, NotUsable)
    assert "mlx-lm" in missing.how_to_fix.render()


def test_sglang_shares_prefixes_unless_its_owner_switched_that_off():
    adapter = get_engine("sglang")
    plain = Placement("m", "sglang", None, 0, 1)
    assert adapter.shares_prefixes(plain)
    assert not adapter.shares_prefixes(replace(plain, settings={"disable_radix_cache": True}))
    assert not adapter.shares_prefixes(
        replace(plain, options=replace(plain.options, arguments=("--disable-radix-cache",)))
    )


def test_a_stop_stays_a_stop_whatever_was_said_before():
    tail = ["RuntimeError: Not enough memory. Please try to increase --mem-fraction-static."]
    assert get_engine("sglang").explain_exit(-15, tail).reason is ExitReason.STOPPED
    assert get_engine("sglang").explain_exit(None, tail).reason is ExitReason.OUT_OF_MEMORY
