"""Which of a model's checkpoints to take on a machine, and with which engine: the answer to "will it fit?"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ansambl.domain.compatibility import CompatibilityFacts, Verdict
from ansambl.domain.device import PlannedMachine
from ansambl.domain.footprint import Reason
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.text import text
from ansambl.planner.compatibility import find_engine, judge
from ansambl.planner.fitting import Wish, expert_layers_in_ram, layers_in_ram, place
from ansambl.planner.memory import ENGINES

USUAL_ENGINES = {"gguf": ("llama.cpp",), "safetensors": ("vllm",), "exl3": ("exllamav3",)}
"""By format of a checkpoint, the engines that are tried when none is named."""

NEED_GPU = frozenset({"vllm", "sglang", "exllamav3", "tgi"})
"""Engines whose rules here are those of GPUs."""

_BEST_FORMAT = dict.fromkeys(("vllm", "sglang", "tgi", "transformers"), "safetensors")
"""What an engine that reads several formats was made for; the others it converts or reads by slower kernels."""

_RULES = "memory rules of the planner"

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


@dataclass(frozen=True, slots=True)
class Engines:
    """The engines to try for a candidate, and why others are not tried."""

    names: tuple[str, ...]
    left_out: tuple[Reason, ...] = ()


def engines_for(
    candidate: Candidate, machine: PlannedMachine, facts: CompatibilityFacts, *, wanted: str | None = None,
    version: str | None = None,
) -> Engines:  # fmt: skip
    """The engines that run a candidate on a machine: the usual one of its format, or `wanted` where that can.

    A quantization, family or device of which nothing is known is tried; one that works slowly only when it is wanted.

    Raises:
        UsageError: there is no such engine, or `version` is none of its versions.
    """
    wanted = find_engine(facts, wanted).name if wanted else None
    names = (wanted,) if wanted else USUAL_ENGINES.get(candidate.format, ())
    allowed = {Verdict.YES, Verdict.UNKNOWN, Verdict.SLOW} if wanted else {Verdict.YES, Verdict.UNKNOWN}
    good: list[str] = []
    left_out: list[Reason] = []
    devices = dict.fromkeys(gpu.model.name for gpu in machine.gpus)
    models = [next(gpu.model for gpu in machine.gpus if gpu.model.name == name) for name in devices]
    for name in names:
        if not machine.gpus and name in NEED_GPU:
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
        else:
            left_out += against.reasons
    return Engines(tuple(good), tuple(left_out))


def choose(
    candidates: Iterable[Candidate], engines: Callable[[Candidate], Engines], machine: PlannedMachine, wish: Wish
) -> Choice | None:
    """Try each candidate with each of its engines and rank what comes out; None when there is nothing to try.

    First comes what fits, then what lies on the GPUs alone, then the most bits up to where more lose nothing, then
    the faster.

    Raises:
        NotSupportedError, UsageError: as `place`.
    """
    tried: list[PlannedPlacement] = []
    left_out: dict[tuple[str, str], Reason] = {}
    for candidate in candidates:
        found = engines(candidate)
        left_out.update({(one.code, one.text.render()): one for one in found.left_out})
        tried += [place(candidate, engine, machine, wish) for engine in found.names if engine in ENGINES]
    if not tried:
        return None
    ranked = sorted(tried, key=_rank)
    return Choice(ranked[0], tuple(ranked[1:]), tuple(left_out.values()))


def _rank(placement: PlannedPlacement) -> tuple[bool, bool, bool, float, float, float, str, str]:
    candidate = placement.candidate
    weight = bits(candidate)
    lossless = weight > LOSSLESS_BITS
    excess = sum(max(0, one.needed.high - one.usable) for one in placement.footprint.devices)
    decode = placement.speed.decode
    moved = bool(layers_in_ram(placement) or expert_layers_in_ram(placement))
    return (
        not placement.fits,
        moved,
        candidate.format != _BEST_FORMAT.get(placement.engine, candidate.format),
        # Of what does not fit the nearest is told; of what fits the one with the most bits that count.
        float(excess),
        (100 + weight) if lossless else -round(weight),
        -(decode.expected if decode else 0.0),
        candidate.quantization,
        placement.engine,
    )
