"""The RAM, and the limit that a control group puts on it."""

from __future__ import annotations

from pathlib import Path

import psutil

from ansambl.domain.hardware import Memory
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.hardware.cgroups import memory_limit
from ansambl.hardware.files import key_values, read_text, whole_number


def parse_meminfo(content: str | None) -> tuple[int, int] | None:
    """Total and available bytes from ``/proc/meminfo`` (whose "kB" are KiB); None when either is missing."""
    values = key_values(content, ":")
    total, available = (
        whole_number((values.get(name) or "").removesuffix("kB")) for name in ("MemTotal", "MemAvailable")
    )
    if total is None or available is None or total <= 0 or available < 0:
        return None
    return total * 1024, min(total, available) * 1024


def read_memory(sysfs: Path, procfs: Path) -> tuple[Memory, list[Text]]:
    """Read the RAM of this machine; psutil answers where there is no ``/proc/meminfo``."""
    found = parse_meminfo(read_text(procfs / "meminfo"))
    notes: list[Text] = []
    if found is None:
        try:
            memory = psutil.virtual_memory()
            found = memory.total, memory.available
        except (psutil.Error, OSError, RuntimeError, ValueError) as error:
            notes.append(text("the size of the RAM could not be read: {error}", error=str(error)))
            found = 0, 0
    total, available = found
    limit = memory_limit(sysfs, procfs)
    if limit is not None and limit >= total:
        limit = None
    if limit is not None:
        available = min(available, limit)
    return Memory(total=Bytes(total), available=Bytes(available), limit=None if limit is None else Bytes(limit)), notes
