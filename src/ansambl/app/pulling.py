"""Which files of a repository are wanted here: for the engine that is named, or for what this machine would run."""

from __future__ import annotations

import os
import re

from ansambl.domain.engine import Installed, Surroundings
from ansambl.engines.registry import get_engine, get_lines
from ansambl.foundation.paths import DataPaths
from ansambl.hardware import inventory
from ansambl.model_catalog.catalog import find_model
from ansambl.model_catalog.download import Suiting

_GGUF = "gguf"
_IS_GGUF = re.compile(r"(?:UD-)?(?:I?Q|TQ)\d.*", re.IGNORECASE)
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
    folders = bool(machine.gpus) and any(isinstance(get_engine(one).detect(around), Installed) for one in _FOR_FOLDERS)
    return Suiting(("safetensors", _GGUF) if folders else (_GGUF, "safetensors"))


def hub_name(model: str, wanted: Suiting) -> str:
    """What the hub calls it: a catalog's name, perhaps with a quantization, stands for a repository in that format.

    Raises:
        UnknownNameError: the catalog has no such model; the nearest names are offered.
    """
    if "/" in model:
        return model
    name, colon, quantization = model.partition(":")
    card = find_model(name)
    repo = card.repo
    copies = [one for one in card.downloads if one.format == _GGUF]
    if copies and (wanted.formats[:1] == (_GGUF,) or _IS_GGUF.fullmatch(quantization)):
        exact = card.download_of(_GGUF, quantization) if quantization else None
        repo = (exact or copies[0]).repo
    return f"{repo}{colon}{quantization}"
