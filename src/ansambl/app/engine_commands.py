"""What to type elsewhere: the placement that ``fit`` would choose, as the command of its engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansambl.app.configuration.configuration_file import load_data_paths
from ansambl.app.fitting import Question, answer
from ansambl.app.planning import local_path
from ansambl.domain.errors import UsageError
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes, parse_bytes
from ansambl.engines.command_lines import CommandInputs, EngineCommand, Kind, Lora, inputs_of
from ansambl.engines.compatibility import compatibility_rows
from ansambl.engines.registry import SAME_ENGINE, command_line, engine_lines, extra_settings, get_lines
from ansambl.foundation.paths import DataPaths, expanded
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.planner.choosing import Choice
from ansambl.planner.compatibility import find_engine
from ansambl.planner.fitting import Wish, place
from ansambl.planner.nearest import nearest_changes
from ansambl.planner.placement.side_by_side import Together, side_by_side

_BESIDE = ("lora", "mmproj", "draft")
_SEQUENCES = 16


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """The command, the placement that it starts, what it was made from, and what must be said first."""

    command: EngineCommand
    placement: PlannedPlacement
    inputs: CommandInputs
    warnings: tuple[Text, ...] = ()


def engine_command(question: Question, config: Path | None = None) -> CommandAnswer:
    """The command for the model on the machine, also when it does not fit.

    Beside the engine's settings, ``lora``, ``mmproj`` and ``draft`` name files to load with the model.

    Raises:
        AnsamblError: the model, machine, engine or a setting is not known or makes no sense; the combination cannot
            work; the engine has no word for something that is wanted.
    """
    return _command(_prepared(question, config))


@dataclass(frozen=True, slots=True)
class CommandSet:
    """Commands for several models on one machine. `missing` is what its fullest device lacks for all of them."""

    answers: tuple[CommandAnswer, ...]
    missing: Bytes
    taken: Bytes
    capacity: Bytes


def commands_side_by_side(questions: Sequence[Question], config: Path | None = None) -> CommandSet:
    """The commands for several models that run at once on one machine: ports and shares of their own.

    An engine that fills a budget gets the least that holds what is wanted, so that the shares add up.

    Raises:
        AnsamblError: as `engine_command`.
    """
    prepared = [_prepared(one, config) for one in questions]
    together = _together(prepared)
    if together.missing:
        tighter = [_with_fewer_sequences(one) for one in prepared]
        closer = _together(tighter)
        if closer.missing < together.missing:
            prepared, together = tighter, closer
    answers: list[CommandAnswer] = []
    ports: set[int] = set()
    for one, placement in zip(prepared, together.placements, strict=True):
        found = _command(replace(one, placement=placement))
        port = urlsplit(found.command.address).port or 0
        if port in ports:
            port = next(other for other in count(port) if other not in ports)
            found = _command(replace(one, placement=placement), port)
        ports.add(port)
        answers.append(found)
    return CommandSet(tuple(answers), together.missing, together.taken, together.capacity)


def _together(prepared: Sequence[_Prepared]) -> Together:
    return side_by_side([one.placement for one in prepared], [one.wish for one in prepared])


def _with_fewer_sequences(one: _Prepared) -> _Prepared:
    """The same with no more sequences than are wanted: vLLM's profiling run takes memory for each."""
    if one.placement.engine != "vllm" or "max_num_seqs" in one.wish.settings:
        return one
    wish = replace(one.wish, settings={**one.wish.settings, "max_num_seqs": max(_SEQUENCES, one.wish.parallel)})
    placed = place(one.placement.candidate, one.placement.engine, one.placement.machine, wish)
    return replace(one, placement=placed, wish=wish) if placed.fits else one


@dataclass(frozen=True, slots=True)
class _Prepared:
    """All that a command is made of but its port. `beside` are the files to load with the model, by kind."""

    placement: PlannedPlacement
    wish: Wish
    extra: Mapping[str, Any]
    beside: Mapping[str, str]
    path: str | None
    warnings: tuple[Text, ...]


def _prepared(question: Question, config: Path | None) -> _Prepared:
    engine = _engine(question.engine)
    beside = {name: str(question.settings[name]) for name in _BESIDE if _is_path(question.settings.get(name))}
    settings = {name: value for name, value in question.settings.items() if name not in beside}
    forecast, extra = _divided(settings, engine)
    sizes = _sizes(beside, engine)
    asked = replace(question, engine=engine, settings={**forecast, **sizes})
    best = _most_usable(answer(asked, config), question.quantization)
    wish = Wish(best.context, best.parallel, best.kv_type, asked.settings)
    warnings: list[Text] = []
    uncounted = [name for name in beside if name not in sizes]
    if uncounted:
        warnings.append(text("{names}: on the command line, but not counted in the forecast",
                             names=", ".join(uncounted)))  # fmt: skip
    if not best.fits:
        best, said = _made_to_fit(question, best, wish)
        warnings.append(said)
    return _Prepared(best, wish, extra, beside, _path(best.candidate, load_data_paths(config)), tuple(warnings))


def _made_to_fit(question: Question, best: PlannedPlacement, wish: Wish) -> tuple[PlannedPlacement, Text]:
    """The same with settings of the engine with which it fits, where there are such; what must be said of it.

    Context, KV type and quantization are the owner's wish: changes of them are offered by ``fit`` and never made here.
    """
    for change in nearest_changes(best, wish):
        if set(change.options[::2]) == {"--set"}:
            return change.placement, text(
                "{settings}: set so that it fits {machine}; with the engine's own values it would not",
                settings=", ".join(change.options[1::2]), machine=best.machine.name,
            )  # fmt: skip
    return best, text(
        "it does not fit {machine}; see: ansambl fit {model} --engine {engine} --machine {machine}",
        machine=best.machine.name, model=question.model, engine=best.engine,
    )  # fmt: skip


def _command(one: _Prepared, port: int | None = None) -> CommandAnswer:
    inputs = replace(_with(inputs_of(one.placement, path=one.path, extra=one.extra), one.beside), port=port)
    return CommandAnswer(command_line(one.placement.engine, inputs), one.placement, inputs, one.warnings)


def _most_usable(choice: Choice, quantization: str | None) -> PlannedPlacement:
    """The placement that ``fit`` puts first among those whose files the engine runs best and somebody names.

    A command needs the very files; an estimate of a quantization that nobody published starts nothing.
    """
    best = choice.best

    def place(one: PlannedPlacement) -> tuple[bool, bool, int, bool]:
        formats, form = get_lines(one.engine).formats, one.candidate.format
        runs = form in formats
        nowhere = form != "gguf" and not inputs_of(one).exact_repo
        return (not runs, not one.fits, formats.index(form) if runs else 0, nowhere)

    tried = [one for one in choice.others if one.engine == best.engine]
    if quantization is not None:
        # fit adds what would fit instead of what was asked for.
        tried = [one for one in tried if one.candidate.quantization == best.candidate.quantization]
    return min((best, *tried), key=place)


def _engine(name: str | None) -> str | None:
    if name is None:
        return None
    plain = name.strip().lower()
    known = SAME_ENGINE.get(plain, plain)
    return known if known in engine_lines() else find_engine(compatibility_rows(), name).name


def _divided(settings: Mapping[str, Any], engine: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings that a forecast takes, and those that go onto the command line only."""
    if engine is not None:
        extras = extra_settings(engine)
    else:
        known = {one.name for lines in engine_lines().values() for one in lines.settings if not one.extra}
        extras = frozenset({name for one in engine_lines() for name in extra_settings(one)} - known)
    return (
        {name: value for name, value in settings.items() if name not in extras},
        {name: value for name, value in settings.items() if name in extras},
    )


def _is_path(value: Any) -> bool:
    """A forecast takes the size of such a file (``850MiB``); anything else is where it lies."""
    if value is None:
        return False
    try:
        parse_bytes(value)
    except UsageError:
        return True
    return False


def _sizes(beside: Mapping[str, str], engine: str | None) -> dict[str, int]:
    """The sizes of those files that are here, for an engine whose forecast counts them."""
    if engine is None:
        return {}
    counted = {one.name for one in get_lines(engine).settings if one.kind is Kind.SIZE and one.forecast_only}
    found = {}
    for name in beside.keys() & counted:
        files = [expanded(one.rpartition("=")[2].strip()) for one in beside[name].split(",")]
        if all(file.is_file() for file in files):
            found[name] = sum(file.stat().st_size for file in files)
    return found


def _with(inputs: CommandInputs, beside: Mapping[str, str]) -> CommandInputs:
    """The same with what is loaded beside the model: a LoRA adapter is written ``NAME=PATH`` or ``PATH``."""
    loras = []
    for one in beside["lora"].split(",") if "lora" in beside else ():
        name, equals, path = one.strip().partition("=")
        loras.append(Lora(name, path) if equals else Lora(Path(name).stem, name))
    return replace(inputs, loras=tuple(loras), draft=beside.get("draft"), mmproj=beside.get("mmproj"))


def _path(candidate: Candidate, paths: DataPaths) -> str | None:
    """Where the files of a candidate lie that came from files: the first GGUF file, or the folder."""
    if candidate.card is not None:
        return None
    path = local_path(candidate.reference, paths)
    return None if path is None else inspect_checkpoint(path).path
