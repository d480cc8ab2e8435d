"""The disks that hold given folders: where models load from, and whether they fit."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ansambl.domain.hardware import Disk
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.hardware.files import entries, read_number, read_text

_VIRTUAL = re.compile(r"(vd|xvd|loop|zram|ram|nbd|fd|sr)[a-z]*\d*")
"""Devices whose "rotational" flag says nothing about the medium: a hypervisor or a file stands behind them."""
_ESCAPE = re.compile(r"\\([0-7]{3})")
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of ``/proc/self/mountinfo``."""

    point: str
    filesystem: str
    source: str


def parse_mounts(content: str | None) -> list[Mount]:
    """Read ``/proc/self/mountinfo``; lines of another shape are left out."""
    mounts: list[Mount] = []
    for line in (content or "").splitlines():
        before, mark, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if mark and len(left) >= 5 and len(right) >= 2:
            mounts.append(Mount(_plain(left[4]), right[0], _plain(right[1])))
    return mounts


def mount_of(folder: str, mounts: Sequence[Mount]) -> Mount | None:
    """The mount that holds an absolute path: the deepest one, and of equal ones the last, which covers the others."""
    best: Mount | None = None
    for mount in mounts:
        inside = folder == mount.point or folder.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best


def kind_of(source: str, sysfs: Path) -> str | None:
    """``"ssd"`` or ``"hdd"`` for a device such as ``/dev/nvme0n1p2`` or ``/dev/mapper/vg-root``; None when not told."""
    if not source.startswith("/dev/"):
        return None
    name = source.removeprefix("/dev/")
    if name.startswith("mapper/"):
        wanted = name.removeprefix("mapper/")
        name = next((one.name for one in entries(sysfs / "block") if _mapped_name(one) == wanted), "")
    return _kind(name, sysfs, _DEPTH)


def _mapped_name(block: Path) -> str | None:
    return (read_text(block / "dm" / "name") or "").strip() or None


def _kind(name: str, sysfs: Path, depth: int) -> str | None:
    if not name or "/" in name or "\0" in name or name.startswith(".") or depth <= 0 or _VIRTUAL.fullmatch(name):
        return None
    block = sysfs / "block" / name
    rotational = read_number(block / "queue" / "rotational")
    if rotational is None:
        disk = next((one for one in entries(sysfs / "block") if read_text(one / name / "partition")), None)
        return _kind(disk.name, sysfs, depth - 1) if disk else None
    parts = [_kind(one.name, sysfs, depth - 1) for one in entries(block / "slaves")]
    if parts:
        # A volume over several disks is as slow as its slowest.
        return "hdd" if "hdd" in parts else None if None in parts else "ssd"
    return {0: "ssd", 1: "hdd"}.get(rotational)


def _plain(field: str) -> str:
    """Undo the kernel's escapes: a space is written as backslash 040."""
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), field)


def read_disks(folders: Sequence[Path], sysfs: Path, procfs: Path) -> tuple[list[Disk], list[Text]]:
    """Read the disk of each folder; a folder that does not exist yet is asked about where it would be made."""
    mounts = parse_mounts(read_text(procfs / "self" / "mountinfo")) or _mounts_of_psutil()
    disks: list[Disk] = []
    notes: list[Text] = []
    for folder in folders:
        try:
            place = folder.expanduser().resolve()
            while not place.exists() and place != place.parent:
                place = place.parent
            usage = shutil.disk_usage(place)
        except (OSError, ValueError, RuntimeError) as error:
            notes.append(text("the disk of {folder} could not be read: {error}", folder=folder, error=str(error)))
            continue
        mount = mount_of(str(place), mounts)
        disks.append(
            Disk(
                path=str(folder),
                device=mount.source if mount else None,
                total=Bytes(usage.total),
                free=Bytes(usage.free),
                kind=kind_of(mount.source, sysfs) if mount else None,
                filesystem=mount.filesystem if mount else None,
            )
        )
    return disks, notes


def _mounts_of_psutil() -> list[Mount]:
    try:
        return [Mount(one.mountpoint, one.fstype, one.device) for one in psutil.disk_partitions(all=True)]
    except (psutil.Error, OSError):
        return []
