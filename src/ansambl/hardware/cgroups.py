"""Limits that a control group puts on us: containers and services may use less than the machine has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ansambl.hardware.files import read_text, whole_number

_NO_LIMIT = 2**60
"""Version 1 writes "no limit" as the largest number of pages, just below 2^63; no machine has 2^60 bytes."""


def parse_groups(text: str | None) -> dict[str, str]:
    """Our group by controller from ``/proc/self/cgroup``; version 2 stands under the empty name."""
    groups: dict[str, str] = {}
    for line in (text or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, mark, path = rest.partition(":")
        if not mark or not number.strip().isdigit():
            continue
        for controller in controllers.split(","):
            groups.setdefault(controller.strip(), path.strip() or "/")
    return groups


def parse_memory_limit(text: str | None) -> int | None:
    """Bytes from ``memory.max`` or ``memory.limit_in_bytes``; None when there is no limit."""
    number = whole_number(text)
    return number if number is not None and 0 < number < _NO_LIMIT else None


def parse_cpu_max(text: str | None) -> float | None:
    """CPUs from version 2's ``cpu.max`` (``"150000 100000"`` is 1.5); None when there is no limit."""
    words = (text or "").split()
    return _cpus(words[0], words[1] if len(words) > 1 else "100000") if words else None


def memory_limit(sysfs: Path, procfs: Path) -> int | None:
    """The smallest memory limit of our group and the groups around it, in bytes; None when there is none."""
    groups = parse_groups(read_text(procfs / "self" / "cgroup"))
    limits = [parse_memory_limit(read_text(folder / "memory.max")) for folder in _folders_v2(sysfs, groups)]
    limits += [
        parse_memory_limit(read_text(folder / "memory.limit_in_bytes"))
        for folder in _folders_v1(sysfs, groups, "memory")
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def cpu_limit(sysfs: Path, procfs: Path) -> float | None:
    """The smallest CPU quota of our group and the groups around it, in CPUs; None when there is none."""
    groups = parse_groups(read_text(procfs / "self" / "cgroup"))
    limits = [parse_cpu_max(read_text(folder / "cpu.max")) for folder in _folders_v2(sysfs, groups)]
    limits += [
        _cpus(read_text(folder / "cpu.cfs_quota_us"), read_text(folder / "cpu.cfs_period_us"))
        for folder in _folders_v1(sysfs, groups, "cpu")
    ]
    return min((limit for limit in limits if limit is not None), default=None)


def oom_kills(sysfs: Path, procfs: Path) -> int | None:
    """How many processes the kernel has ended for lack of memory: in our group, else on the machine; None if unknown.

    Only the difference between two looks says anything. The files are those of the kernel's documentation: version 2's
    ``memory.events``, version 1's ``memory.oom_control``, and ``/proc/vmstat``.
    """
    groups = parse_groups(read_text(procfs / "self" / "cgroup"))
    files = [folder / "memory.events" for folder in _folders_v2(sysfs, groups)]
    files += [folder / "memory.oom_control" for folder in _folders_v1(sysfs, groups, "memory")]
    counts = (_counted(read_text(file)) for file in (*files, procfs / "vmstat"))
    return next((count for count in counts if count is not None), None)


def _counted(text: str | None) -> int | None:
    for line in (text or "").splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill":
            return whole_number(number)
    return None


def _cpus(quota: str | None, period: str | None) -> float | None:
    allowed, window = whole_number(quota), whole_number(period)
    return allowed / window if allowed is not None and window is not None and allowed > 0 and window > 0 else None


def _folders_v2(sysfs: Path, groups: dict[str, str]) -> Iterator[Path]:
    root = sysfs / "fs" / "cgroup"
    for base in (root, root / "unified"):
        yield from _family(base, groups.get("", "/"))


def _folders_v1(sysfs: Path, groups: dict[str, str], controller: str) -> Iterator[Path]:
    root = sysfs / "fs" / "cgroup"
    for name in (controller, "cpu,cpuacct") if controller == "cpu" else (controller,):
        yield from _family(root / name, groups.get(controller, "/"))


def _family(base: Path, group: str) -> Iterator[Path]:
    """The group's folder, those around it, and the root, which in a container is the container's own group."""
    # A process that was moved from outside its namespace is shown with "..": such steps lead nowhere that we can see.
    parts = [part for part in PurePosixPath(group).parts if part not in {"/", ".."} and "\0" not in part]
    for length in range(len(parts), -1, -1):
        yield base.joinpath(*parts[:length])
