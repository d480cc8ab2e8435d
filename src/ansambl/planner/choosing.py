"""Which of a model's checkpoints to take on a machine, and with which engine: the answer to "will it fit?"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ansambl.domain.device import PlannedMachine
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.planner.fitting import Wish, expert_layers_in_ram, layers_in_ram, place

LOSSLESS_BITS = 8.75
"""Bits for each weight that lose nothing that tests notice (llama.cpp's Q8_0 is 8.5): more costs speed and memory."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The placement to take and every other that was tried, the better first; `left_out` says what could not be tried.

    `best` fits when any does.
    """

    best: PlannedPlacement
    others: tuple[PlannedPlacement, ...]
    left_out: tuple[Reason, ...] = ()


def bits(candidate: Candidate) -> float:
    """Bits for each weight over the whole checkpoint."""
    return candidate.weights.total * 8 / max(1, candidate.architecture.parameters)


def choose(
    candidates: Iterable[Candidate], engines_for: Callable[[Candidate], Sequence[str]], machine: PlannedMachine,
    wish: Wish,
) -> Choice | None:  # fmt: skip
    """Try each candidate with each of its engines and rank what comes out; None when there is nothing to try.

    First comes what fits, then what lies on the GPUs alone, then the most bits up to where more lose nothing, then
    the faster.

    Raises:
        NotSupportedError, UsageError: as `place`.
    """
    tried = [place(one, engine, machine, wish) for one in candidates for engine in engines_for(one)]
    if not tried:
        return None
    ranked = sorted(tried, key=_rank)
    return Choice(ranked[0], tuple(ranked[1:]))


def _rank(placement: PlannedPlacement) -> tuple[bool, bool, float, float, float, str, str]:
    candidate = placement.candidate
    weight = bits(candidate)
    lossless = weight > LOSSLESS_BITS
    excess = sum(max(0, one.needed.high - one.usable) for one in placement.footprint.devices)
    decode = placement.speed.decode
    moved = bool(layers_in_ram(placement) or expert_layers_in_ram(placement))
    return (
        not placement.fits,
        moved,
        # Of what does not fit the nearest is told; of what fits the one with the most bits that count.
        float(excess),
        (100 + weight) if lossless else -round(weight),
        -(decode.expected if decode else 0.0),
        candidate.quantization,
        placement.engine,
    )
