"""The inventory of this machine: every probe asked once, what could not be read said in words."""

from __future__ import annotations

import dataclasses
import platform
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ansambl.domain.hardware import Cpu, Disk, Gpu, Machine, Memory
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.hardware.files import read_text
from ansambl.hardware.probes.amd import read_sysfs_gpus
from ansambl.hardware.probes.cpu import read_cpu
from ansambl.hardware.probes.disk import read_disks
from ansambl.hardware.probes.memory import read_memory
from ansambl.hardware.probes.nvidia import read_nvidia_gpus

T = TypeVar("T")

SYSFS, PROCFS, SHARE = Path("/sys"), Path("/proc"), Path("/usr/share")


def detect(
    *,
    name: str | None = None,
    folders: Sequence[Path] = (),
    sysfs: Path = SYSFS,
    procfs: Path = PROCFS,
    share: Path = SHARE,
    nvml: Any = None,
) -> Machine:
    """Look at this machine. Never raises: what cannot be read is None, and `Machine.notes` say why.

    `name` is the host's name when left out. `folders` are those whose disks matter (models, data). `sysfs`, `procfs`
    and `share` may point at a recording of another Linux machine; `nvml` stands for NVIDIA's library in tests.
    """
    notes: list[Text] = []
    unknown = Cpu(None, platform.machine(), None, 1, 1, None)
    cpu = _safely(text("processor"), lambda: read_cpu(sysfs, procfs), unknown, notes)
    memory = _safely(text("memory"), lambda: read_memory(sysfs, procfs), Memory(Bytes(0), Bytes(0)), notes)
    nvidia = _safely(text("NVIDIA GPUs"), lambda: read_nvidia_gpus(sysfs, nvml), list[Gpu](), notes)
    others = _safely(text("GPUs of other vendors"), lambda: read_sysfs_gpus(sysfs, share), list[Gpu](), notes)
    disks = _safely(text("disks"), lambda: read_disks(folders, sysfs, procfs), list[Disk](), notes)
    return Machine(
        name=name or platform.node() or "this machine",
        system=system_name(read_text(procfs / "sys" / "kernel" / "osrelease")),
        cpu=cpu,
        memory=memory,
        gpus=(*nvidia, *others),
        disks=tuple(disks),
        notes=tuple(notes),
    )


def system_name(kernel: str | None) -> str:
    """The operating system in a few words; a kernel of Microsoft's is Windows' Linux subsystem."""
    if kernel is None or not kernel.strip():
        system = "macOS" if platform.system() == "Darwin" else platform.system()
        return f"{system} {platform.mac_ver()[0] or platform.release()}".strip()
    release = kernel.split()[0]
    return f"Linux {release} (WSL2)" if re.search("microsoft", release, re.IGNORECASE) else f"Linux {release}"


def machine_to_json(machine: Machine, translate: Callable[[str], str] | None = None) -> dict[str, Any]:
    """The machine as ``machines show --json`` prints it: the records' field names, sizes in bytes, null for unknown."""
    shape = dataclasses.asdict(dataclasses.replace(machine, notes=()))
    shape["memory"]["usable"] = machine.memory.usable
    shape["notes"] = [note.render(translate) for note in machine.notes]
    return shape


def _safely(subject: Text, probe: Callable[[], tuple[T, list[Text]]], otherwise: T, notes: list[Text]) -> T:
    try:
        value, found = probe()
    except Exception as error:  # noqa: BLE001 - a probe that fails must never break the others
        notes.append(text("the {subject} could not be read: {error}", subject=subject, error=f"{error!r}"))
        return otherwise
    notes += found
    return value
