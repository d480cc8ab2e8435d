"""Which of a model's checkpoints to take on a machine, and with which engine: the answer to "will it fit?"."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ansambl.domain.catalog import Basis
from ansambl.domain.compatibility import CompatibilityFacts, Judgement, Verdict
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.text import text
from ansambl.planner.compatibility import find_engine, judge
from ansambl.planner.families import CPU_WHEN_NAMED, FOR_SAFETENSORS, GPU_ONLY
from ansambl.planner.fitting import Wish, layers_in_ram, partly_in_ram, place, projector_reason
from ansambl.planner.memory import ENGINES, UnknownSettingError

USUAL_ENGINES = {"gguf": ("llama.cpp",), "safetensors": ("vllm",)}
"""By format of a checkpoint, the engines that are tried when none is named: those whose forecasts were checked against
measurements."""

_FEWEST_GOOD_BITS = 3.6
"""Below, the perplexity of Llama 3 8B rises by an eighth and more (llama.cpp tools/perplexity/README.md: Q3_K_S)."""

_QUICK = 10.0
"""Tokens a second with which a part in RAM is better than fewer bits; about twice what people read."""

_RULES = "memory rules of the planner"

_IN_FAVOUR = frozenset({"works", "since"})
"""Codes of reasons that say what works."""

LOSSLESS_BITS = 8.75
"""Bits for each weight that lose nothing that tests notice (llama.cpp's Q8_0 is 8.5): more costs speed and memory."""

_ALIKE_FROM = 7.75
"""From here on more bits decide nothing: an FP8 checkpoint has 8 to 9 with its tables in 16 bits."""
_ENOUGH_IN_RAM = 4.75
"""The same where whole layers lie in RAM and each bit costs speed: what Q4_K_M has."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The placement to take and every other that was tried, the better first; `left_out` says what could not be tried.

    `best` fits when any does.
    """

    best: PlannedPlacement
    others: tuple[PlannedPlacement, ...]
    left_out: tuple[Reason, ...] = ()


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines to try for a candidate, and why others are not tried.

    `doubts` says by engine what no source tells of the combination, or what makes it slow.
    """

    names: tuple[str, ...]
    left_out: tuple[Reason, ...] = ()
    doubts: Mapping[str, tuple[Reason, ...]] = field(default_factory=dict)


def engines_for(
    candidate: Candidate, machine: PlannedMachine, facts: CompatibilityFacts, *, wanted: str | None = None,
    version: str | None = None,
) -> Engines:  # fmt: skip
    """The engines that run a candidate on a machine: the usual one of its format, or `wanted` where that can.

    A quantization, family or device of which nothing is known is tried; one that works slowly only when it is wanted.

    Raises:
        UsageError: there is no such engine, or `version` is none of its versions.
    """
    wanted = None if wanted is None else find_engine(facts, wanted).name
    names = (wanted,) if wanted else USUAL_ENGINES.get(candidate.format, ())
    allowed = {Verdict.YES, Verdict.UNKNOWN, Verdict.SLOW} if wanted else {Verdict.YES, Verdict.UNKNOWN}
    good: list[str] = []
    left_out: list[Reason] = []
    doubts: dict[str, tuple[Reason, ...]] = {}
    devices = dict.fromkeys(gpu.model.name for gpu in machine.gpus)
    models = [next(gpu.model for gpu in machine.gpus if gpu.model.name == name) for name in devices]
    for name in names:
        if not machine.gpus and name in GPU_ONLY and not (wanted and name in CPU_WHEN_NAMED):
            left_out.append(
                Reason("no-gpu", text("{engine} is planned for GPUs, and {machine} has none", engine=name,
                                      machine=machine.name), _RULES)
            )  # fmt: skip
            continue
        form = judge(facts, name, version=version, format=candidate.format)
        if form.verdict in {Verdict.NO, Verdict.UNKNOWN}:
            # Not tried: nobody would build a plan on a format of which no source says that the engine reads it.
            left_out += form.reasons
            continue
        judged = [
            judge(
                facts, name, version=version, format=candidate.format, quantization=candidate.quantization,
                family=candidate.architecture.family, device=model,
            )
            for model in models or [machine.ram.model]
        ]  # fmt: skip
        against = next((one for one in judged if one.verdict not in allowed), None)
        if against is None:
            good.append(name)
            doubts[name] = _doubts(judged)
        else:
            left_out += [one for one in against.reasons if one.code not in _IN_FAVOUR]
    return Engines(tuple(good), tuple(left_out), doubts)


def _doubts(judged: Iterable[Judgement]) -> tuple[Reason, ...]:
    """What speaks against a combination that is tried all the same, each sentence once."""
    found = [
        reason
        for one in judged
        for reason in one.reasons
        if one.verdict is not Verdict.YES and reason.code in {"unknown", "slow"}
    ]
    return tuple({one.text.render(): one for one in found}.values())


def choose(
    candidates: Iterable[Candidate], engines: Callable[[Candidate], Engines], machine: PlannedMachine, wish: Wish
) -> Choice | None:
    """Try each candidate with each of its engines and rank what comes out; None when there is nothing to try.

    First comes what fits, then what lies on the GPUs alone, then what sources say works, then the most bits up to where
    more lose nothing, then files that somebody reported, then the faster. An engine that does not take a setting or a
    KV type of the wish is left out where another does.

    Raises:
        NotSupportedError: as `place`.
        UsageError: as `place`, and no engine takes the wish.
    """
    tried: list[tuple[bool, PlannedPlacement]] = []
    left_out: dict[tuple[str, str], Reason] = {}
    refused: dict[str, UsageError] = {}
    for candidate in candidates:
        found = engines(candidate)
        left_out.update({(one.code, one.text.render()): one for one in found.left_out})
        for engine in found.names:
            if engine not in ENGINES:
                continue
            try:
                placed = place(candidate, engine, machine, wish)
            except UsageError as error:
                refused.setdefault(engine, error)
                continue
            doubts = found.doubts.get(engine, ())
            projector = projector_reason(placed)
            if doubts or projector:
                reasons = (*doubts, *placed.footprint.reasons, *([projector] if projector else []))
                placed = replace(placed, footprint=replace(placed.footprint, reasons=reasons))
            tried.append((bool(doubts), placed))
    if not tried:
        if refused:
            raise _nearest_miss(refused.values())
        return None
    for miss in refused.values():
        left_out[("refused", miss.message.render())] = Reason("refused", miss.message, _RULES)
    best, *others = (one for _, one in sorted(tried, key=lambda pair: _rank(pair[1], doubtful=pair[0])))
    return Choice(best, tuple(others), tuple(left_out.values()))


def _nearest_miss(errors: Iterable[UsageError]) -> UsageError:
    """Of several engines' errors the one about a value, if any: that engine knows what was set."""
    return min(errors, key=lambda one: isinstance(one, UnknownSettingError))


class _Rank(NamedTuple):
    """What decides between two placements: the first figure in which they differ, the less the better."""

    misses: bool
    discomfort: int
    doubtful: bool
    foreign_format: bool
    excess: int
    lacking_bits: float
    estimated: bool
    slowness: float
    bits: float
    quantization: str
    engine: str


def _rank(placement: PlannedPlacement, *, doubtful: bool) -> _Rank:
    candidate = placement.candidate
    decode = placement.speed.decode
    in_ram = layers_in_ram(placement) or not placement.machine.gpus
    return _Rank(
        misses=not placement.fits,
        # Of what does not fit the nearest is told, wherever it lies.
        discomfort=_comfort(placement, candidate.bits) if placement.fits else 0,
        doubtful=doubtful,
        foreign_format=placement.engine in FOR_SAFETENSORS and candidate.format != "safetensors",
        excess=placement.footprint.excess,
        # Halves of a bit, and none beyond those that count.
        lacking_bits=-min(round(candidate.bits * 2) / 2, _ENOUGH_IN_RAM if in_ram else _ALIKE_FROM),
        estimated=candidate.bits < _ALIKE_FROM and candidate.basis is not Basis.REPORTED,
        slowness=-(decode.expected if decode else 0.0),
        bits=candidate.bits,
        quantization=candidate.quantization,
        engine=placement.engine,
    )


def _comfort(placement: PlannedPlacement, weight: float) -> int:
    """0 is a whole model on the GPUs; 1 is a part in RAM, still quick; 2 is so few bits that answers suffer; 3 slow."""
    decode = placement.speed.decode
    if not partly_in_ram(placement):
        return 2 if weight < _FEWEST_GOOD_BITS else 0
    return 1 if weight >= _FEWEST_GOOD_BITS and decode is not None and decode.expected >= _QUICK else 3
