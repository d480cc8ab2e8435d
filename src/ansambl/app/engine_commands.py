"""The question "what do I type elsewhere?" answered: the placement that ``fit`` would choose as its engine's command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansambl.app.configuration_file import load_data_paths
from ansambl.app.fitting import DEFAULT_CONTEXT, Question, answer
from ansambl.app.planning import find_candidates, planned_machines
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.text import Text, text
from ansambl.engines.command_lines import (
    ENGINE_LINES,
    SAME_ENGINE,
    CommandInputs,
    EngineCommand,
    Lora,
    command_line,
    extra_settings,
    get_lines,
    inputs_for,
    inputs_of,
)
from ansambl.engines.compatibility import compatibility_rows
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import embedded
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.planner import memory
from ansambl.planner.choosing import engines_for
from ansambl.planner.compatibility import find_engine

_BESIDE = ("lora", "mmproj", "draft")


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """The command, what it runs, and what must be said beside it.

    `placement` is None for an engine whose memory nobody forecasts; whether it fits is then not known.
    """

    command: EngineCommand
    candidate: Candidate
    machine: PlannedMachine
    inputs: CommandInputs
    placement: PlannedPlacement | None
    warnings: tuple[Text, ...] = ()

    @property
    def fits(self) -> bool | None:
        """Whether it fits; None when nobody knows."""
        return self.placement.fits if self.placement is not None else None


def engine_command(question: Question, config: Path | None = None) -> CommandAnswer:
    """The command for the model on the machine, also when it does not fit.

    Raises:
        AnsamblError: the model, machine, engine or a setting is not known or makes no sense; the combination cannot
            work; the engine has no word for something that is wanted.
    """
    engine = _engine(question.engine)
    beside = {name: question.settings[name] for name in _BESIDE if name in question.settings}
    settings = {name: value for name, value in question.settings.items() if name not in beside}
    paths = load_data_paths(config)
    if engine is not None and engine not in memory.ENGINES:
        return _without_forecast(replace(question, settings=settings), engine, paths, beside)
    forecast, extra = _divided(settings, engine)
    best = answer(replace(question, engine=engine, settings=forecast), config).best
    inputs = _with(inputs_of(best, path=_path(best.candidate, paths), extra=extra), beside)
    warnings: tuple[Text, ...] = ()
    if beside:
        warnings = (text("{names}: on the command line, but not counted in the forecast", names=", ".join(beside)),)
    if not best.fits:
        warnings += (
            text("it does not fit {machine}; see: ansambl fit {model} --engine {engine} --machine {machine}",
                 machine=best.machine.name, model=question.model, engine=best.engine),
        )  # fmt: skip
    return CommandAnswer(
        command_line(best.engine, inputs), best.candidate, best.machine, inputs, best, warnings
    )  # fmt: skip


def _engine(name: str | None) -> str | None:
    if name is None:
        return None
    plain = name.strip().lower()
    known = SAME_ENGINE.get(plain, plain)
    return known if known in ENGINE_LINES else find_engine(compatibility_rows(), name).name


def _divided(settings: Mapping[str, Any], engine: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that a forecast takes, and those that go onto the command line only."""
    if engine is not None:
        extras = extra_settings(engine)
    else:
        known = {one.name for lines in ENGINE_LINES.values() for one in lines.settings if not one.extra}
        extras = frozenset().union(*(extra_settings(name) for name in ENGINE_LINES)) - known
    return (
        {name: value for name, value in settings.items() if name not in extras},
        {name: value for name, value in settings.items() if name in extras},
    )


def _with(inputs: CommandInputs, beside: Mapping[str, Any]) -> CommandInputs:
    """The same with what is loaded beside the model: a LoRA adapter is written ``NAME=PATH`` or ``PATH``."""
    loras = []
    for one in str(beside["lora"]).split(",") if "lora" in beside else ():
        name, equals, path = one.strip().partition("=")
        loras.append(Lora(name, path) if equals else Lora(Path(name).stem, name))
    draft, mmproj = beside.get("draft"), beside.get("mmproj")
    return replace(inputs, loras=tuple(loras), draft=draft, mmproj=mmproj)


def _without_forecast(question: Question, engine: str, paths: DataPaths, beside: Mapping[str, Any]) -> CommandAnswer:
    machine = planned_machines([question.machine] if question.machine else [])[0]
    candidates = find_candidates(question.model, question.quantization, paths)
    made_for = candidates[0].architecture.context
    context = question.context if question.context is not None else min(DEFAULT_CONTEXT, made_for or DEFAULT_CONTEXT)
    chosen = _first_that_runs(candidates, engine, machine, question)
    inputs = inputs_for(
        chosen, machine, context=context, parallel=question.parallel, kv_type=question.kv_type,
        settings=question.settings, path=_path(chosen, paths),
    )  # fmt: skip
    inputs = _with(inputs, beside)
    warning = text("the memory of {engine} is not forecast: whether it fits {machine} is not known",
                   engine=get_lines(engine).title, machine=machine.name)  # fmt: skip
    return CommandAnswer(command_line(engine, inputs), chosen, machine, inputs, None, (warning,))


def _first_that_runs(
    candidates: Sequence[Candidate], engine: str, machine: PlannedMachine, question: Question
) -> Candidate:
    """The first checkpoint of a format of the engine that nothing speaks against."""
    lines = get_lines(engine)
    of_format = [one for one in candidates if one.format in lines.formats]
    if not of_format:
        raise NotSupportedError(
            text("{engine} does not run {format} files; it runs {formats}", engine=lines.title,
                 format=", ".join(dict.fromkeys(one.format for one in candidates)), formats=", ".join(lines.formats))
        )  # fmt: skip
    against: list[Text] = []
    version = question.settings.get("engine_version")
    for one in of_format:
        judged = engines_for(one, machine, compatibility_rows(), wanted=engine, version=version)
        if judged.names:
            return one
        against += [reason.text for reason in judged.left_out]
    raise NotSupportedError(
        text("{engine} cannot run {model} on {machine}: {why}", engine=lines.title, model=question.model,
             machine=machine.name, why=against[0] if against else text("no rules for such a checkpoint"))
    )  # fmt: skip


def _path(candidate: Candidate, paths: DataPaths) -> str | None:
    """Where the files of a candidate lie that came from files: the first GGUF file, or the folder."""
    if candidate.card is not None:
        return None
    if candidate.reference == embedded.REFERENCE:
        return embedded.find(paths.models, verify=False).path
    return inspect_checkpoint(Path(candidate.reference).expanduser()).path
