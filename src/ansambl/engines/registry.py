"""The engines by name: one line each. What an engine is stands in its own file under ``engines/adapters/``."""

from __future__ import annotations

from ansambl.domain.errors import UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import text
from ansambl.engines.adapter import EngineAdapter
from ansambl.foundation.registry import Registry, UnknownEntryError

ENGINES: Registry[EngineAdapter] = Registry({
    "llama.cpp-bundled": "ansambl.engines.adapters.llama_cpp_bundled:LlamaCppBundled",
    "openai-compatible": "ansambl.engines.adapters.openai_compatible:OpenAICompatible",
    "command": "ansambl.engines.adapters.custom_command:CustomCommand",
})  # fmt: skip
"""Every engine that Ansambl knows."""

ALIASES = {"auto": "llama.cpp-bundled", "llama.cpp": "llama.cpp-bundled"}
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
