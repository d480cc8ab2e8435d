"""What is in use on whole GPUs, by whomever: where a driver cannot tell it of single processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansambl.domain.hardware import Gpu
from ansambl.domain.units import Bytes
from ansambl.hardware.probes.amd import read_sysfs_gpus
from ansambl.hardware.probes.nvidia import read_nvidia_gpus

_SYSFS, _SHARE = Path("/sys"), Path("/usr/share")


def used_on_gpus(
    vendor: str, indexes: tuple[int, ...], *, sysfs: Path = _SYSFS, share: Path = _SHARE, library: Any = None
) -> Bytes | None:
    """Bytes in use on these GPUs together; None where one of them is not there or its driver does not tell.

    `indexes` are those by which `vendor` counts its GPUs. `library` stands for the module ``pynvml`` in tests.
    """
    gpus: list[Gpu] = read_nvidia_gpus(sysfs, library)[0] if vendor == "nvidia" else read_sysfs_gpus(sysfs, share)[0]
    used = {one.index: one.memory_used for one in gpus if one.vendor == vendor}
    found = [used.get(one) for one in indexes]
    known = [one for one in found if one is not None]
    return Bytes(sum(known)) if known and len(known) == len(indexes) else None
