"""``ansambl command``: the exact command of an engine for a model on a machine, to be typed anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import (
    DOES_NOT_FIT,
    Context,
    Engine,
    KvType,
    MachineName,
    Parallel,
    Quantization,
    Set,
    read_settings,
)
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ansambl.app.engine_commands import CommandAnswer, CommandSet


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("command", help=speak("Print the exact command of an engine for a model on a machine."))(command)


def command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help=speak(
                'Models of the catalog (see: ansambl models list), paths of their files, or "embedded". Several run '
                "side by side on the machine."
            ),
        ),
    ],
    quantization: Quantization = None, engine: Engine = None, machine: MachineName = None,
    context: Context = None, parallel: Parallel = 1, kv_type: KvType = "f16", settings: Set = None,
    config: Config = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Print the command on standard output and what belongs to it on standard error; exit code 3 if it does not fit."""
    from ansambl.app.engine_commands import commands_side_by_side, engine_command
    from ansambl.app.fitting import Question
    from ansambl.cli.output import print_json

    questions = [
        Question(
            model=model, quantization=quantization, engine=engine, machine=machine, context=context, parallel=parallel,
            kv_type=kv_type, settings=read_settings(settings),
        )
        for model in models
    ]  # fmt: skip
    if len(questions) == 1:
        found = engine_command(questions[0], config)
        if as_json:
            _warn([found])
            print_json(_document(found))
        else:
            _print([found])
        fits = found.placement.fits
    else:
        several = commands_side_by_side(questions, config)
        fits = not several.missing and all(one.placement.fits for one in several.answers)
        if as_json:
            _warn(several.answers)
            print_json({
                "commands": [_document(one) for one in several.answers], "fits": fits,
                "taken_bytes": several.taken, "capacity_bytes": several.capacity, "missing_bytes": several.missing,
            })  # fmt: skip
        else:
            _print(several.answers)
            _say_together(several)
    if not fits:
        raise typer.Exit(DOES_NOT_FIT)


def _warn(answers: Sequence[CommandAnswer]) -> None:
    from ansambl.cli.output import note

    for one in answers:
        for warning in one.warnings:
            note(speak("warning: {message}").format(message=warning.render(speak)))


def _print(answers: Sequence[CommandAnswer]) -> None:
    """Commands go to standard output; what several of them say is said once."""
    from ansambl.cli.output import note, say

    _warn(answers)
    for one in answers:
        say(one.command.shell())
    sentences = [line.render(speak) for one in answers for line in (*one.command.notes, one.command.verified)]
    for sentence in dict.fromkeys(sentences):
        note(sentence)


def _say_together(several: CommandSet) -> None:
    from ansambl.cli.output import note
    from ansambl.domain.units import size_words

    if sum(one.command.engine == "vllm" for one in several.answers) > 1:
        note(speak("start them one after the other: vLLM measures what is free while it starts"))
    if several.missing:
        note(
            speak("warning: together they need {needed} of the fullest device, which has {capacity}: {missing} too "
                  "much").format(needed=size_words(several.taken, speak), capacity=size_words(several.capacity, speak),
                                 missing=size_words(several.missing, speak))
        )  # fmt: skip
    else:
        note(
            speak("together they take {needed} of {capacity} of the fullest device").format(
                needed=size_words(several.taken, speak), capacity=size_words(several.capacity, speak))
        )  # fmt: skip


def _document(found: CommandAnswer) -> dict[str, Any]:
    command, candidate = found.command, found.placement.candidate
    return {
        "model": candidate.model,
        "checkpoint": {"quantization": candidate.quantization, "format": candidate.format,
                       "source": found.inputs.path or found.inputs.repo},
        "engine": command.engine,
        "machine": found.placement.machine.name,
        "context": found.inputs.context,
        "parallel": found.inputs.parallel,
        "kv_type": found.inputs.kv_type,
        "settings": dict(found.inputs.settings),
        "fits": found.placement.fits,
        "environment": dict(command.environment),
        "files": dict(command.files),
        "commands": [list(line) for line in command.lines],
        "serving": command.serving,
        "shell": command.shell(),
        "address": command.address,
        "key_variable": command.key_variable,
        "notes": [one.render(speak) for one in (*found.warnings, *command.notes)],
        "verified": command.verified.render(speak),
    }  # fmt: skip
