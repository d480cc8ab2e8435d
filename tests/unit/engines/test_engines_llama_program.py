"""Whether a llama-server can be used here, and what it was built for: small programs that say what real ones say."""

import dataclasses
import sys

import pytest

from ansambl.domain.engine import Installed, NotUsable, Surroundings
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.units import Bytes
from ansambl.engines.adapters.llama_cpp import TRIED_BUILDS, LlamaCpp
from ansambl.engines.installations import InstallManifest, write_install_manifest
from ansambl.engines.shared import llama_program
from ansambl.engines.shared.llama_program import LlamaProgram, ask_program, read_build, read_version

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins for llama-server are shell scripts")

CPU = Cpu(model="x", architecture="x86_64", physical_cores=1, logical_cores=1, usable_cores=1, isa_level=None)
MACHINE = Machine(name="m", system="Linux", cpu=CPU, memory=Memory(Bytes(1), Bytes(1)))
WITH_GPU = dataclasses.replace(MACHINE, gpus=(Gpu(0, "NVIDIA", "NVIDIA H100", Bytes(80)),))
CUDA = "Available devices:\n  CUDA0: NVIDIA H100 80GB HBM3 (81079 MiB, 80500 MiB free)"
NONE = "Available devices:\n  (none)"


@pytest.fixture
def program(tmp_path):
    """Writes a stand-in for llama-server."""

    def write(version="version: 0.6.0-dev (build 11434, commit abc1234)", devices=NONE, *, folder="bin", failing=""):
        path = tmp_path / folder / "llama-server"
        path.parent.mkdir(exist_ok=True)
        path.write_text(
            f'#!/bin/sh\n{failing}\n[ "$1" = --version ] && echo "{version}" >&2 || echo "{devices}"\n'
        )  # fmt: skip
        path.chmod(0o755)
        return str(path)

    return write


@pytest.mark.parametrize(("said", "version"), [
    ("version: 0.6.0-dev (build 11434, commit abc1234)\nbuilt with GNU 12.2.0 for Linux x86_64", ("b11434", 11434)),
    ("version: 0.6.0-dev (build 0, commit unknown)\nbuilt with GNU 12.2.0 for Linux x86_64", ("0.6.0-dev", None)),
    ("ggml_cuda_init: found 1 CUDA devices\nversion: 10360 (90e6a9131)\nbuilt with cc", ("b10360", 10360)),
    ("version: 0 (unknown)", ("b0", None)),
    ("llama-server 3", None), ("version: 2.0.0", None), ("", None),
])  # fmt: skip
def test_versions_old_and_new(said, version):
    assert read_version(said) == version


@pytest.mark.parametrize(("listed", "complained", "build"), [
    (NONE, "", "cpu"), (CUDA, "", "cuda"),
    ("Available devices:\n  ROCm0: AMD Radeon (24560 MiB, 24000 MiB free)", "", "rocm"),
    ("Available devices:\n  Vulkan0: Intel Arc (15000 MiB, 14000 MiB free)", "", "vulkan"),
    ("Available devices:\n  MTL0: Apple M4 (10922 MiB, 10922 MiB free)", "", "metal"),
    ("Available devices:\n  Metal: Apple M2 (10922 MiB, 10922 MiB free)", "", "metal"),
    (NONE, "ggml_cuda_init: failed to initialize CUDA: no CUDA-capable device is detected", "cuda"),
    (NONE, "ggml_vulkan: No devices found.", "vulkan"), ("rubbish", "rubbish", "cpu"),
])  # fmt: skip
def test_what_it_was_built_for(listed, complained, build):
    assert read_build(listed, complained) == build


def test_a_program_on_the_path_is_found_and_asked(program, tmp_path):
    path = program()
    found = LlamaCpp().detect(Surroundings(machine=MACHINE, search_path=str(tmp_path / "bin")))
    assert found == Installed("b11434", path, "cpu")


def test_the_owners_program_goes_before_ours_and_ours_before_the_path(program, tmp_path):
    on_path, own = program(), program("version: 0.6.0-dev (build 11500, commit abc)", CUDA, folder="own")
    folder = tmp_path / "engines" / "llama.cpp"
    folder.mkdir(parents=True)
    (folder / "llama-server").write_bytes((tmp_path / "bin" / "llama-server").read_bytes())
    (folder / "llama-server").chmod(0o755)
    around = Surroundings(MACHINE, str(tmp_path / "engines"), own, str(tmp_path / "bin"))
    assert LlamaCpp().detect(around) == Installed("b11500", own, "cuda")
    write_install_manifest(folder, InstallManifest("llama.cpp", "9.9", "cpu", "llama-server", "MIT", "s", 0.0, 1))
    around = dataclasses.replace(around, program=None)
    assert LlamaCpp().detect(around) == Installed("9.9", str(folder / "llama-server"), "cpu", managed=True)
    assert LlamaCpp().detect(dataclasses.replace(around, engines_folder=None)) == Installed("b11434", on_path, "cpu")


@pytest.mark.parametrize("named", ["/nowhere/llama-server", "no-such-llama-server"])
def test_a_program_that_is_not_there_is_named(named, program, tmp_path):
    program()
    found = LlamaCpp().detect(Surroundings(program=named, search_path=str(tmp_path / "bin")))
    assert isinstance(found, NotUsable)
    assert named in found.reason.render()
    assert 'engines."llama.cpp".program' in found.how_to_fix.render()


def test_without_any_it_says_how_to_install_one(tmp_path):
    found = LlamaCpp().detect(Surroundings(search_path=str(tmp_path)))
    assert isinstance(found, NotUsable)
    assert "ansambl engines install llama.cpp" in found.how_to_fix.render()


@pytest.mark.parametrize(("failing", "reason", "fix"), [
    ("kill -ILL $$", "built for another processor", "engines install"),
    ("echo 'llama-server: error while loading shared libraries: libcuda.so.1: cannot open' >&2; exit 127",
     "needs libcuda.so.1", "driver"),
    ("echo 'llama-server: error while loading shared libraries: libgomp.so.1: cannot open' >&2; exit 127",
     "library libgomp.so.1", "install that library"),
    ("echo 'what is this' >&2; exit 3", "status 3 (what is this)", "another build"),
    ("echo 'llama-box 1.0'; exit 0", "is no llama-server", 'engines."llama.cpp".program'),
])  # fmt: skip
def test_a_program_that_cannot_run_is_explained(program, failing, reason, fix):
    found = LlamaCpp().detect(Surroundings(program=program(failing=failing)))
    assert isinstance(found, NotUsable)
    assert reason in found.reason.render()
    assert fix in found.how_to_fix.render()


def test_what_may_not_be_run_is_explained(program, tmp_path):
    path = tmp_path / "text"
    path.write_text("no program")
    for one in (str(path), str(tmp_path)):
        found = ask_program(one)
        assert isinstance(found, NotUsable)
        assert "cannot be started" in found.reason.render()


def test_one_that_hangs_is_left(program, monkeypatch):
    monkeypatch.setattr(llama_program, "_PATIENCE", 0.05)
    found = ask_program(program(failing="exec sleep 20"))
    assert isinstance(found, NotUsable)
    assert "did not tell its version" in found.reason.render()


def test_the_same_file_is_asked_once_and_another_one_again(program, tmp_path):
    path = program(failing=f"echo asked >> {tmp_path}/count")
    assert ask_program(path) == ask_program(path) == LlamaProgram("b11434", 11434, "cpu")
    assert (tmp_path / "count").read_text().count("asked") == 2, "once for the version, once for the devices"
    path = program("version: 0.7.0 (build 12000, commit abc1234)")
    assert ask_program(path) == LlamaProgram("b12000", 12000, "cpu")


def test_one_that_was_helped_is_asked_again(program, tmp_path):
    """A driver or a library that is installed changes nothing of the program's own file."""
    path = program(failing=f"[ -e {tmp_path}/library ] || exit 127")
    assert isinstance(ask_program(path), NotUsable)
    (tmp_path / "library").touch()
    assert ask_program(path) == LlamaProgram("b11434", 11434, "cpu")


def test_untried_versions_are_warned_of_and_used(program):
    for build, warned in ((TRIED_BUILDS[0] - 1, True), (TRIED_BUILDS[0], False), (TRIED_BUILDS[1] + 1, True)):
        found = LlamaCpp().detect(Surroundings(program=program(f"version: 0.6.0 (build {build}, commit abc1234)")))
        assert isinstance(found, Installed)
        assert (found.warning is not None) is warned
        assert found.warning is None or f"b{build} was never tried" in found.warning.render()
    for release, warned in (("0.6.0-dev", False), ("0.7.0", True)):
        found = LlamaCpp().detect(Surroundings(program=program(f"version: {release} (build 0, commit unknown)")))
        assert isinstance(found, Installed)
        assert (found.warning is not None) is warned


def test_a_build_that_leaves_the_gpu_idle_is_warned_of(program):
    found = LlamaCpp().detect(Surroundings(machine=WITH_GPU, program=program()))
    assert isinstance(found, Installed)
    assert "NVIDIA H100" in found.warning.render()
    found = LlamaCpp().detect(Surroundings(machine=WITH_GPU, program=program(devices=CUDA)))
    assert isinstance(found, Installed)
    assert found.warning is None
