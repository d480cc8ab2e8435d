"""Whether a build of an engine for GPUs can work on this machine's: the vendor, the driver, the compute capability."""

from __future__ import annotations

import re

from ansambl.domain.compatibility import Platform
from ansambl.domain.engine import NotUsable
from ansambl.domain.hardware import Gpu, Machine
from ansambl.domain.text import text
from ansambl.engines.drivers import driver_needs

_VENDORS = {"cuda": ("nvidia", "NVIDIA"), "rocm": ("amd", "AMD")}


def refuse_build(
    machine: Machine | None, *, title: str, engine: str, build: str, toolkit: int | None, capability: tuple[int, int]
) -> NotUsable | None:
    """Why a build does not run on the machine; None where it does, or where nobody looked.

    One GPU that will do is enough.

    Args:
        machine: the hardware.
        title: the engine's name for people.
        engine: its registered name.
        build: ``"cuda"``, ``"rocm"``, or anything else, which is never refused.
        toolkit: the major version of CUDA that it was built with, None when unknown.
        capability: the smallest compute capability that it runs on.
    """
    if machine is None or build not in _VENDORS:
        return None
    vendor, written = _VENDORS[build]
    gpus = [gpu for gpu in machine.gpus if gpu.vendor.casefold() == vendor]
    if not gpus:
        return NotUsable(
            text("{engine} is here in a build for {vendor} GPUs, and none was found", engine=title, vendor=written),
            text("install the driver if there is one; else take the build for the processor: ansambl engines install "
                 "{name} --build cpu", name=engine),
        )  # fmt: skip
    if build != "cuda":
        return None
    able = [gpu for gpu in gpus if (_capability(gpu) or capability) >= capability]
    if not able:
        return NotUsable(
            text("{engine} needs compute capability {least}, and this GPU has {found}", engine=title,
                 least=".".join(map(str, capability)), found=gpus[0].capability or "-"),
            text("run it on llama.cpp, which takes older GPUs, or use a newer one"),
        )  # fmt: skip
    least = _least_driver(toolkit)
    if least is None or any(gpu.driver is None or _numbers(gpu.driver) >= _numbers(least) for gpu in able):
        return None
    return NotUsable(
        text("{engine} is built for CUDA {toolkit}, which needs the driver {least} or newer, and here is {driver}",
             engine=title, toolkit=toolkit, least=least, driver=able[0].driver),
        text("update the GPU's driver"),
    )  # fmt: skip


def _capability(gpu: Gpu) -> tuple[int, int] | None:
    match = re.fullmatch(r"(\d+)\.(\d+)", gpu.capability or "")
    return (int(match[1]), int(match[2])) if match else None


def _least_driver(toolkit: int | None) -> str | None:
    return next(
        (need.least for need in driver_needs()
         if need.platform is Platform.CUDA and need.least is not None and need.toolkit == str(toolkit)), None,
    )  # fmt: skip


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in re.findall(r"\d+", version))
