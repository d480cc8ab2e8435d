"""NVIDIA's GPUs, as its management library (NVML) tells."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ansambl.domain.hardware import Gpu
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.hardware.probes.pci import NVIDIA, pci_displays

_INTEGRATED = re.compile(r"\b(GB10|Thor|Orin|Xavier|Tegra)\b", re.IGNORECASE)
"""Products whose GPU works in the machine's RAM: DGX Spark and the Jetsons."""


def read_nvidia_gpus(sysfs: Path, library: Any = None) -> tuple[list[Gpu], list[Text]]:
    """Read the GPUs by NVML; `library` stands for the module ``pynvml`` in tests.

    Without a driver there is nothing to say, unless an NVIDIA GPU is really in the machine.
    """
    if library is None:
        try:
            import pynvml as library  # type: ignore[no-redef]  # imported late: the tests bring their own
        except ImportError as error:
            return [], _missing(sysfs, error)
    try:
        library.nvmlInit()
    except (library.NVMLError, OSError, AttributeError) as error:
        return [], _missing(sysfs, error)
    gpus: list[Gpu] = []
    notes: list[Text] = []
    try:
        driver = _word(_ask(library, "nvmlSystemGetDriverVersion"))
        for index in range(int(_ask(library, "nvmlDeviceGetCount") or 0)):
            gpu, found = _read_one(library, index, driver)
            gpus += [gpu] if gpu else []
            notes += found
    finally:
        _ask(library, "nvmlShutdown")
    return gpus, notes


def _missing(sysfs: Path, error: Exception) -> list[Text]:
    if not pci_displays(sysfs, NVIDIA):
        return []
    return [
        text(
            "an NVIDIA GPU is in this machine, but its driver does not answer ({error}): install NVIDIA's driver, "
            "then try nvidia-smi",
            error=str(error),
        )
    ]


def _read_one(library: Any, index: int, driver: str | None) -> tuple[Gpu | None, list[Text]]:
    try:
        handle = library.nvmlDeviceGetHandleByIndex(index)
    except library.NVMLError as error:
        return None, [text("NVIDIA GPU {index} does not answer: {error}", index=index, error=str(error))]
    name = _word(_ask(library, "nvmlDeviceGetName", handle))
    integrated = bool(name and _INTEGRATED.search(name))
    notes: list[Text] = []
    total = used = None
    try:
        memory = library.nvmlDeviceGetMemoryInfo(handle)
        # Some drivers answer zero instead of "not supported" for a GPU without memory of its own.
        if int(memory.total) > 0:
            total, used = Bytes(int(memory.total)), Bytes(int(memory.used))
    except (library.NVMLError, ValueError, TypeError, AttributeError) as error:
        if not integrated:
            notes.append(text("the memory of NVIDIA GPU {index} is unknown: {error}", index=index, error=str(error)))
    if integrated and total is None:
        notes.append(text("{name} works in the machine's RAM; NVML tells no memory of its own", name=name))
    capability = _ask(library, "nvmlDeviceGetCudaComputeCapability", handle)
    level = ".".join(map(str, capability)) if isinstance(capability, (tuple, list)) and len(capability) == 2 else None
    gpu = Gpu(
        index=index,
        vendor="nvidia",
        name=name,
        memory_total=total,
        memory_used=used,
        capability=level,
        driver=driver,
        identifier=_word(_ask(library, "nvmlDeviceGetUUID", handle)),
        integrated=integrated,
        memory_shared=total if integrated else None,
    )
    return gpu, notes


def _ask(library: Any, function: str, *arguments: Any) -> Any:
    try:
        return getattr(library, function)(*arguments)
    except (library.NVMLError, AttributeError):
        return None


def _word(value: Any) -> str | None:
    """NVML's bindings return bytes or text, by their version."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip() or None if isinstance(value, str) else None
