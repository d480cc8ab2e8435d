"""GPUs that sysfs shows: AMD's in full, other vendors' by name only.

AMD's kernel driver documents its files under ``device/mem_info_*``; the GPU's target comes from the KFD topology, which
exists when the driver's compute part is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from ansambl.domain.hardware import Gpu
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes
from ansambl.hardware.files import entries, key_values, read_number, read_text, whole_number
from ansambl.hardware.probes.pci import AMD, NVIDIA, pci_displays

_VENDORS = {0x8086: "intel", 0x1A03: "aspeed", 0x102B: "matrox", 0x1AF4: "virtio", 0x15AD: "vmware", 0x1234: "qemu",
            0x1414: "microsoft"}  # fmt: skip

_INTEGRATED_TARGETS = frozenset({
    "gfx902", "gfx909", "gfx90c", "gfx1013", "gfx1033", "gfx1035", "gfx1036", "gfx1037", "gfx1103",
    "gfx1150", "gfx1151", "gfx1152", "gfx1153",
})  # fmt: skip
"""Targets that LLVM's AMDGPU usage page lists as APUs."""


@dataclass(frozen=True, slots=True)
class KfdNode:
    """One GPU of the KFD topology: its PCI address and its target (``"gfx1100"``)."""

    address: str
    target: str | None


def parse_target(version: int | None) -> str | None:
    """KFD's number as LLVM's name: major, minor and stepping are pairs of decimal digits (90010 is gfx90a)."""
    if version is None or not 10000 <= version <= 999999:
        return None
    return f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"


def parse_kfd_node(content: str | None) -> KfdNode | None:
    """Read one node's ``properties``; None for a node without compute units (a CPU)."""
    values = key_values(content, " ")
    simds, location = whole_number(values.get("simd_count")), whole_number(values.get("location_id"))
    if not simds or location is None or not 0 <= location < 2**16:
        return None
    domain = whole_number(values.get("domain")) or 0
    address = f"{domain:04x}:{location >> 8:02x}:{location >> 3 & 0x1F:02x}.{location & 7}"
    return KfdNode(address, parse_target(whole_number(values.get("gfx_target_version"))))


def parse_names(content: str | None) -> dict[tuple[int | None, int | None], str]:
    """Product names by PCI device and revision from libdrm's ``amdgpu.ids`` (``744C, C8, AMD Radeon RX 7900 XTX``)."""
    names: dict[tuple[int | None, int | None], str] = {}
    for line in (content or "").splitlines():
        fields = [field.strip() for field in line.split(",", 2)]
        if len(fields) == 3 and fields[2]:
            device, revision = whole_number(fields[0], 16), whole_number(fields[1], 16)
            if device is not None and revision is not None:
                names[device, revision] = fields[2]
    return names


def read_sysfs_gpus(sysfs: Path, share: Path) -> tuple[list[Gpu], list[Text]]:
    """Read AMD GPUs, and name those of other vendors; NVIDIA's are left to NVML.

    Cards for offices and games carry no name of their own; libdrm's list under `share` (``/usr/share``) knows them.
    """
    targets = {}
    for folder in entries(sysfs / "class" / "kfd" / "kfd" / "topology" / "nodes"):
        node = parse_kfd_node(read_text(folder / "properties"))
        if node:
            targets[node.address] = node.target
    gpus: list[Gpu] = []
    notes: list[Text] = []
    seen: set[str] = set()
    names = parse_names(read_text(share / "libdrm" / "amdgpu.ids"))
    driver = (read_text(sysfs / "module" / "amdgpu" / "version") or "").strip() or None
    for card in entries(sysfs / "class" / "drm"):
        vendor = whole_number(read_text(card / "device" / "vendor"), 16)
        if not re.fullmatch(r"card\d+", card.name) or vendor is None or vendor == NVIDIA:
            continue
        address = key_values(read_text(card / "device" / "uevent"), "=").get("PCI_SLOT_NAME")
        if address and address in seen:
            continue
        seen.add(address or card.name)
        name = "amd" if vendor == AMD else _VENDORS.get(vendor, f"pci:{vendor:04x}")
        index = sum(gpu.vendor == name for gpu in gpus)
        if vendor == AMD:
            gpu, found = _amd(card.name, card / "device", index, address, targets)
            gpu = replace(gpu, name=gpu.name or names.get(_product(card / "device")), driver=driver)
            notes += found
        else:
            gpu = Gpu(index=index, vendor=name, name=None, memory_total=None, identifier=address)
        gpus.append(gpu)
    missing = pci_displays(sysfs, AMD) - sum(gpu.vendor == "amd" for gpu in gpus)
    if missing > 0:
        notes.append(
            text("an AMD GPU is in this machine, but its driver shows nothing: is the amdgpu module loaded (lsmod)?")
        )
    return gpus, notes


def _product(device: Path) -> tuple[int | None, int | None]:
    return whole_number(read_text(device / "device"), 16), whole_number(read_text(device / "revision"), 16)


def _amd(
    card: str, device: Path, index: int, address: str | None, targets: dict[str, str | None]
) -> tuple[Gpu, list[Text]]:
    total, used = (_memory(device / f"mem_info_vram_{one}") for one in ("total", "used"))
    target = targets.get(address) if address else None
    notes: list[Text] = []
    integrated = target in _INTEGRATED_TARGETS
    shared: Bytes | None = None
    if integrated:
        # What an APU can address is what the firmware set aside for it plus the RAM that the driver maps for it.
        shared = _memory(device / "mem_info_gtt_total")
        mapped = _memory(device / "mem_info_gtt_used")
        total = Bytes(total + shared) if total is not None and shared is not None else None
        used = Bytes(used + mapped) if used is not None and mapped is not None else None
    if target is None:
        notes.append(
            text("the target of {card} is unknown: the kernel shows no KFD node for it (/sys/class/kfd)", card=card)
        )
    if total is None:
        notes.append(text("the memory of {card} is unknown: its driver does not tell", card=card))
    gpu = Gpu(
        index=index,
        vendor="amd",
        name=(read_text(device / "product_name") or "").strip() or None,
        memory_total=total,
        memory_used=used,
        capability=target,
        identifier=address,
        integrated=integrated,
        memory_shared=shared,
    )
    return gpu, notes


def _memory(path: Path) -> Bytes | None:
    number = read_number(path)
    return Bytes(number) if number is not None and number >= 0 else None
