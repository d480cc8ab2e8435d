"""``ansambl machines``: what this machine is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ansambl.cli.options import Config, Json
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.domain.hardware import Machine


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("What machines are made of."))
    group.command("detect", help=speak("Look at this machine now."))(detect)
    group.command("show", help=speak("Show this machine."))(detect)
    app.add_typer(group, name="machines")


def detect(config: Config = None, as_json: Json = False) -> None:
    """Look at this machine."""
    from ansambl.app.configuration_file import load_data_paths
    from ansambl.cli.output import print_json
    from ansambl.hardware import inventory

    machine = inventory.detect(folders=[load_data_paths(config).models])
    if as_json:
        print_json(inventory.machine_to_json(machine, speak))
        return
    _print(machine)


def _print(machine: Machine) -> None:
    from ansambl.cli.output import note, print_pairs, print_table
    from ansambl.domain.units import format_bytes

    unknown = speak("unknown")
    cpu, memory = machine.cpu, machine.memory
    cores = speak("{physical} cores, {logical} threads, {usable} usable").format(
        physical=cpu.physical_cores or "?", logical=cpu.logical_cores, usable=cpu.usable_cores
    )
    pairs = [
        (speak("Machine"), f"{machine.name} · {machine.system}"),
        (speak("Processor"), f"{cpu.model or unknown} ({cores})"),
        (speak("Instructions"), " ".join((cpu.isa_level or unknown, *cpu.flags))),
        (
            speak("RAM"),
            speak("{total}, {available} available").format(
                total=format_bytes(memory.total), available=format_bytes(memory.available)
            ),
        ),
    ]
    if memory.limit is not None:
        pairs.append((speak("RAM limit"), format_bytes(memory.limit)))
    print_pairs(pairs)
    rows = [
        (
            str(gpu.index), gpu.name or unknown, format_bytes(gpu.memory_total) if gpu.memory_total else unknown,
            format_bytes(gpu.memory_used) if gpu.memory_used is not None else unknown,
            gpu.capability or unknown, gpu.driver or unknown,
        )
        for gpu in machine.gpus
    ]  # fmt: skip
    headers = ("#", speak("Name"), speak("Memory"), speak("In use"), speak("Capability"), speak("Driver"))
    print_table(speak("GPUs"), headers, rows)
    disks = [
        (disk.path, disk.kind or unknown, disk.filesystem or unknown, format_bytes(disk.total), format_bytes(disk.free))
        for disk in machine.disks
    ]
    print_table(
        speak("Disks"), (speak("Folder"), speak("Kind"), speak("File system"), speak("Size"), speak("Free")), disks
    )
    if not machine.gpus:
        note(speak("No GPU was found."))
    for one in machine.notes:
        note(one.render(speak))
