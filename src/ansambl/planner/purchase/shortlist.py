"""Fewer checkpoints and fewer builds, so that trying every build takes seconds: what cannot be chosen is left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ansambl.domain.catalog import ModelKind
from ansambl.domain.planning import Candidate, Goal
from ansambl.domain.purchase import Build
from ansambl.planner.memory.shares import usable
from ansambl.planner.placement.inputs import PlanInputs, Wants
from ansambl.planner.placement.worth import native_bits, speed_points, strength

SLACK_POINTS, SLACK_SIZE = 2.0, 1.1
"""A checkpoint is as good as another that is better by less: points of strength, and a factor of size."""

MOST_TRIED = 9
"""Builds for which a rough plan is made; each takes about a tenth of a second."""

# Points that a build may promise less than a cheaper one and still be tried, as the guess is rough, and points that
# more RAM must promise.
_ABOUT, _STEP = 4.0, 0.5

# Of a GPU's bandwidth what decode reaches, and of its memory what is left for weights: for a guess that only
# sorts builds.
_REACHED, _FOR_WEIGHTS = 0.6, 0.85


@dataclass(frozen=True, slots=True)
class Rated:
    """A checkpoint with what decides whether another beats it: strength in points, bytes in all and for a token."""

    candidate: Candidate
    points: float
    size: float
    read: float

    @property
    def group(self) -> tuple[str, bool, bool]:
        """Checkpoints are only compared within one: format, and what the model is for."""
        kind = self.candidate.card.kind if self.candidate.card else None
        return self.candidate.format, kind is ModelKind.EMBEDDING, kind is ModelKind.REASONING


def shortlist(inputs: PlanInputs, largest: int) -> tuple[Rated, ...]:
    """The checkpoints of at most `largest` bytes that no other of their group beats in strength, size and bytes read.

    Models that a user named or pinned stay with all their checkpoints. Of each model that stays, the checkpoint with
    most bits stays too, since the others' loss is counted by it.
    """
    made = native_bits(inputs.candidates)
    formats = {one for engine in inputs.engines for one in engine.formats}
    wanted = {*inputs.models, *inputs.pinned}
    able = [
        one for one in inputs.candidates
        if one.format in formats and one.weights.total <= largest
        and (not inputs.models or one.model in wanted or _is_embedding(one))
    ]  # fmt: skip
    rated = sorted(
        (_rated(one, made, inputs) for one in able),
        key=lambda one: (-one.points, one.size, one.candidate.model, one.candidate.quantization, one.candidate.format),
    )
    kept: list[Rated] = []
    for one in rated:
        if one.candidate.model in wanted or not any(_beats(other, one, SLACK_SIZE) for other in kept):
            kept.append(one)
    short = [
        one for one in kept
        if one.candidate.model in wanted or not any(_beats(other, one, 1.0) for other in kept if other is not one)
    ]  # fmt: skip
    return (*short, *_with_most_bits(inputs, short, made))


def guess(build: Build, rated: Iterable[Rated], inputs: PlanInputs) -> float:
    """Points of the best model on a build alone, by memory and bandwidth only: good enough to sort builds by.

    What the cards do not hold is read from the RAM, except where both are one memory.
    """
    machine, rules = build.machine, inputs.worth
    cards = sum(usable(gpu) for gpu in machine.gpus)
    shared = machine.unified
    room = (cards if machine.gpus else usable(machine.ram)) * _FOR_WEIGHTS
    beyond = usable(machine.ram) * _FOR_WEIGHTS if machine.gpus and not shared else 0.0
    # On several cards the layers take turns, so their bandwidths do not add up for one answer.
    rates = [gpu.model.bandwidth or 0.0 for gpu in machine.gpus] or [machine.ram.model.bandwidth or 0.0]
    quick, slow = max(1.0, min(rates) * _REACHED), max(1.0, (machine.ram.model.bandwidth or 0.0) * _REACHED)
    wants = Wants.DEPTH if inputs.goal is Goal.DEPTH else Wants.CHAT
    best = 0.0
    for one in rated:
        if one.group[1] or one.size > room + beyond:
            continue
        outside = max(0.0, 1 - room / max(1.0, one.size))
        decode = 1 / (one.read * (1 - outside) / quick + one.read * outside / slow + 1e-9)
        rate = rules.rates.get(inputs.goal.value, 0.0) * math.log2(max(1.0, decode))
        best = max(best, one.points + speed_points(decode, wants, rules) + rate)
    return best


def worth_trying(builds: Sequence[Build], rated: Sequence[Rated], inputs: PlanInputs) -> tuple[Build, ...]:
    """The builds that promise about as much as every cheaper one or more, in the order of their price.

    Of one set of cards a dearer build must promise more. At most `MOST_TRIED`: beyond, those with the least step over
    what is cheaper are left out.
    """
    steps: list[tuple[float, Build]] = []
    best = 0.0
    of_cards: dict[tuple[str, int], float] = {}
    for build in sorted(builds, key=lambda one: (one.usd.middle, one.id)):
        cards = build.machine.gpus
        key = (cards[0].model.name if cards else build.id, len(cards))
        promised = guess(build, rated, inputs)
        step = promised - best
        if step > -_ABOUT and promised > of_cards.get(key, -math.inf) + _STEP:
            steps.append((step, build))
            of_cards[key] = promised
        best = max(best, promised)
    while len(steps) > MOST_TRIED:
        steps.remove(min(steps, key=lambda step: (step[0], step[1].id)))
    return tuple(build for _, build in steps)


def _rated(candidate: Candidate, made: Mapping[str, float], inputs: PlanInputs) -> Rated:
    architecture = candidate.architecture
    share = architecture.active / max(1, architecture.parameters)
    points = strength(candidate, made, inputs.language, inputs.worth).points
    return Rated(candidate, points, float(candidate.weights.total), candidate.weights.total * share)


def _with_most_bits(inputs: PlanInputs, short: Sequence[Rated], made: Mapping[str, float]) -> list[Rated]:
    models = {one.candidate.model for one in short}
    there = {id(one.candidate) for one in short}
    found: dict[str, Candidate] = {}
    for one in inputs.candidates:
        if one.model in models and one.model not in found and one.bits == made.get(one.model):
            found[one.model] = one
    return [_rated(found[model], made, inputs) for model in sorted(found) if id(found[model]) not in there]


def _beats(first: Rated, second: Rated, slack: float) -> bool:
    return (
        first.group == second.group
        and first.points >= second.points - SLACK_POINTS
        and first.size <= second.size * slack
        and first.read <= second.read * slack
    )


def _is_embedding(candidate: Candidate) -> bool:
    return candidate.card is not None and candidate.card.kind is ModelKind.EMBEDDING
