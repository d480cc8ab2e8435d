"""The exact command of every engine for one placement: pure, without files, processes or faces.

Each engine is one module with one line in `ENGINE_LINES`. Adapters build what they start on the same modules.
"""

from __future__ import annotations

from dataclasses import replace

from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import Text, text
from ansambl.engines.command_lines import (
    exllamav3,
    llama_cpp,
    llama_cpp_bundled,
    lm_studio,
    ollama,
    parts,
    sglang,
    textgen,
    tgi,
    transformers_serve,
    vllm,
)
from ansambl.engines.command_lines.placements import inputs_of
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand, Lora
from ansambl.engines.command_lines.settings import EngineLines, Given, Kind, Setting

ENGINE_LINES: dict[str, EngineLines] = {
    one.name: one
    for one in (
        vllm.LINES,
        sglang.LINES,
        tgi.LINES,
        transformers_serve.LINES,
        llama_cpp.LINES,
        llama_cpp_bundled.LINES,
        ollama.LINES,
        lm_studio.LINES,
        exllamav3.LINES,
        textgen.LINES,
    )
}
"""Every engine whose command can be written, by name."""

SAME_ENGINE = {"tabbyapi": "exllamav3", "llama-server": "llama.cpp", "lmstudio": "lm_studio"}
"""Other names of the same engines."""

__all__ = [
    "ENGINE_LINES", "SAME_ENGINE", "CommandInputs", "EngineCommand", "EngineLines", "Kind", "Lora", "Setting",
    "command_line", "extra_settings", "get_lines", "inputs_of",
]  # fmt: skip


def get_lines(engine: str) -> EngineLines:
    """The engine of this name.

    Raises:
        UsageError: there is none; the nearest names are offered.
    """
    name = engine.strip().lower()
    found = ENGINE_LINES.get(SAME_ENGINE.get(name, name))
    if found is None:
        near = nearest_names(name, ENGINE_LINES)
        raise UsageError(
            text("the engine '{name}' is unknown; the nearest ones are {nearest}", name=engine[:40],
                 nearest=", ".join(near or sorted(ENGINE_LINES)))
        )  # fmt: skip
    return found


def extra_settings(engine: str) -> frozenset[str]:
    """The settings of an engine that no memory forecast knows: they go onto the command line only.

    Raises:
        UsageError: there is no such engine.
    """
    return frozenset(one.name for one in get_lines(engine).settings if one.extra)


def command_line(engine: str, inputs: CommandInputs) -> EngineCommand:
    """How `engine` is started for this placement.

    Raises:
        NotSupportedError: the engine does not run this format, or cannot be told something that is wanted.
        UsageError: there is no such engine or setting, or a value makes no sense.
    """
    lines = get_lines(engine)
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
