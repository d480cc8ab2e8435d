"""Which files of a repository are wanted here: for the engine that is named, or for what this machine would run."""

from __future__ import annotations

import os

from ansambl.domain.engine import Installed, Surroundings
from ansambl.engines.registry import ENGINES, get_engine, get_lines
from ansambl.foundation.paths import DataPaths
from ansambl.hardware import inventory
from ansambl.model_catalog.download import Suiting

_FOR_FOLDERS = ("vllm", "sglang")
"""Engines for which safetensors are the better choice on a machine with a GPU."""


def suiting(engine: str | None, paths: DataPaths) -> Suiting:
    """The formats that are wanted, the best first.

    Without a name: safetensors before GGUF where there is a GPU and an engine for them is installed, else GGUF first.

    Raises:
        UsageError: there is no engine of that name.
    """
    if engine is not None:
        lines = get_lines(engine)
        return Suiting(lines.formats, lines.title)
    machine = inventory.detect()
    around = Surroundings(machine=machine, engines_folder=str(paths.engines), search_path=os.environ.get("PATH"))
    folders = bool(machine.gpus) and any(
        isinstance(get_engine(one).detect(around), Installed) for one in _FOR_FOLDERS if one in ENGINES
    )
    return Suiting(("safetensors", "gguf") if folders else ("gguf", "safetensors"))
