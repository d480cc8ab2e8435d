"""Fuzz the reader of machine files."""

from __future__ import annotations

import json
from pathlib import Path

import atheris
from harness import check_refusal, run

with atheris.instrument_imports(include=["ansambl.hardware", "ansambl.domain"]):
    from ansambl.domain.errors import UsageError
    from ansambl.hardware import catalog
    from ansambl.hardware.catalog import parse_toml, planned_to_json
    from ansambl.hardware.device_tables import read_catalog
    from ansambl.hardware.machine_files import read_machine

DATA = Path(catalog.__file__).parent / "data"
ENTRIES = read_catalog("devices.toml", parse_toml((DATA / "devices.toml").read_bytes(), "devices.toml"))
SEED = b"""title = "mine"
assumed = ["gpu"]
[[gpus]]
device = "rtx-4090"
count = 2
memory = "24GiB"
[[gpus]]
title = "Card"
memory = "48 GiB"
bandwidth = ["900 GB/s", "1008 GB/s"]
[gpus.operations]
fp16 = "165.2 TFLOPS sparse"
[ram]
title = "DDR5"
memory = "64GiB"
bandwidth = "83.2 GB/s"
"""
WORDS = (
    "[[gpus]]", "[ram]", "[gpus.", "device", "memory", "bandwidth", "count", "nan", "inf", "-inf", "1e999", "0x",
    "1979-05-27", "[[[[", "{a={a={", "TFLOPS", "PFLOPS sparse", "GB/s", "TiB", "true", "strix-halo", "h100-80g",
)  # fmt: skip


def one_input(data: bytes) -> None:
    """Read `data` as a machine file."""
    try:
        machine = read_machine("fuzz.toml", "fuzz", parse_toml(data, "fuzz.toml"), ENTRIES)
    except UsageError as refusal:
        check_refusal(str(refusal))
        return
    json.dumps(planned_to_json(machine), allow_nan=False)
    for one in (*machine.gpus, machine.ram):
        if not 0 < one.memory < 2**63:
            message = f"a device has {one.memory} bytes"
            raise AssertionError(message)


if __name__ == "__main__":
    seeds = [SEED, *(path.read_bytes() for path in sorted((DATA / "machines").glob("*.toml")))]
    run("machine_toml", one_input, seeds, WORDS)
