"""Forecasts and plans as the JSON documents that scripts depend on (DESIGN section 10). Sizes are bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ansambl.domain.footprint import DeviceFootprint, Footprint, Reason
from ansambl.domain.planning import Plan, PlannedPlacement, PlanOption
from ansambl.domain.speed import SpeedRange
from ansambl.planner.fitting import Limits
from ansambl.planner.loads import DeviceLoad, device_loads
from ansambl.planner.nearest import Change

Translate = Callable[[str], str] | None


def fit_document(
    placement: PlannedPlacement, limits: Limits, translate: Translate = None, instead: Iterable[Change] = ()
) -> dict[str, Any]:
    """What ``fit --json`` prints; `instead` are changes with which it would fit."""
    candidate, footprint = placement.candidate, placement.footprint
    return {
        "model": candidate.reference,
        "checkpoint": {
            "quantization": candidate.quantization, "format": candidate.format, "bytes": candidate.size,
            "basis": str(candidate.basis), "source": candidate.source,
        },
        "engine": placement.engine,
        "machine": placement.machine.name,
        "context": placement.context,
        "parallel": placement.parallel,
        "kv_type": placement.kv_type,
        "settings": dict(placement.settings),
        "fits": placement.fits,
        "basis": str(footprint.basis),
        "devices": [device_document(one) for one in footprint.devices],
        "kv_capacity_tokens": footprint.kv_capacity_tokens or placement.context * placement.parallel,
        "max_context": limits.context,
        "max_parallel": limits.parallel,
        "speed": speed_document(placement, translate),
        "reasons": reasons_document((*footprint.reasons, *placement.speed.reasons), translate),
        "instead": [_change_document(one) for one in instead],
    }  # fmt: skip


def _change_document(change: Change) -> dict[str, Any]:
    placement = change.placement
    return {
        "options": list(change.options),
        "quantization": placement.candidate.quantization,
        "engine": placement.engine,
        "context": placement.context,
        "parallel": placement.parallel,
        "kv_type": placement.kv_type,
        "settings": dict(placement.settings),
        "expected_bytes": placement.footprint.total.expected,
        "decode_tokens_per_second": _range(placement.speed.decode),
    }


def device_document(device: DeviceFootprint) -> dict[str, Any]:
    """One device of a footprint; the parts are the expected bytes."""
    parts = {
        "weights": device.weights, "kv_cache": device.kv_cache, "compute": device.compute, "overhead": device.overhead,
    }  # fmt: skip
    return {
        "name": device.name,
        "kind": str(device.kind),
        "index": device.index,
        "capacity_bytes": device.capacity,
        "usable_bytes": device.usable,
        "parts": {name: part.expected for name, part in parts.items()},
        "low_bytes": device.total.low,
        "expected_bytes": device.total.expected,
        "high_bytes": device.total.high,
        "needed_bytes": device.needed.high,
        "fits": device.fits,
    }


def speed_document(placement: PlannedPlacement, translate: Translate = None) -> dict[str, Any]:
    """The speed of one stream, and of all at once; null is unknown, or nothing for a model that only reads."""
    speed = placement.speed
    basis = next((one for one in speed.reasons if one.code in {"speed.decode", "speed.prefill"}), None)
    writes = placement.candidate.generates
    return {
        "decode_tokens_per_second": _range(speed.decode) if writes else None,
        "prefill_tokens_per_second": _range(speed.prefill),
        "batch_tokens_per_second": _range(speed.batch) if writes else None,
        "basis": f"{basis.text.render(translate)} ({basis.source})" if basis else None,
    }


def reasons_document(reasons: Iterable[Reason], translate: Translate = None) -> list[dict[str, str]]:
    """Reasons with their codes, which are stable, and their texts in the user's language; each once."""
    found = dict.fromkeys((one.code, one.text.render(translate), one.source) for one in reasons)
    return [{"code": code, "text": words, "source": source} for code, words, source in found]


def plan_document(plan: Plan, translate: Translate = None) -> dict[str, Any]:
    """What ``plan --json`` prints."""
    return {
        "machines": [one.name for one in plan.machines],
        "goal": str(plan.goal),
        "recommended": plan.recommended,
        "why": reasons_document(plan.why, translate),
        "options": [option_document(one, translate) for one in plan.options],
        "rejected": reasons_document(plan.rejected, translate),
    }


def option_document(option: PlanOption, translate: Translate = None) -> dict[str, Any]:
    """One option of a plan."""
    return {
        "id": option.id,
        "title": option.title.render(translate),
        "fits": option.fits,
        "placements": [placement_document(one, translate) for one in option.placements],
        "roles": dict(option.roles),
        "prefix_groups": [list(group) for group in option.prefix_groups],
        "prefilling_roles": list(option.prefilling_roles),
        "loads": [_load_document(one) for one in device_loads(option)],
        "swaps_expected_per_hour": option.swaps_expected_per_hour,
        "for": reasons_document(option.speaks_for, translate),
        "against": reasons_document(option.speaks_against, translate),
    }


def _load_document(load: DeviceLoad) -> dict[str, Any]:
    """What the placements take of one device together; `shares` are the expected bytes of those that are in memory."""
    needed = load.needed
    return {
        "machine": load.machine,
        "name": load.name,
        "kind": str(load.kind),
        "index": load.index,
        "capacity_bytes": load.capacity,
        "usable_bytes": load.usable,
        "low_bytes": needed.low,
        "expected_bytes": needed.expected,
        "high_bytes": needed.high,
        "fits": load.fits,
        "shares": [{"placement": one.placement, "expected_bytes": one.needed.expected} for one in load.drawn],
    }


def placement_document(placement: PlannedPlacement, translate: Translate = None) -> dict[str, Any]:
    """One placement of an option."""
    candidate = placement.candidate
    return {
        "id": placement.id,
        "model": candidate.reference,
        "title": candidate.title,
        "quantization": candidate.quantization,
        "format": candidate.format,
        "bytes": candidate.size,
        "licence": candidate.card.licence if candidate.card else None,
        "engine": placement.engine,
        "machine": placement.machine.name,
        "devices": [f"{gpu.kind}{gpu.index}" for gpu in placement.machine.gpus] or ["ram"],
        "context": placement.context,
        "parallel": placement.parallel,
        "kv_type": placement.kv_type,
        "settings": dict(placement.settings),
        "residency": str(placement.residency),
        "fits": placement.fits,
        "footprint": _footprint(placement.footprint),
        "speed": speed_document(placement, translate),
    }


def _footprint(footprint: Footprint) -> dict[str, Any]:
    return {
        "devices": [device_document(one) for one in footprint.devices],
        "kv_capacity_tokens": footprint.kv_capacity_tokens or footprint.context * footprint.parallel,
    }


def _range(speed: SpeedRange | None) -> dict[str, float] | None:
    if speed is None:
        return None
    return {name: round(getattr(speed, name), 2) for name in ("low", "expected", "high")}
