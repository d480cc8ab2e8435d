"""What the planner forecasts for a placement that runs here, or is about to: its settings and devices as records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansambl.app.planning import candidate_from_files
from ansambl.domain.errors import AnsamblError
from ansambl.domain.footprint import Footprint
from ansambl.domain.hardware import Gpu, Machine
from ansambl.domain.plan import Placement
from ansambl.domain.planning import Candidate
from ansambl.engines.command_lines.settings import Kind
from ansambl.engines.registry import engine_lines
from ansambl.hardware.catalog import from_inventory
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.planner import memory
from ansambl.planner.families import LLAMA_CPP
from ansambl.planner.memory import MemoryInputs

_LLAMA_FLAGS = {
    "--flash-attn": "flash_attention", "-fa": "flash_attention", "-ub": "n_ubatch", "-b": "n_batch",
    "-ngl": "n_gpu_layers", "--gpu-layers": "n_gpu_layers", "-ncmoe": "n_cpu_moe", "-ts": "tensor_split",
    "-sm": "split_mode", "-mg": "main_gpu",
}  # fmt: skip
"""Spellings of llama-server that the table of its settings does not have."""
_LLAMA_KV = {"--cache-type-k": 0, "-ctk": 0, "--cache-type-v": 1, "-ctv": 1}
UNMEASURED = frozenset({"prompt_cache", "ram_margin", "engine_version"})
"""Settings that change a forecast and nothing that a load takes."""


@dataclass(frozen=True, slots=True)
class PlacementForecast:
    """A placement as the planner sees it, and the forecast of its memory."""

    candidate: Candidate
    engine: str
    inputs: MemoryInputs
    footprint: Footprint


def forecast_placement(placement: Placement, machine: Machine) -> PlacementForecast | None:
    """The forecast for a placement on this machine; None where nothing can be forecast of it. Reads file headers."""
    checkpoint = placement.checkpoint
    if checkpoint is None or placement.engine not in memory.ENGINES:
        return None
    try:
        candidate = candidate_from_files(inspect_checkpoint(Path(checkpoint.path)), checkpoint.reference)
        settings = dict(memory_settings(placement))
        if placement.engine in LLAMA_CPP and placement.prompt_cache:
            settings["prompt_cache"] = placement.prompt_cache
        inputs = MemoryInputs(
            architecture=candidate.architecture, weights=candidate.weights,
            machine=from_inventory(replace(machine, gpus=used_gpus(placement, machine))),
            context=placement.context, parallel=placement.parallel, kv_type=kv_type_of(placement), settings=settings,
        )  # fmt: skip
        return PlacementForecast(candidate, placement.engine, inputs, memory.forecast(placement.engine, inputs))
    except AnsamblError:
        # A forecast helps where it can be made; whether the engine starts is for the engine to say.
        return None


def used_gpus(placement: Placement, machine: Machine) -> tuple[Gpu, ...]:
    """The GPUs of the machine that the placement uses, in its own order."""
    vendor = placement.vendor.casefold()
    own = {gpu.index: gpu for gpu in machine.gpus if vendor in gpu.vendor.casefold()}
    return tuple(own[index] for index in placement.gpus if index in own)


def kv_type_of(placement: Placement) -> str:
    """The type of the KV cache as a forecast takes it: 16 bits where nobody chose."""
    chosen = placement.kv_type
    if placement.engine in LLAMA_CPP:
        pair = [None if chosen == "auto" else part for part in (chosen.split("/") * 2)[:2]]
        words = _pairs(placement.options.arguments)
        for flag, value in words:
            if flag in _LLAMA_KV and value:
                pair[_LLAMA_KV[flag]] = value
        first, second = (one or "f16" for one in pair)
        return first if first == second else f"{first}/{second}"
    return "f16" if chosen == "auto" else chosen


def memory_settings(placement: Placement) -> Mapping[str, Any]:
    """The settings that change what a load takes, from the placement's own and from the engine's arguments."""
    lines = engine_lines().get(placement.engine)
    if lines is None:
        return {}
    known = {one.name: one for one in lines.settings if not one.extra}
    flags = {one.flag: one.name for one in known.values() if one.flag}
    if placement.engine in LLAMA_CPP:
        flags.update(_LLAMA_FLAGS)
    found = {name: value for name, value in placement.settings.items() if name in known}
    for flag, value in _pairs(placement.options.arguments):
        name = flags.get(flag)
        if name is None or name not in known:
            continue
        if known[name].kind is Kind.SWITCH and value is None:
            found[name] = "on"
        elif value is not None:
            found[name] = value
    return {name: value for name, value in found.items() if name not in UNMEASURED}


def _pairs(arguments: Sequence[str]) -> list[tuple[str, str | None]]:
    """Flags with the word after them, None where another flag follows."""
    found: list[tuple[str, str | None]] = []
    for position, word in enumerate(arguments):
        if not word.startswith("-") or _is_number(word):
            continue
        flag, joined, value = word.partition("=")
        following = arguments[position + 1] if position + 1 < len(arguments) else None
        if joined:
            found.append((flag, value))
        elif following is None or (following.startswith("-") and not _is_number(following)):
            found.append((flag, None))
        else:
            found.append((flag, following))
    return found


def _is_number(word: str) -> bool:
    return word.lstrip("-").replace(".", "", 1).isdigit()
