"""The engines by name: one line each. What an engine is stands in its own file under ``engines/adapters/``."""

from __future__ import annotations

from functools import cache

from ansambl.domain.errors import UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import text
from ansambl.engines.adapter import EngineAdapter
from ansambl.engines.command_lines import CommandInputs, EngineCommand, EngineLines, write_command
from ansambl.foundation.registry import Registry, UnknownEntryError

ENGINES: Registry[EngineAdapter] = Registry({
    "llama.cpp-bundled": "ansambl.engines.adapters.llama_cpp_bundled:LlamaCppBundled",
    "llama.cpp": "ansambl.engines.adapters.llama_cpp:LlamaCpp",
    "openai-compatible": "ansambl.engines.adapters.openai_compatible:OpenAICompatible",
    "sglang": "ansambl.engines.adapters.sglang:SGLang",
    "exllamav3": "ansambl.engines.adapters.exllamav3:TabbyAPI",
    "vllm": "ansambl.engines.adapters.vllm:Vllm",
    "ollama": "ansambl.engines.adapters.ollama:Ollama",
    "lm_studio": "ansambl.engines.adapters.lm_studio:LMStudio",
    "textgen": "ansambl.engines.adapters.textgen:TextGen",
    "mlx": "ansambl.engines.adapters.mlx:MLX",
    "tgi": "ansambl.engines.adapters.tgi:TGI",
    "transformers": "ansambl.engines.adapters.transformers_serve:TransformersServe",
    "command": "ansambl.engines.adapters.custom_command:CustomCommand",
})  # fmt: skip
"""Every engine that Ansambl knows."""

SAME_ENGINE = {"llama-server": "llama.cpp", "tabbyapi": "exllamav3", "lmstudio": "lm_studio"}
"""Other names of the same engines."""

ALIASES = {"auto": "llama.cpp-bundled", **SAME_ENGINE}
"""What else a configuration may write; "auto" is the engine that runs a local GGUF file on any machine."""


def engine_names() -> tuple[str, ...]:
    """Every name that a configuration may write, aliases first."""
    return (*ALIASES, *ENGINES)


def get_engine(name: str) -> EngineAdapter:
    """The adapter of the engine called `name` (or an alias).

    Raises:
        UsageError: there is none; names the nearest one.
    """
    try:
        return ENGINES.get(ALIASES.get(name, name))
    except UnknownEntryError:
        near = nearest_names(name, engine_names(), 1)
        raise UsageError(
            text("the engine '{name}' is unknown; the nearest one is {nearest}", name=name,
                 nearest=near[0] if near else next(iter(ALIASES)))
        ) from None  # fmt: skip


@cache
def engine_lines() -> dict[str, EngineLines]:
    """Every engine whose command can be written, by name."""
    found = {name: ENGINES.get(name).lines for name in ENGINES}
    return {name: lines for name, lines in found.items() if lines is not None}


def get_lines(engine: str) -> EngineLines:
    """How the command of the engine of this name is written.

    Raises:
        UsageError: there is none; the nearest names are offered.
    """
    name = engine.strip().lower()
    known = engine_lines()
    found = known.get(SAME_ENGINE.get(name, name))
    if found is None:
        near = nearest_names(name, known)
        raise UsageError(
            text("the engine '{name}' is unknown; the nearest ones are {nearest}", name=engine[:40],
                 nearest=", ".join(near or sorted(known)))
        )  # fmt: skip
    return found


def extra_settings(engine: str) -> frozenset[str]:
    """The settings of an engine that no memory forecast knows: they go onto the command line only.

    Raises:
        UsageError: there is no such engine.
    """
    return frozenset(one.name for one in get_lines(engine).settings if one.extra)


def command_line(engine: str, inputs: CommandInputs) -> EngineCommand:
    """How the engine called `engine` is started for this placement.

    Raises:
        NotSupportedError: the engine does not run this format, or cannot be told something that is wanted.
        UsageError: there is no such engine or setting, or a value makes no sense.
    """
    return write_command(get_lines(engine), inputs)
