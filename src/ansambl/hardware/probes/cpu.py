"""The processor: model, cores that we may use, ISA level, vector extensions.

Linux tells in ``/proc/cpuinfo`` and sysfs; macOS through ``sysctl`` (not verified on a Mac).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil

from ansambl.domain.hardware import Cpu
from ansambl.domain.text import Text, text
from ansambl.hardware.cgroups import cpu_limit
from ansambl.hardware.files import entries, key_values, parse_ranges, read_number, read_text, whole_number

_X86_LEVELS = (
    ("x86-64", {"cmov", "cx8", "fpu", "fxsr", "mmx", "syscall", "sse", "sse2"}),
    ("x86-64-v2", {"cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"}),
    ("x86-64-v3", {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}),
    ("x86-64-v4", {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
)
"""The micro-architecture levels of the x86-64 psABI in the kernel's names (SSE3 is pni, LZCNT is abm)."""

_ARM_LEVELS = (
    ("armv8-a", {"fp", "asimd"}),
    ("armv8.1-a", {"atomics", "asimdrdm", "crc32"}),
    ("armv8.2-a", {"dcpop"}),
    ("armv8.3-a", {"jscvt", "fcma", "lrcpc"}),
    ("armv8.4-a", {"asimddp", "dit", "flagm", "ilrcpc", "uscat"}),
    ("armv8.5-a", {"sb", "flagm2", "frint"}),
    ("armv9-a", {"sve2"}),
)
"""Extensions that each version of the Arm architecture makes mandatory and that Linux shows among the features."""

_ARM_PARTS = {
    (0x41, 0xD03): "Cortex-A53", (0x41, 0xD05): "Cortex-A55", (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72", (0x41, 0xD0B): "Cortex-A76", (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD40): "Neoverse-V1", (0x41, 0xD41): "Cortex-A78", (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD44): "Cortex-X1", (0x41, 0xD49): "Neoverse-N2", (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD85): "Cortex-X925", (0x41, 0xD87): "Cortex-A725",
}  # fmt: skip
"""Implementer and part numbers of the Arm cores that run models, from Arm's technical reference manuals."""

_ENGINE_FLAGS = {"avx", "avx2", "avx_vnni", "f16c", "fma"}
_ENGINE_PREFIXES = ("avx512", "amx_", "avx10")
_ARM_FLAGS = {"asimd": "neon", "neon": "neon", "sve": "sve", "sve2": "sve2", "asimddp": "dotprod", "i8mm": "i8mm",
              "svei8mm": "svei8mm", "bf16": "bf16", "asimdhp": "fp16", "sme": "sme"}  # fmt: skip
"""Linux names of Arm features, and the names that engines use for them."""

_MAC_FLAGS = {"hw.optional.neon": "neon", "hw.optional.arm.FEAT_DotProd": "dotprod",
              "hw.optional.arm.FEAT_I8MM": "i8mm", "hw.optional.arm.FEAT_BF16": "bf16",
              "hw.optional.arm.FEAT_SME": "sme", "hw.optional.avx2_0": "avx2",
              "hw.optional.avx512f": "avx512f"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """What ``/proc/cpuinfo`` says. `features` are all flags in the kernel's names."""

    model: str | None
    logical_cores: int
    physical_cores: int | None
    features: frozenset[str]


def parse_cpuinfo(content: str) -> CpuInfo:
    """Read ``/proc/cpuinfo`` of x86 or ARM; what is not said there is None or empty."""
    blocks = [key_values(block, ":") for block in content.split("\n\n")]
    cpus = [block for block in blocks if whole_number(block.get("processor")) is not None]
    places = {(cpu.get("physical id"), cpu["core id"]) for cpu in cpus if "core id" in cpu}
    shown = [(cpu.get("flags") or cpu.get("Features") or "").split() for cpu in cpus]
    # The cores of one machine may differ; an engine may be moved to any, so what counts is what all of them have.
    features = frozenset.intersection(*map(frozenset, shown)) if shown else frozenset[str]()
    return CpuInfo(
        model=_model(cpus),
        logical_cores=len(cpus),
        physical_cores=len(places) if places and all("core id" in cpu for cpu in cpus) else None,
        features=features,
    )


def _model(cpus: list[dict[str, str]]) -> str | None:
    names: list[str] = []
    for cpu in cpus:
        name = cpu.get("model name")
        implementer, part = whole_number(cpu.get("CPU implementer"), 16), whole_number(cpu.get("CPU part"), 16)
        if implementer is not None and part is not None:
            name = _ARM_PARTS.get((implementer, part), name)
        if name and name not in names:
            names.append(name)
    return " + ".join(names) or None


def isa_level(features: frozenset[str]) -> str | None:
    """The highest level whose features, and those of all levels below, are there; None when not even the first is."""
    for levels in (_X86_LEVELS, _ARM_LEVELS):
        reached = None
        for name, needed in levels:
            if not needed <= features:
                break
            reached = name
        if reached:
            return reached
    return None


def engine_flags(features: frozenset[str]) -> tuple[str, ...]:
    """The vector extensions that engines choose kernels by, sorted."""
    x86 = {one for one in features if one in _ENGINE_FLAGS or one.startswith(_ENGINE_PREFIXES)}
    # "fp" tells an ARM from an x86, which has flags of equal names for other things (sme is memory encryption there).
    arm = (
        {_ARM_FLAGS[one] for one in features if one in _ARM_FLAGS} if "fp" in features or "neon" in features else set()
    )
    return tuple(sorted(x86 | arm))


def usable_cores(logical: int, allowed: frozenset[int] | None, quota: float | None) -> int:
    """How many threads may run at once: CPUs of our affinity, cut by the control group's quota (rounded down)."""
    count = min(logical, len(allowed)) if allowed else logical
    return max(1, min(count, int(quota)) if quota is not None else count)


def read_cpu(sysfs: Path, procfs: Path) -> tuple[Cpu, list[Text]]:
    """Read the processor of this machine, with notes on what could not be read."""
    if sys.platform == "darwin":
        return _read_mac()
    content = read_text(procfs / "cpuinfo")
    info = parse_cpuinfo(content or "")
    notes = [] if info.logical_cores else [text("the processor is not described: /proc/cpuinfo cannot be read")]
    logical = info.logical_cores or os.cpu_count() or 1
    allowed = parse_ranges(key_values(read_text(procfs / "self" / "status"), ":").get("Cpus_allowed_list"))
    cpu = Cpu(
        model=info.model,
        architecture=platform.machine(),
        physical_cores=info.physical_cores or _cores_of_sysfs(sysfs),
        logical_cores=logical,
        usable_cores=usable_cores(logical, allowed, cpu_limit(sysfs, procfs)),
        isa_level=isa_level(info.features),
        flags=engine_flags(info.features),
    )
    return cpu, notes


def _cores_of_sysfs(sysfs: Path) -> int | None:
    places: set[tuple[int | None, int]] = set()
    for folder in entries(sysfs / "devices" / "system" / "cpu"):
        core = read_number(folder / "topology" / "core_id")
        if core is not None:
            places.add((read_number(folder / "topology" / "physical_package_id"), core))
    return len(places) or None


def _read_mac() -> tuple[Cpu, list[Text]]:
    names = ["machdep.cpu.brand_string", *_MAC_FLAGS]
    known = {name: _sysctl(name) for name in names}
    logical = psutil.cpu_count() or 1
    notes = (
        [] if known["machdep.cpu.brand_string"] else [text("the processor's model is unknown: sysctl did not answer")]
    )
    cpu = Cpu(
        model=known["machdep.cpu.brand_string"],
        architecture=platform.machine(),
        physical_cores=psutil.cpu_count(logical=False),
        logical_cores=logical,
        usable_cores=logical,
        isa_level=None,
        flags=tuple(sorted(flag for name, flag in _MAC_FLAGS.items() if known[name] == "1")),
    )
    return cpu, notes


def _sysctl(name: str) -> str | None:
    try:
        done = subprocess.run(
            ["/usr/sbin/sysctl", "-n", name], capture_output=True, timeout=5, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace").strip() or None if done.returncode == 0 else None
