"""Measured memory cases as inputs of the planner, and the forecast beside each measurement."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice, PlannedMachine
from ansambl.domain.footprint import DeviceFootprint, Footprint, Range, WeightBytes
from ansambl.domain.units import Bytes
from ansambl.planner.memory import MemoryInputs, forecast
from ansambl.planner.memory.vllm import kv_capacity_tokens, kv_concurrency

DATA = Path(__file__).resolve().parents[2] / "tests" / "data" / "planner"

SIZES = {"gpu", "gpu_weights", "gpu_used", "ram", "ram_weights", "ram_buffers", "kv_pool"}
"""Measurements that are compared as sizes with the error table's bounds; others are parts or counts."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One measurement beside its forecast. `size` is of the footprint; `low` and `high` are the forecast's ends."""

    case: str
    model: str
    what: str
    measured: float
    expected: float
    low: float
    high: float
    held_out: bool = False

    @property
    def error(self) -> float:
        """(expected - measured) / measured."""
        return (self.expected - self.measured) / self.measured


def architecture(table: dict[str, Any]) -> Architecture:
    """The record of an architecture written as JSON."""
    layers = tuple(LayerGroup(**{**group, "attention": Attention(group["attention"])}) for group in table["layers"])
    return Architecture(**{**table, "layers": layers})


def machine(table: dict[str, Any]) -> PlannedMachine:
    """A machine of GPUs of a name and memory, and RAM."""
    gpus = tuple(
        PlannedDevice(DeviceKind.GPU, DeviceModel(one["name"], one["name"], "any"), Bytes(one["memory"]), index)
        for index, one in enumerate(table["gpus"])
    )
    ram = PlannedDevice(DeviceKind.RAM, DeviceModel("ram", "RAM", "any"), Bytes(table["ram"]))
    return PlannedMachine("case", "case", gpus, ram)


def load() -> tuple[list[dict[str, Any]], dict[str, Architecture]]:
    """All cases and the architectures that they name."""
    table = json.loads((DATA / "memory_cases.json").read_text(encoding="utf-8"))
    return table["cases"], {name: architecture(one) for name, one in table["architectures"].items()}


def inputs_of(case: dict[str, Any], architectures: dict[str, Architecture]) -> MemoryInputs:
    """The planner's inputs of one case."""
    return MemoryInputs(
        architecture=architectures[case["model"]], weights=WeightBytes(**case["weights"]),
        machine=machine(case["machine"]), context=case["context"], parallel=case["parallel"],
        kv_type=case["kv_type"], settings=case["settings"],
    )  # fmt: skip


def _forecast_of(what: str, footprint: Footprint, *, per_gpu: bool = False) -> Range:
    side, _, part = what.partition("_")
    kind = DeviceKind.RAM if side == "ram" else DeviceKind.GPU
    devices = [device for device in footprint.devices if device.kind is kind]
    if what == "kv_pool":
        return devices[0].kv_cache

    def parts(device: DeviceFootprint) -> tuple[Range, ...]:
        return {
            "": (device.weights, device.kv_cache, device.compute),
            "buffers": (device.weights, device.compute),
            "weights": (device.weights,),
            "kv": (device.kv_cache,),
            "compute": (device.compute,),
            "used": (device.total,),
        }[part]

    # What is logged for each GPU is compared with the first.
    counted = devices[:1] if per_gpu else devices
    return Range.total(one for device in counted for one in parts(device))


def compare(case: dict[str, Any], architectures: dict[str, Architecture]) -> Iterator[Compared]:
    """Every measurement of a case beside its forecast."""
    inputs = inputs_of(case, architectures)
    footprint = forecast(case["engine"], inputs)
    new = case.get("held_out", False)
    for what, measured in case["measured"].items():
        label = (case["id"], case["model"], what)
        if what == "kv_tokens_of_pool":
            value = float(kv_capacity_tokens(inputs, measured[0]))
            yield Compared(*label, measured[1], value, value, value, new)
        elif what == "concurrency_of_pool":
            value = kv_concurrency(inputs, measured[0])
            yield Compared(*label, measured[1], value, value, value, new)
        elif what in ("kv_tokens", "concurrency"):
            pool = _forecast_of("kv_pool", footprint)
            rule = kv_capacity_tokens if what == "kv_tokens" else kv_concurrency
            low, expected, high = (float(rule(inputs, size)) for size in (pool.low, pool.expected, pool.high))
            yield Compared(*label, measured, expected, low, high, new)
        else:
            found = _forecast_of(what, footprint, per_gpu=case.get("per_gpu", False))
            yield Compared(*label, measured, found.expected, found.low, found.high, new)


def compared() -> list[Compared]:
    """All measurements of all cases beside their forecasts; sizes that were taken from the same log are left out."""
    cases, architectures = load()
    return [
        one
        for case in cases
        for one in compare(case, architectures)
        if not (case.get("weights_from_log") and one.what in ("gpu_weights", "ram_weights"))
    ]
