"""One door to all engines' rules, and the inverse: what is the most that fits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from ansambl.domain.device import DeviceKind
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.footprint import Footprint
from ansambl.domain.text import text
from ansambl.planner.memory import exllamav3, llama_cpp, others, sglang, tgi, transformers, vllm
from ansambl.planner.memory.inputs import LONGEST_CONTEXT, MOST_PARALLEL, MemoryInputs

_RULES: dict[str, Callable[[MemoryInputs], Footprint]] = {
    "llama.cpp": llama_cpp.forecast, "llama.cpp-bundled": llama_cpp.forecast, "vllm": vllm.forecast,
    "sglang": sglang.forecast, "exllamav3": exllamav3.forecast, "transformers": transformers.forecast,
    "tgi": tgi.forecast, "ollama": others.OLLAMA.forecast, "lm_studio": others.LM_STUDIO.forecast,
    "textgen": others.TEXTGEN.forecast, "tabbyapi": others.TABBYAPI.forecast,
}  # fmt: skip

Correct: TypeAlias = Callable[[Footprint], Footprint]

# Settings that say how many sequences run at once.
_SEQUENCES = ("max_num_seqs", "max_running_requests", "max_batch_size")

ENGINES = tuple(_RULES)
"""Engines whose memory can be forecast."""


def forecast(engine: str, inputs: MemoryInputs) -> Footprint:
    """What `engine` will need of each device.

    Raises:
        NotSupportedError: there are no rules for this engine.
        UsageError: a setting makes no sense or is not known.
    """
    rule = _RULES.get(engine)
    if rule is None:
        raise NotSupportedError(
            text("no memory rules are known for {engine}; they are for {known}", engine=engine,
                 known=", ".join(ENGINES))
        )  # fmt: skip
    return rule(inputs)


def _most(fits: Callable[[int], bool], most: int) -> int | None:
    """The greatest number from 1 to `most` that fits; needs grow with the number."""
    if not fits(1):
        return None
    low, high = 1, most + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _as_it_is(footprint: Footprint) -> Footprint:
    return footprint


def largest_context(engine: str, inputs: MemoryInputs, correct: Correct = _as_it_is) -> int | None:
    """The longest context in tokens for each of the wanted sequences that fits, at most what the model was made for.

    Where more than that is wanted, the wanted context is the most. None when not even one token fits. `correct` is
    what measurements say of a forecast.

    Raises:
        NotSupportedError, UsageError: as `forecast`.
    """
    most = max(inputs.context, min(inputs.architecture.context or LONGEST_CONTEXT, LONGEST_CONTEXT))
    return _most(lambda tokens: correct(forecast(engine, replace(inputs, context=tokens))).fits, most)


def most_parallel(engine: str, inputs: MemoryInputs, correct: Correct = _as_it_is) -> int | None:
    """The most sequences of the wanted context that fit at once; None when not even one does. `correct` as above.

    Raises:
        NotSupportedError, UsageError: as `forecast`.
    """
    limits = [str(inputs.settings.get(name, "")) for name in _SEQUENCES]
    most = min([MOST_PARALLEL, *(max(1, int(limit)) for limit in limits if limit.isdecimal())])
    return _most(lambda count: correct(forecast(engine, replace(inputs, parallel=count))).fits, most)


def fewest_expert_layers_in_ram(inputs: MemoryInputs) -> int | None:
    """The smallest ``n_cpu_moe`` with which llama.cpp fits; None when the model has no experts or none is enough.

    Raises:
        UsageError: as `forecast`.
    """
    layers = inputs.architecture.layer_count
    if not inputs.architecture.experts:
        return None

    def tried(count: int) -> Footprint:
        settings = {**inputs.settings, "n_cpu_moe": count}
        settings.pop("cpu_moe", None)
        return llama_cpp.forecast(replace(inputs, settings=settings))

    def gpus_hold(count: int) -> bool:
        return all(device.fits for device in tried(count).devices if device.kind is DeviceKind.GPU)

    if tried(0).fits:
        return 0
    if not gpus_hold(layers):
        return None
    # From one layer on, each further one takes from the GPUs and gives to the RAM: if the RAM is full with the fewest
    # that free the GPUs enough, more do not help.
    low, high = 0, layers
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if gpus_hold(middle) else (middle, high)
    return high if tried(high).fits else None
