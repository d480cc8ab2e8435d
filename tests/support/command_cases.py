"""Placements whose commands are kept in golden files: the same for every engine as far as it can run them.

An engine's folder of recorded data holds ``commands.json``: `tuned`, settings of its own for two GPUs; where it needs
them, what holds `always` and `more` placements by name; and the golden `commands` by the names of the placements.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansambl.domain.catalog import ModelKind
from ansambl.engines.command_lines import CommandInputs, EngineCommand, Lora
from ansambl.engines.registry import engine_lines

DATA = Path(__file__).resolve().parents[1] / "data" / "engines"
AWKWARD_PATH = "/models/it's my модель/model file.gguf"
GPT_OSS = {"model": "gpt-oss-120b", "quantization": "MXFP4", "layers": 36, "kind": ModelKind.REASONING}
QWEN = {"model": "qwen3.5-27b", "quantization": "Q4_K_M", "layers": 64, "kind": ModelKind.REASONING, "vision": True}


def recorded(engine: str) -> dict[str, Any]:
    """What an engine's ``commands.json`` holds."""
    found: dict[str, Any] = json.loads((DATA / engine / "commands.json").read_text(encoding="utf-8"))
    return found


def read_inputs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of `CommandInputs` as JSON has them, with the types that they have in the record."""
    found = dict(values)
    if "gpus" in found:
        found["gpus"] = tuple(found["gpus"])
    if "loras" in found:
        found["loras"] = tuple(Lora(**one) for one in found["loras"])
    if "kind" in found:
        found["kind"] = ModelKind(found["kind"])
    return found


def tuned(engine: str) -> dict[str, Any]:
    """Settings of the engine's own."""
    return read_inputs(recorded(engine)["tuned"])


def always(engine: str) -> dict[str, Any]:
    """What every placement of the engine has: some run without GPUs only."""
    return read_inputs(recorded(engine).get("always", {}))


def cases(engine: str) -> dict[str, CommandInputs]:
    """The placements of one engine by name."""
    form = engine_lines()[engine].formats[0]
    same = {"format": form, "gpus": (0,), **always(engine)}
    path = AWKWARD_PATH if form == "gguf" else AWKWARD_PATH.removesuffix(".gguf")
    found: dict[str, dict[str, Any]] = {
        "local file": {**QWEN, "context": 8192, "path": path, **same},
        "two at once from a hub": {
            **GPT_OSS, "context": 32768, "parallel": 2, "repo": "owner/gpt-oss-120b", **same,
        },
        "no GPU, nobody knows where the files are": {**QWEN, "context": 1000, "parallel": 3, **same, "gpus": ()},
        "own settings": {
            **GPT_OSS, "context": 16384, "repo": "owner/gpt-oss-120b", **same, "gpus": (1, 2), **always(engine),
            **tuned(engine),
        },
        **{name: {"format": form, **read_inputs(one)} for name, one in recorded(engine).get("more", {}).items()},
    }  # fmt: skip
    return {name: CommandInputs(**values) for name, values in found.items()}


def document(command: EngineCommand) -> dict[str, Any]:
    """A command as a golden file keeps it."""
    return {
        "environment": dict(command.environment),
        "files": {name: content.splitlines() for name, content in command.files.items()},
        "lines": [list(line) for line in command.lines],
        "serving": command.serving,
        "address": command.address,
        "key_variable": command.key_variable,
        "notes": [str(one) for one in command.notes],
    }
