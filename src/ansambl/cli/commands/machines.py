"""``ansambl machines``: what this machine is made of, and the machines that one can plan for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ansambl.cli.options import Config, Json
from ansambl.domain.figures import number_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.domain.device import DeviceModel, PlannedMachine
    from ansambl.domain.hardware import Machine

_MachineArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME|FILE]",
        show_default=False,
        help=speak("A machine of the list or a TOML file; else this machine."),
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help=speak("What machines are made of."))
    group.command("detect", help=speak("Look at this machine now."))(detect)
    group.command("list", help=speak("List the machines that one can plan for by name."))(list_machines)
    group.command("show", help=speak("Show this machine, or one that you plan for."))(show)
    app.add_typer(group, name="machines")


def detect(config: Config = None, as_json: Json = False) -> None:
    """Look at this machine."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.output import print_json
    from ansambl.hardware import inventory

    machine = inventory.detect(folders=[load_data_paths(config).models])
    if as_json:
        print_json(inventory.machine_to_json(machine, speak))
        return
    _print(machine)


def list_machines(as_json: Json = False) -> None:
    """List the shipped machines."""
    from ansambl.cli.output import print_json, print_pairs
    from ansambl.hardware import catalog

    machines = [catalog.load_machine(name) for name in catalog.machine_names()]
    if as_json:
        print_json({"machines": [{"name": one.name, "title": one.title} for one in machines]})
        return
    print_pairs((one.name, one.title) for one in machines)


def show(machine: _MachineArgument = None, config: Config = None, as_json: Json = False) -> None:
    """Show this machine, or a planned one."""
    from ansambl.cli.output import print_json
    from ansambl.hardware import catalog

    if machine is None:
        detect(config, as_json)
        return
    planned = catalog.load_machine(machine)
    if as_json:
        print_json(catalog.planned_to_json(planned, speak))
        return
    _print_planned(planned)


def _print_planned(machine: PlannedMachine) -> None:
    from ansambl.cli.output import note, print_pairs, print_table
    from ansambl.domain.units import size_words

    unknown = speak("unknown")
    ram = machine.ram
    print_pairs(
        [
            (speak("Machine"), f"{machine.name} · {machine.title}"),
            (speak("RAM"), f"{size_words(ram.memory, speak)} · {_bandwidth(ram.model)}"),
            (speak("Processor"), ram.model.title if ram.model.name != "ram" else unknown),
        ]
    )
    rows = [
        (str(gpu.index), gpu.model.title, size_words(gpu.memory, speak), _bandwidth(gpu.model), _operations(gpu.model),
         gpu.model.capability or unknown, _watts(gpu.model))
        for gpu in machine.gpus
    ]  # fmt: skip
    headers = (
        "#", speak("Name"), speak("Memory"), speak("Bandwidth"), speak("Operations"), speak("Capability"),
        speak("Power"),
    )  # fmt: skip
    print_table(speak("GPUs"), headers, rows)
    devices = machine.gpus if ram.model.unified_memory else (*machine.gpus, ram)
    sources = dict.fromkeys((device.model.title, source) for device in devices for source in device.model.sources)
    print_table(speak("Sources"), (speak("Device"), speak("Source")), list(sources))
    if not machine.gpus:
        note(speak("No GPU is in this machine."))
    for one in machine.notes:
        note(one.render(speak))


def _watts(model: DeviceModel) -> str:
    return speak("{amount} W").format(amount=model.watts) if model.watts else speak("unknown")


def _bandwidth(model: DeviceModel) -> str:
    if model.bandwidth is None:
        return speak("unknown")
    ends = [one for one in (model.bandwidth_low, model.bandwidth) if one is not None]
    return speak("{amount} GB/s").format(amount="–".join(number_words(one / 1e9, ".4g", speak) for one in ends))


def _operations(model: DeviceModel) -> str:
    shown = []
    for name, (low, high) in model.operations.items():
        amount = "–".join(number_words(one / 1e12, ".4g", speak) for one in dict.fromkeys((low, high)))
        shown.append(f"{name} {amount}")
    return f"{', '.join(shown)} TFLOPS" if shown else speak("unknown")


def _print(machine: Machine) -> None:
    from ansambl.cli.output import note, print_pairs, print_table
    from ansambl.domain.units import size_words

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
                total=size_words(memory.total, speak), available=size_words(memory.available, speak)
            ),
        ),
    ]
    if memory.limit is not None:
        pairs.append((speak("RAM limit"), size_words(memory.limit, speak)))
    print_pairs(pairs)
    rows = [
        (
            str(gpu.index), gpu.name or unknown, size_words(gpu.memory_total, speak) if gpu.memory_total else unknown,
            size_words(gpu.memory_used, speak) if gpu.memory_used is not None else unknown,
            gpu.capability or unknown, gpu.driver or unknown,
        )
        for gpu in machine.gpus
    ]  # fmt: skip
    headers = ("#", speak("Name"), speak("Memory"), speak("In use"), speak("Capability"), speak("Driver"))
    print_table(speak("GPUs"), headers, rows)
    disks = [
        (disk.path, disk.kind or unknown, disk.filesystem or unknown, size_words(disk.total, speak),
         size_words(disk.free, speak))
        for disk in machine.disks
    ]  # fmt: skip
    print_table(
        speak("Disks"), (speak("Folder"), speak("Kind"), speak("File system"), speak("Size"), speak("Free")), disks
    )
    if not machine.gpus:
        note(speak("No GPU was found."))
    for one in machine.notes:
        note(one.render(speak))
