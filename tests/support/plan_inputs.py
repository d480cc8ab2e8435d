"""What plans are made from in tests and benchmarks: the shipped catalog and machines, without the app."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from ansambl.domain.device import DeviceKind
from ansambl.domain.engine import EngineTraits
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.planning import Candidate, PlanOption, Residency
from ansambl.domain.units import GIB, Bytes
from ansambl.hardware.catalog import load_machine
from ansambl.model_catalog.catalog import catalog
from ansambl.model_catalog.estimates import estimated_checkpoints
from ansambl.planner.placement import PlanInputs, RoleNeed, Wants

ENGINES = tuple(
    EngineTraits(name, name, frozenset({form}), frozenset({"cuda"}), frozenset({"openai_chat"}))
    for name, form in (("llama.cpp", "gguf"), ("vllm", "safetensors"))
)
ROLES = (
    RoleNeed("coder", Wants.CODE, head="tools"),
    RoleNeed("reasoner", Wants.DEPTH, at_once=True),
    RoleNeed("brief", Wants.SPEED, at_once=True),
    RoleNeed("philosopher", Wants.CHAT, at_once=True),
)


@cache
def candidates() -> tuple[Candidate, ...]:
    """Every checkpoint of the shipped catalog whose inside is known."""
    found = []
    for model in catalog().values():
        if model.architecture is None:
            continue
        found.extend(
            Candidate(
                model=model.name,
                reference=model.repo,
                quantization=one.quantization,
                format=one.format,
                size=one.size,
                weights=WeightBytes(
                    one.size,
                    one.source,
                    expert_format="mxfp4" if one.quantization == "MXFP4" else None,
                    low=Bytes(one.low),
                    high=Bytes(one.high),
                ),
                architecture=model.architecture,
                basis=one.basis,
                source=one.source,
                card=model,
            )
            for one in (*model.checkpoints, *estimated_checkpoints(model))
        )
    return tuple(found)


def of_models(*names: str) -> tuple[Candidate, ...]:
    """The checkpoints of some models."""
    return tuple(one for one in candidates() if one.model in names)


def plan_inputs(machines: Iterable[str], **changes: Any) -> PlanInputs:
    """Inputs for shipped machines, with changes by field name."""
    given = {"candidates": candidates(), "roles": ROLES, "engines": ENGINES, **changes}
    return PlanInputs(machines=tuple(load_machine(one) for one in machines), **given)


def overfull(option: PlanOption) -> list[str]:
    """Devices of an option that hold more than they can on the high end, summed here from the footprints alone.

    98 % of a GPU is what a program sees, and 2 GiB of the RAM are the system's.
    """
    resident: dict[tuple[str, str], int] = {}
    turns: dict[tuple[str, str], int] = {}
    room: dict[tuple[str, str], int] = {}
    for placement in option.placements:
        machine = placement.machine
        room[machine.name, "ram"] = machine.ram.memory - 2 * GIB
        for gpu in machine.gpus:
            room[machine.name, f"gpu{gpu.index}"] = int(gpu.memory * 23.58 / 24)
        for device in placement.footprint.devices:
            places = ["ram"] if device.kind is DeviceKind.RAM else [f"gpu{device.index}"]
            unified = [gpu for gpu in machine.gpus if gpu.index == device.index and gpu.model.unified_memory]
            if device.kind is DeviceKind.GPU and unified:
                places.append("ram")
            for place in places:
                key = (machine.name, place)
                if placement.residency is Residency.SWAPPED:
                    turns[key] = max(turns.get(key, 0), device.needed.high)
                else:
                    resident[key] = resident.get(key, 0) + device.needed.high
    return [
        f"{key}: {resident.get(key, 0) + turns.get(key, 0)} of {size}"
        for key, size in room.items()
        if resident.get(key, 0) + turns.get(key, 0) > size
    ]
