"""What processes hold on GPUs, as the drivers tell: NVIDIA's library, and the files of Linux's DRM for the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ansambl.domain.units import Bytes
from ansambl.hardware.files import entries, read_text, whole_number

_CLIENT = re.compile(r"^drm-client-id:\s*(\d+)", re.MULTILINE)
_CARD = re.compile(r"^drm-pdev:\s*(\S+)", re.MULTILINE)
_VRAM = re.compile(r"^drm-(?:memory|resident)-vram\d*:\s*(\d+)\s*(KiB|MiB)?", re.MULTILINE)
_UNITS = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20}


def held_on_gpus(pids: Collection[int], *, procfs: Path = Path("/proc"), library: Any = None) -> Bytes | None:
    """Bytes that these processes hold on all GPUs together; None where no driver speaks of any of them.

    In a container the driver may number processes otherwise, and on WSL2 it tells no sizes: both are None. `library`
    stands for the module ``pynvml`` in tests.
    """
    found = [size for _, size in _held(pids, procfs, library)]
    return Bytes(sum(found)) if found else None


def held_by_gpu(
    pids: Collection[int], *, procfs: Path = Path("/proc"), library: Any = None
) -> dict[str, Bytes]:  # fmt: skip
    """The same for each GPU apart, by its identifier as the inventory tells it (NVIDIA's UUID, else the PCI address).

    A GPU of which no driver says that one of them holds anything is left out.
    """
    found: dict[str, Bytes] = {}
    for identifier, size in _held(pids, procfs, library):
        found[identifier] = Bytes(found.get(identifier, 0) + size)
    return found


def _held(pids: Collection[int], procfs: Path, library: Any) -> Iterator[tuple[str, int]]:
    if pids:
        yield from _on_nvidia(frozenset(pids), library)
        yield from _on_drm(pids, procfs)


def _on_nvidia(pids: frozenset[int], library: Any) -> Iterator[tuple[str, int]]:
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
            identifier = _identifier(library, handle)
            for one in library.nvmlDeviceGetComputeRunningProcesses(handle):
                if one.pid in pids and one.usedGpuMemory is not None:
                    yield identifier, int(one.usedGpuMemory)
    except (library.NVMLError, AttributeError):
        return
    finally:
        library.nvmlShutdown()


def _identifier(library: Any, handle: Any) -> str:
    try:
        found = library.nvmlDeviceGetUUID(handle)
    except (library.NVMLError, AttributeError):
        return ""
    return found.decode("utf-8", "replace") if isinstance(found, bytes) else str(found)


def _on_drm(pids: Collection[int], procfs: Path) -> Iterator[tuple[str, int]]:
    """By ``/proc/PID/fdinfo`` (kernel documentation, DRM client usage stats); a client may be open more than once."""
    seen: set[str] = set()
    for pid in pids:
        for file in entries(procfs / str(pid) / "fdinfo"):
            content = read_text(file) or ""
            client, vram = _CLIENT.search(content), _VRAM.search(content)
            if client is None or vram is None or client[1] in seen:
                continue
            seen.add(client[1])
            card = _CARD.search(content)
            yield card[1] if card else "", (whole_number(vram[1]) or 0) * _UNITS[vram[2]]
