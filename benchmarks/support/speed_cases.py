"""Measured speeds as inputs of the planner, and the forecast beside each measurement."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.units import Bytes
from ansambl.hardware.catalog import device_models
from ansambl.planner.speed import SpeedInputs, forecast, spread_over, with_experts_in_ram
from support.memory_cases import DATA, architecture


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured phase (``decode``, ``prefill`` or ``batch``) in tokens per second. `source` names who measured.

    `batch` is the decode of all of the inputs' parallel sequences together.
    """

    case: str
    phase: str
    engine: str
    what: str
    source: str
    inputs: SpeedInputs
    speed: float


@dataclass(frozen=True, slots=True)
class ComparedSpeed:
    """A measurement beside its forecast; all three are None where the forecast says that it is unknown."""

    measured: Measured
    expected: float | None
    low: float | None
    high: float | None

    @property
    def error(self) -> float:
        """(expected - measured) / measured; not a number where the forecast is unknown."""
        return math.nan if self.expected is None else self.expected / self.measured.speed - 1

    @property
    def within(self) -> bool:
        """Whether the range holds the measurement."""
        return self.low is not None and self.high is not None and self.low <= self.measured.speed <= self.high


def _device(named: str | dict[str, Any], index: int) -> PlannedDevice:
    if isinstance(named, str):
        model = device_models()[named]
    else:
        model = DeviceModel(
            named["name"], named["name"], "any", bandwidth=named["bandwidth"], kind=DeviceKind.RAM,
            sources=(named["note"],),
        )  # fmt: skip
    return PlannedDevice(model.kind, model, model.memory or Bytes(0), index)


def inputs_of(case: dict[str, Any], architectures: dict[str, Any]) -> SpeedInputs:
    """The planner's inputs of one case."""
    parts = spread_over([_device(name, index) for index, name in enumerate(case["devices"])])
    if "experts_in" in case:
        ram = case["experts_in"]
        device = _device(ram if "bandwidth" in ram else ram["name"], 0)
        parts = with_experts_in_ram(parts, device, ram.get("share", 1.0))
    return SpeedInputs(
        architecture=architecture(architectures[case["model"]]),
        weights=WeightBytes(case["bytes"], case["bytes_source"]), parts=parts,
        context=case["context"], prompt=case.get("prompt", 1024), split_tensors=case["split"] == "tensors",
        parallel=case.get("parallel", 1), cached=case.get("cached", 0), batch_tokens=case.get("batch_tokens"),
    )  # fmt: skip


def measurements() -> list[Measured]:
    """All phases of all cases."""
    table = json.loads((DATA / "speed_cases.json").read_text(encoding="utf-8"))
    return [
        Measured(
            case["id"], phase, case["engine"], case["as_reported"], case["source"].split(" row ")[0].split(" @")[0],
            inputs_of(case, table["architectures"]), case[phase],
        )
        for case in table["cases"]
        for phase in ("decode", "prefill", "batch")
        if phase in case
    ]  # fmt: skip


def compare_speed(one: Measured) -> ComparedSpeed:
    """One measurement beside its forecast."""
    found = forecast(one.engine, one.inputs)
    speed = getattr(found, one.phase)
    if speed is None:
        return ComparedSpeed(one, None, None, None)
    return ComparedSpeed(one, speed.expected, speed.low, speed.high)


def compared_speeds() -> list[ComparedSpeed]:
    """All measurements beside their forecasts."""
    return [compare_speed(one) for one in measurements()]
