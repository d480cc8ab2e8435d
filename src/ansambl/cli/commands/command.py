"""``ansambl command``: the exact command of an engine for a model on a machine, to be typed anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import (
    DOES_NOT_FIT,
    Context,
    Engine,
    KvType,
    MachineName,
    Model,
    Parallel,
    Quantization,
    Set,
    read_settings,
)
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.engine_commands import CommandAnswer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("command", help=speak("Print the exact command of an engine for a model on a machine."))(command)


def command(
    model: Model, quantization: Quantization = None, engine: Engine = None, machine: MachineName = None,
    context: Context = None, parallel: Parallel = 1, kv_type: KvType = "f16", settings: Set = None,
    config: Config = None, as_json: Json = False,
) -> None:  # fmt: skip
    """Print the command on standard output and what belongs to it on standard error; exit code 3 if it does not fit."""
    from ansambl.app.engine_commands import engine_command
    from ansambl.app.fitting import Question
    from ansambl.cli.output import note, print_json, say

    found = engine_command(
        Question(
            model=model, quantization=quantization, engine=engine, machine=machine, context=context, parallel=parallel,
            kv_type=kv_type, settings=read_settings(settings),
        ),
        config,
    )  # fmt: skip
    for one in found.warnings:
        note(speak("warning: {message}").format(message=one.render(speak)))
    if as_json:
        print_json(_document(found))
    else:
        say(found.command.shell())
        for one in found.command.notes:
            note(one.render(speak))
        note(found.command.verified.render(speak))
    if not found.placement.fits:
        raise typer.Exit(DOES_NOT_FIT)


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
