"""The question "will it fit?" as a user puts it, answered: names become records, the planner chooses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansambl.app.configuration_file import load_data_paths
from ansambl.app.planning import find_candidates, planned_machines
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.planning import Candidate
from ansambl.domain.text import text
from ansambl.planner.choosing import Choice, choose
from ansambl.planner.fitting import Wish, check_context

DEFAULT_CONTEXT = 32_768
"""Tokens, or what the model was made for where that is less."""

_AUTOMATIC = {"gguf": ("llama.cpp",), "safetensors": ("vllm",), "exl3": ("exllamav3",)}


@dataclass(frozen=True, slots=True)
class Question:
    """What ``ansambl fit`` was asked; what is None was left open (any quantization, this machine, a usual context)."""

    model: str
    quantization: str | None = None
    engine: str | None = None
    machine: str | None = None
    context: int | None = None
    parallel: int = 1
    kv_type: str = "f16"
    settings: Mapping[str, Any] = field(default_factory=dict)


def answer(question: Question, config: Path | None = None) -> Choice:
    """The best placement of the model on the machine, and the others.

    Raises:
        AnsamblError: the model, machine, engine or a setting is not known or makes no sense; nothing can run it there.
    """
    machine = planned_machines([question.machine] if question.machine else [])[0]
    candidates = find_candidates(question.model, question.quantization, load_data_paths(config))
    made_for = candidates[0].architecture.context
    context = question.context if question.context is not None else min(DEFAULT_CONTEXT, made_for or DEFAULT_CONTEXT)
    check_context(candidates[0], context)
    wish = Wish(context, question.parallel, question.kv_type, question.settings)
    choice = choose(candidates, lambda one: engines_for(one, machine, question.engine), machine, wish)
    if choice is None:
        raise NotSupportedError(
            text("no engine is known that runs {model} on {machine}; see: ansambl compat {model} --machine {machine}",
                 model=question.model, machine=machine.name)
        )  # fmt: skip
    return choice


def engines_for(candidate: Candidate, machine: PlannedMachine, wanted: str | None) -> Sequence[str]:
    """The engines to try for a checkpoint: `wanted`, or the usual one of its format where it runs on the machine."""
    usual = _AUTOMATIC.get(candidate.format, ())
    if wanted is not None:
        return (wanted,)
    if "vllm" in usual and not machine.gpus:
        return ()
    return usual
