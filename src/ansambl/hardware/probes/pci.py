"""What is plugged into the machine, whether or not a driver knows it."""

from __future__ import annotations

from pathlib import Path

from ansambl.hardware.files import entries, read_text, whole_number

AMD, NVIDIA = 0x1002, 0x10DE
"""PCI vendor ids."""
_DISPLAY_CLASS = 0x03


def pci_displays(sysfs: Path, vendor: int) -> int:
    """How many display or compute controllers of a PCI vendor are in the machine, driver or not."""
    count = 0
    for device in entries(sysfs / "bus" / "pci" / "devices"):
        if whole_number(read_text(device / "vendor"), 16) == vendor:
            kind = whole_number(read_text(device / "class"), 16)
            count += kind is not None and kind >> 16 == _DISPLAY_CLASS
    return count
