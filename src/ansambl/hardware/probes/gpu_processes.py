"""What processes hold on GPUs, as the drivers tell: NVIDIA's library, and the files of Linux's DRM for the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ansambl.domain.units import Bytes
from ansambl.hardware.files import entries, read_text, whole_number

_CLIENT = re.compile(r"^drm-client-id:\s*(\d+)", re.MULTILINE)
_VRAM = re.compile(r"^drm-(?:memory|resident)-vram\d*:\s*(\d+)\s*(KiB|MiB)?", re.MULTILINE)
_UNITS = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20}


def held_on_gpus(pids: Collection[int], *, procfs: Path = Path("/proc"), library: Any = None) -> Bytes | None:
    """Bytes that these processes hold on all GPUs together; None where no driver speaks of any of them.

    In a container the driver may number processes otherwise, and on WSL2 it tells no sizes: both are None. `library`
    stands for the module ``pynvml`` in tests.
    """
    found = [*_on_nvidia(frozenset(pids), library), *_on_drm(pids, procfs)]
    return Bytes(sum(found)) if found else None


def _on_nvidia(pids: frozenset[int], library: Any) -> Iterator[int]:
    if library is None:
        try:
            import pynvml as library  # type: ignore[no-redef]  # imported late: the tests bring their own
        except ImportError:
            return
    try:
        library.nvmlInit()
    except (library.NVMLError, OSError, AttributeError):
        return
    try:
        for index in range(int(library.nvmlDeviceGetCount())):
            handle = library.nvmlDeviceGetHandleByIndex(index)
            for one in library.nvmlDeviceGetComputeRunningProcesses(handle):
                if one.pid in pids and one.usedGpuMemory is not None:
                    yield int(one.usedGpuMemory)
    except (library.NVMLError, AttributeError):
        return
    finally:
        library.nvmlShutdown()


def _on_drm(pids: Collection[int], procfs: Path) -> Iterator[int]:
    """By ``/proc/PID/fdinfo`` (kernel documentation, DRM client usage stats); a client may be open more than once."""
    seen: set[str] = set()
    for pid in pids:
        for file in entries(procfs / str(pid) / "fdinfo"):
            content = read_text(file) or ""
            client, vram = _CLIENT.search(content), _VRAM.search(content)
            if client is None or vram is None or client[1] in seen:
                continue
            seen.add(client[1])
            yield (whole_number(vram[1]) or 0) * _UNITS[vram[2]]
