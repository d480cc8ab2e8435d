"""What cmake is told to compile llama.cpp for a machine. Pure."""

from __future__ import annotations

from ansambl.domain.hardware import Machine
from ansambl.engines.install.records import Build

_X86 = {"x86_64", "amd64"}
_FLAGS = {
    "GGML_AVX": ("avx",), "GGML_AVX2": ("avx2",), "GGML_BMI2": ("avx2",), "GGML_FMA": ("fma",),
    "GGML_F16C": ("f16c",), "GGML_AVX_VNNI": ("avx_vnni",),
    "GGML_AVX512": ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"),
    "GGML_AVX512_VBMI": ("avx512vbmi",), "GGML_AVX512_VNNI": ("avx512_vnni",), "GGML_AVX512_BF16": ("avx512_bf16",),
}  # fmt: skip
"""ggml's options and the processor's flags that each needs (ggml/CMakeLists.txt and ggml-cpu/CMakeLists.txt, b11434).

AMX is left out: its kernels ended with SIGILL on a processor that has AMX.
"""

_COMMON = (
    "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
    "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_OPENSSL=OFF",
)  # fmt: skip
"""One program without libraries beside it; no tests; no web page, which would be fetched while it is built."""


def cmake_options(build: Build, machine: Machine) -> list[str]:
    """The options: the build's own, the vector extensions that this processor has, and this machine's GPUs."""
    options = list(_COMMON)
    if build.source is not None:
        options += [f"-DLLAMA_BUILD_NUMBER={build.source.number}", *build.source.options]
    return [*options, *_processor(machine), *_gpus(build, machine)]


def _processor(machine: Machine) -> list[str]:
    flags = set(machine.cpu.flags)
    if machine.cpu.architecture.lower() not in _X86 or not flags:
        return []
    switches = {name: set(needed) <= flags for name, needed in _FLAGS.items()}
    return ["-DGGML_NATIVE=OFF", *(f"-D{name}={'ON' if on else 'OFF'}" for name, on in switches.items())]


def _gpus(build: Build, machine: Machine) -> list[str]:
    """Compiled for the GPUs that are here: for all that there are takes hours."""
    vendor, option = {"cuda": ("nvidia", "CMAKE_CUDA_ARCHITECTURES"), "rocm": ("amd", "GPU_TARGETS")}.get(
        build.build, ("", "")
    )
    kinds = sorted({one.capability for one in machine.gpus if one.vendor.lower() == vendor and one.capability})
    return [f"-D{option}={';'.join(one.replace('.', '') for one in kinds)}"] if kinds else []


def server_jobs(usable_cores: int, available_ram: int) -> int:
    """How many compilers run at once: one a core, and no more than the RAM holds (about 1.5 GiB each)."""
    return max(1, min(usable_cores, available_ram // (3 << 29)))
