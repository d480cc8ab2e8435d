"""What the memory that is reserved for an instance holds: weights, KV cache, compute buffers, and what stands beside.

Bytes are reserved as a whole. Which part is which the forecast says, or the engine's own log, and what both leave open
is divided so that the parts of a device add up to what is reserved there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from ansambl.domain.footprint import Footprint

WEIGHTS: Final = "weights"
KV_CACHE: Final = "kv_cache"
COMPUTE: Final = "compute"
OVERHEAD: Final = "overhead"

Parts: TypeAlias = Mapping[str, Mapping[str, int]]
"""Bytes by part for each device."""


def parts_of(footprint: Footprint, names: Sequence[str]) -> dict[str, dict[str, int]]:
    """What is expected of each part by device; `names` are the scheduler's for the devices of the footprint.

    Pages of files that the system takes back are no part of the weights here, as they are not reserved.
    """
    found: dict[str, dict[str, int]] = {}
    for one, name in zip(footprint.devices, names, strict=True):
        parts = found.setdefault(name, dict.fromkeys((WEIGHTS, KV_CACHE, COMPUTE, OVERHEAD), 0))
        parts[WEIGHTS] += max(0, one.weights.expected - one.reclaimable)
        parts[KV_CACHE] += one.kv_cache.expected
        parts[COMPUTE] += one.compute.expected
        parts[OVERHEAD] += one.overhead.expected
    return found


def divided(reserved: Mapping[str, int], parts: Parts, *, asleep: bool = False) -> dict[str, dict[str, int]]:
    """The parts of what is reserved, by device; a device whose parts nobody knows is left out.

    What is reserved beyond the parts is overhead: the margin of a forecast, or what the processes hold beside. Where
    less is reserved, the weights stay as the files say and the others shrink alike: an engine allocates a cache that
    it has not touched yet, and a measurement right after a load does not see it.
    """
    found = {}
    for device, size in reserved.items():
        known = parts.get(device)
        if known is None or not size:
            continue
        weights = min(known.get(WEIGHTS, 0), size)
        if asleep:
            # Cache and buffers are gone; the weights stay in RAM at a level where there is room for them.
            found[device] = _without_nothing({WEIGHTS: weights if weights < size else 0}, size)
            continue
        beside = {one: known.get(one, 0) for one in (KV_CACHE, COMPUTE, OVERHEAD)}
        left, wanted = size - weights, sum(beside.values())
        if wanted > left:
            beside = {one: amount * left // wanted for one, amount in beside.items()}
        found[device] = _without_nothing({WEIGHTS: weights, **beside}, size)
    return found


def _without_nothing(parts: dict[str, int], size: int) -> dict[str, int]:
    parts[OVERHEAD] = parts.get(OVERHEAD, 0) + size - sum(parts.values())
    return {one: amount for one, amount in parts.items() if amount}
