"""The exact command of an engine for one placement: pure, without files, processes or faces.

Each engine's adapter holds its own table of settings and the function that writes its command (`EngineLines`); what
several share lies here. ``ansambl command`` prints such a command, and adapters start what they start by it.
"""

from __future__ import annotations

from dataclasses import replace

from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.text import Text, text
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.placements import inputs_of
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand, Lora
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting

__all__ = [
    "CommandInputs", "EngineCommand", "EngineLines", "Kind", "Lora", "Setting", "inputs_of", "write_command",
]  # fmt: skip


def write_command(lines: EngineLines, inputs: CommandInputs) -> EngineCommand:
    """How the engine of `lines` is started for this placement.

    Raises:
        NotSupportedError: the engine does not run this format, or cannot be told something that is wanted.
        UsageError: there is no such setting, or a value makes no sense.
    """
    if inputs.format not in lines.formats:
        raise NotSupportedError(
            text("{engine} does not run {format} files; it runs {formats}", engine=lines.title, format=inputs.format,
                 formats=", ".join(lines.formats))
        )  # fmt: skip
    if inputs.context < 1 or inputs.parallel < 1:
        raise UsageError(
            text("context is {context} and parallel is {parallel}; both must be at least 1", context=inputs.context,
                 parallel=inputs.parallel)
        )  # fmt: skip
    _check_words(inputs)
    given = Given(lines, inputs.settings)
    built = lines.build(inputs, given)
    return replace(built, notes=(*parts.where_files_are(inputs), *built.notes, *_common_notes(built, given, inputs)))


def _check_words(inputs: CommandInputs) -> None:
    """Names and paths go into files and onto command lines: a line break in one would write a line of its own."""
    words = {
        "model": inputs.model, "quantization": inputs.quantization, "path": inputs.path, "repo": inputs.repo,
        "file": inputs.file, "host": inputs.host, "mmproj": inputs.mmproj, "draft": inputs.draft,
    }  # fmt: skip
    words |= {f"lora {index}": f"{one.name}={one.path}" for index, one in enumerate(inputs.loras, 1)}
    for name, word in words.items():
        if word is not None and (not word.isprintable() or not word or word.startswith("-")):
            raise UsageError(
                text("{name} is {value}, which no command line can carry; rename it", name=name, value=ascii(word[:80]))
            )


def _common_notes(built: EngineCommand, given: Given, inputs: CommandInputs) -> tuple[Text, ...]:
    notes: list[Text] = []
    paths = {"mmproj": inputs.mmproj, "lora": inputs.loras}
    silent = [name for name in given.forecast_only() if not paths.get(name) and name != "engine_version"]
    if silent:
        notes.append(text("{names}: for the forecast only, no flag says it", names=", ".join(silent)))
    if given.word("engine_version") is not None:
        notes.append(
            text("engine_version={version} is for the forecast: the flags are those of the version named below",
                 version=given.word("engine_version"))
        )  # fmt: skip
    if built.key_variable is not None:
        notes.append(
            text("it answers whoever reaches {address}; to ask for a key, put one into the environment variable "
                 "{variable}", address=built.address, variable=built.key_variable)
        )  # fmt: skip
    return tuple(notes)
