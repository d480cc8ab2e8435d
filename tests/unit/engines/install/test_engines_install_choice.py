from dataclasses import replace

import pytest

from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.install.choice import choose_build, system_of
from ansambl.engines.install.data import known_builds
from ansambl.engines.install.records import Around, Build, Choice, Refusal, Way

EVERYTHING = Around(("3.12",), frozenset({"c++", "nvcc", "hipcc", "glslc"}))
NO_COMPILER = Around(("3.12",), frozenset())
MODERN = ("avx", "avx2", "f16c", "fma")


def machine(*gpus: Gpu, system: str = "Linux 6.8.0", architecture: str = "x86_64", flags: tuple[str, ...] = MODERN):
    memory = Memory(Bytes(64 * GIB), Bytes(60 * GIB))
    return Machine("test", system, Cpu("a processor", architecture, 8, 16, 16, None, flags), memory, gpus)


def nvidia(capability: str | None = "12.0", driver: str | None = "580.95.05", index: int = 0) -> Gpu:
    return Gpu(index, "nvidia", "an NVIDIA card", Bytes(24 * GIB), capability=capability, driver=driver)


def amd(target: str = "gfx1100", *, integrated: bool = False) -> Gpu:
    return Gpu(0, "amd", "an AMD card", Bytes(24 * GIB), capability=target, integrated=integrated)


MAC = machine(system="macOS 15.1", architecture="arm64", flags=())


def chosen(engine: str, on: Machine, around: Around = EVERYTHING, **wanted: object) -> Build:
    found = choose_build(engine, on, known_builds(), around, **wanted)
    assert isinstance(found, Choice), found.why.reason
    return found.build


def refused(engine: str, on: Machine, around: Around = EVERYTHING, **wanted: object) -> Refusal:
    found = choose_build(engine, on, known_builds(), around, **wanted)
    assert isinstance(found, Refusal), found.build
    return found


@pytest.mark.parametrize(
    ("words", "architecture", "expected"),
    [
        ("Linux 6.8.0", "x86_64", "linux-x86_64"),
        ("Linux 5.15.0 (WSL2)", "AMD64", "linux-x86_64"),
        ("Linux 6.8.0", "aarch64", "linux-aarch64"),
        ("macOS 15.1", "arm64", "macos-aarch64"),
        ("", "", "unknown-"),
    ],
)
def test_a_machine_is_named_as_the_data_names_it(words: str, architecture: str, expected: str) -> None:
    assert system_of(machine(system=words, architecture=architecture)) == expected


@pytest.mark.parametrize("engine", ["vllm", "sglang", "transformers", "llama.cpp"])
def test_a_modern_nvidia_card_gets_cuda(engine: str) -> None:
    assert chosen(engine, machine(nvidia())).build == "cuda"


def test_llama_cpp_for_an_older_driver_is_the_build_for_cuda_12() -> None:
    old, new = chosen("llama.cpp", machine(nvidia(driver="550.54.14"))), chosen("llama.cpp", machine(nvidia()))
    assert (old.build, old.variant) == ("cuda", "cuda12")
    assert (new.build, new.variant) == ("cuda", "cuda13")


def test_a_pascal_card_gets_no_kernels_of_cuda_13() -> None:
    assert chosen("llama.cpp", machine(nvidia(capability="6.1"))).variant == "cuda12"


def test_a_driver_too_old_for_vllm_is_refused_and_says_which_one_it_needs() -> None:
    why = refused("vllm", machine(nvidia(driver="535.183.01"))).why
    assert "535.183.01" in str(why.reason)
    assert "580.65.06" in str(why.how_to_fix)


def test_a_gpu_too_old_for_vllm_is_refused_by_its_capability() -> None:
    why = refused("vllm", machine(nvidia(capability="6.1"))).why
    assert "6.1" in str(why.reason)
    assert "7.5" in str(why.reason)


def test_one_gpu_that_can_is_enough() -> None:
    assert chosen("vllm", machine(nvidia(capability="6.1"), nvidia(capability="8.9", index=1))).build == "cuda"


@pytest.mark.parametrize("driver", [None, "unknown"])
def test_what_a_driver_does_not_say_is_no_refusal(driver: str | None) -> None:
    assert chosen("vllm", machine(nvidia(driver=driver, capability=None))).build == "cuda"


def test_the_processor_is_never_chosen_silently_beside_a_gpu_but_can_be_asked_for() -> None:
    on = machine(nvidia(driver="535.183.01"))
    assert "--build cpu" in str(refused("vllm", on).why.how_to_fix)
    assert chosen("vllm", on, wanted="cpu").build == "cpu"


def test_an_integrated_gpu_does_not_keep_from_the_processor() -> None:
    assert chosen("vllm", machine(amd(integrated=True))).build == "cpu"


def test_an_amd_card_gets_rocm_of_llama_cpp_and_a_way_out_for_vllm() -> None:
    assert chosen("llama.cpp", machine(amd())).build == "rocm"
    why = refused("vllm", machine(amd())).why
    assert "amd" in str(why.reason)
    assert "llama.cpp" in str(why.how_to_fix)


def test_an_intel_card_gets_vulkan() -> None:
    card = Gpu(0, "intel", "an Intel card", Bytes(12 * GIB))
    assert chosen("llama.cpp", machine(card)).build == "vulkan"


def test_a_mac_gets_metal_and_no_vllm() -> None:
    assert chosen("llama.cpp", MAC).build == "metal"
    assert chosen("transformers", MAC).build == "metal"
    assert "linux-x86_64" in str(refused("vllm", MAC).why.reason)


def test_an_arm_server_compiles_llama_cpp_and_has_transformers() -> None:
    arm = machine(architecture="aarch64", flags=("neon", "sve"))
    assert chosen("llama.cpp", arm).way is Way.SOURCE
    assert chosen("transformers", arm).build == "cpu"


def test_without_a_gpu_the_processor_is_chosen() -> None:
    found = choose_build("vllm", machine(), known_builds(), EVERYTHING)
    assert isinstance(found, Choice)
    assert found.build.build == "cpu"
    assert [one.build.build for one in found.passed] == ["cuda"]


def test_a_processor_without_avx2_runs_no_vllm_and_an_unknown_one_is_tried() -> None:
    assert "AVX2" in str(refused("vllm", machine(flags=("avx",)), wanted="cpu").why.reason)
    assert chosen("vllm", machine(flags=()), wanted="cpu").build == "cpu"


def test_compiling_needs_its_compilers_and_says_how_to_get_them() -> None:
    on = machine(nvidia())
    assert chosen("llama.cpp", on, compiled=True).programs == ("c++", "nvcc")
    without = Around(("3.12",), frozenset({"c++"}))
    why = refused("llama.cpp", on, without, compiled=True, wanted="cuda").why
    assert "nvcc" in str(why.reason)
    assert "apt install" in str(why.how_to_fix)
    assert "g++" in str(refused("llama.cpp", machine(), NO_COMPILER, compiled=True).why.how_to_fix)


def test_a_python_that_makes_no_environments_is_named() -> None:
    why = refused("transformers", machine(), Around(("3.14",), frozenset())).why
    assert "3.12" in str(why.reason)
    assert "python3-venv" in str(why.how_to_fix)


def test_a_build_that_there_is_not_names_those_that_there_are() -> None:
    assert "cuda, cpu" in str(refused("vllm", machine(), wanted="metal").why.how_to_fix)
    why = refused("vllm", machine(), compiled=True).why
    assert "vLLM" in str(why.reason)
    assert str(why.how_to_fix) == "leave --compile out"


def test_the_first_row_that_fits_is_taken() -> None:
    first = next(one for one in known_builds() if one.engine == "vllm" and one.build == "cpu")
    better = replace(first, version="9.9.9")
    found = choose_build("vllm", machine(), (better, first), EVERYTHING)
    assert isinstance(found, Choice)
    assert found.build.version == "9.9.9"
