"""What would fit instead of a placement that does not: the smallest changes of the wish, each tried."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ansambl.domain.errors import AnsamblError
from ansambl.domain.planning import PlannedPlacement
from ansambl.planner.families import SIXTEEN_BITS, SMALLER_CACHE
from ansambl.planner.fitting import Wish, limits, place

LEAST_CONTEXT = 2048
"""Tokens; a shorter context is no help to anybody."""

# Fewer sequences shrink what vLLM's profiling run takes; a greater share and no CUDA graphs leave more for the cache.
_VLLM_STEPS: tuple[dict[str, Any], ...] = (
    {"max_num_seqs": 16},
    {"max_num_seqs": 16, "gpu_memory_utilization": 0.95},
    {"max_num_seqs": 16, "gpu_memory_utilization": 0.95, "enforce_eager": "on"},
)


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a wish with which it fits: `options` as ``ansambl fit`` takes them, and the placement then."""

    options: tuple[str, ...]
    placement: PlannedPlacement


def nearest_changes(placement: PlannedPlacement, wish: Wish) -> tuple[Change, ...]:
    """Changes of `wish` with which the same checkpoint fits the same machine and engine; each kind once.

    Tried are other settings, a smaller KV type, fewer sequences, and a shorter context, each alone; where none of them
    is enough, the smaller KV type with a shorter context.
    """
    found: list[Change] = []
    for tries in (_settings(placement, wish), _cache(placement, wish), _sequences(placement, wish)):
        found.extend(_first(placement, tries))
    found.extend(_first(placement, _contexts(wish, ())))
    if not found:
        for options, smaller in _cache(placement, wish):
            found.extend(_first(placement, _contexts(smaller, options)))
    return tuple(found)


_Tries = Iterator[tuple[tuple[str, ...], Wish]]


def _first(placement: PlannedPlacement, tries: _Tries) -> list[Change]:
    for options, wish in tries:
        try:
            found = place(placement.candidate, placement.engine, placement.machine, wish)
        except AnsamblError:
            # A setting that does not go with the others, or that this version does not have.
            continue
        if found.fits:
            return [Change(options, found)]
    return []


def _settings(placement: PlannedPlacement, wish: Wish) -> _Tries:
    if placement.engine != "vllm" or "kv_cache_memory_bytes" in wish.settings:
        return
    for step in _VLLM_STEPS:
        chosen = {name: value for name, value in step.items() if name not in wish.settings}
        if "max_num_seqs" in chosen:
            chosen["max_num_seqs"] = max(16, wish.parallel)
        options = tuple(part for name, value in chosen.items() for part in ("--set", f"{name}={value}"))
        yield options, replace(wish, settings={**wish.settings, **chosen})


def _cache(placement: PlannedPlacement, wish: Wish) -> _Tries:
    smaller = SMALLER_CACHE.get(placement.engine)
    if smaller and wish.kv_type.lower() in SIXTEEN_BITS:
        yield ("--kv-type", smaller), replace(wish, kv_type=smaller)


def _sequences(placement: PlannedPlacement, wish: Wish) -> _Tries:
    most = limits(placement).parallel if wish.parallel > 1 else None
    if most is not None and most < wish.parallel:
        yield ("--parallel", str(most)), replace(wish, parallel=most)


def _contexts(wish: Wish, options: tuple[str, ...]) -> _Tries:
    # Halves of a round number, so that nobody is told to ask for 13,712 tokens.
    context = 1 << max(0, (wish.context - 1).bit_length() - 1)
    while context >= LEAST_CONTEXT:
        if context < wish.context:
            yield (*options, "--context", str(context)), replace(wish, context=context)
        context //= 2
