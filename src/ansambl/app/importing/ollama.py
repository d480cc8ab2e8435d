"""Ollama's models and Modelfiles as a configuration of ours; the weights stay where Ollama keeps them.

A Modelfile's words and parameters are those of Ollama's documentation (docs/modelfile.md).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansambl.app.importing.draft import Draft
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import text
from ansambl.foundation.paths import expanded
from ansambl.model_catalog.foreign_stores import OLLAMA, full_name, ollama_folders, ollama_models, read_text
from ansambl.model_catalog.printable import printable

DEFAULT = "default"
"""Stands for the folder that Ollama itself would use."""

_MAX_FILE, _MAX_NUMBER = 1 << 20, 1 << 24
_INSTRUCTION = re.compile(
    r"^\s*(FROM|PARAMETER|TEMPLATE|SYSTEM|ADAPTER|LICENSE|MESSAGE|REQUIRES|RENDERER|PARSER)[ \t]+", re.IGNORECASE
)
_SAMPLING = {"temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed", "presence_penalty",
             "frequency_penalty"}  # fmt: skip
_LIMITS = {"temperature": (0, 2), "top_p": (0.0001, 1), "top_k": (0, _MAX_NUMBER), "min_p": (0, 1),
           "repeat_penalty": (0.0001, 100), "seed": (0, 2**63 - 1), "presence_penalty": (-2, 2),
           "frequency_penalty": (-2, 2)}  # fmt: skip
_WHOLE = {"top_k", "seed", "num_ctx", "num_predict", "num_thread", "num_gpu", "num_batch"}


@dataclass
class Modelfile:
    """What a Modelfile (or the layers of a model in Ollama's store) says; a parameter may have several values."""

    source: str = ""
    system: str = ""
    parameters: dict[str, list[str]] = field(default_factory=dict)
    adapters: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def import_ollama(path: str, environment: Mapping[str, str]) -> Draft:
    """Read Ollama's models folder (``default``: the one that Ollama would use), or a Modelfile.

    Raises:
        ConfigurationError: there is neither, or it cannot be read.
    """
    if path == DEFAULT:
        folders = ollama_folders(environment)
        if not folders:
            raise ConfigurationError(
                text("Ollama's models were not found here; give the path of its models folder, or of a Modelfile")
            )
        return _of_stores(folders)
    place = expanded(path)
    if (place / "manifests").is_dir():
        return _of_stores((place,))
    if place.is_file():
        return _of_modelfile(place.absolute())
    raise ConfigurationError(
        text("{path} is neither Ollama's models folder (which holds 'manifests') nor a Modelfile; give one of them",
             path=path)
    )  # fmt: skip


def _of_stores(folders: tuple[Path, ...]) -> Draft:
    draft = Draft("Ollama")
    seen: set[str] = set()
    for folder in folders:
        for one in ollama_models(folder):
            if one.name in seen:
                continue
            seen.add(one.name)
            said = Modelfile(f"{OLLAMA}{one.name}", read_text(one.system).strip(), _parameters(read_text(one.settings)),
                             [str(path) for path in one.adapters])  # fmt: skip
            _add(draft, one.name, said, mmproj=str(one.projector) if one.projector else None)
    return draft


def _parameters(content: str) -> dict[str, list[str]]:
    try:
        table = json.loads(content or "{}")
    except (ValueError, RecursionError):
        return {}
    found: dict[str, list[str]] = {}
    for name, value in table.items() if isinstance(table, dict) else ():
        values = value if isinstance(value, list) else [value]
        found[str(name)] = [str(one) for one in values if isinstance(one, (str, int, float))]
    return found


def _of_modelfile(path: Path) -> Draft:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE).decode("utf-8")
    except (OSError, UnicodeDecodeError) as failure:
        raise ConfigurationError(
            text("{path} cannot be read ({reason}); give the path of a Modelfile", path=str(path),
                 reason=printable(getattr(failure, "strerror", None) or failure, 120))
        ) from failure  # fmt: skip
    said = read_modelfile(content)
    if not said.source:
        raise ConfigurationError(
            text("{path} has no line 'FROM', so it is no Modelfile; give another file", path=str(path))
        )
    draft = Draft(f"Ollama ({path.name})")
    name = path.suffix.lstrip(".") if path.stem.lower() == "modelfile" and path.suffix else ""
    beside = path.parent / expanded(said.source)
    is_file = said.source.startswith((".", "/", "~")) or beside.exists()
    name = name or (Path(said.source).stem if is_file else said.source)
    said.source = str(beside) if is_file else f"{OLLAMA}{full_name(said.source)}"
    _add(draft, name, said)
    return draft


def read_modelfile(content: str) -> Modelfile:
    """What a Modelfile says; a text in three quotes may have several lines."""
    found, lines, at = Modelfile(), content.splitlines(), 0
    while at < len(lines):
        match = _INSTRUCTION.match(lines[at])
        if match is None:
            at += 1
            continue
        word, value = match[1].upper(), lines[at][match.end() :].strip()
        at += 1
        for quote in ('"""', '"'):
            if value.startswith(quote) and not (len(value) >= 2 * len(quote) and value.endswith(quote)):
                while at < len(lines) and not lines[at].rstrip().endswith(quote):
                    value, at = f"{value}\n{lines[at]}", at + 1
                if at < len(lines):
                    value, at = f"{value}\n{lines[at].rstrip()}", at + 1
                break
        _say(found, word, value)
    return found


def _say(found: Modelfile, word: str, value: str) -> None:
    if word == "FROM":
        found.source = _unquoted(value)
    elif word == "SYSTEM":
        found.system = _unquoted(value).strip()
    elif word == "ADAPTER":
        found.adapters.append(_unquoted(value))
    elif word == "PARAMETER":
        name, _, rest = value.partition(" ")
        found.parameters.setdefault(name.lower(), []).append(_unquoted(rest.strip()))
    elif word not in found.others:
        found.others.append(word)


def _unquoted(value: str) -> str:
    for quote in ('"""', '"'):
        if len(value) >= 2 * len(quote) and value.startswith(quote) and value.endswith(quote):
            return value[len(quote) : -len(quote)]
    return value


def _add(draft: Draft, name: str, said: Modelfile, mmproj: str | None = None) -> None:
    """A model for the weights and, where it says more than they do, a role of the model's own name."""
    plain = name.removesuffix(":latest")
    model: dict[str, Any] = {"checkpoint": said.source, **({"mmproj": mmproj} if mmproj else {})}
    role = _role(draft, plain, said, model)
    for path in said.adapters:
        draft.leave(f"{plain}: ADAPTER", text("add it with: ansambl lora add NAME {path} --model M", path=path))
    for word in said.others:
        if word in {"TEMPLATE", "RENDERER", "PARSER"}:
            draft.leave(f"{plain}: {word}", text("the template inside the model's own file is used"))
        elif word == "MESSAGE":
            draft.leave(f"{plain}: MESSAGE", text("write earlier messages into the role's instruction, or send them"))
    if not role:
        named = draft.model_name(plain)
        if aliases := draft.aliases(plain, [name], named):
            model["aliases"] = aliases
        draft.models[named] = model
        return
    chosen = draft.model_name(plain)
    draft.roles[chosen] = role
    weights = draft.model_name(f"{plain}-weights")
    draft.models[weights] = model
    role["model"] = weights
    if aliases := draft.aliases(plain, [name], chosen):
        role["aliases"] = aliases


def _role(draft: Draft, name: str, said: Modelfile, model: dict[str, Any]) -> dict[str, Any]:
    """The role's keys; those of the weights go into `model`. Stop texts alone make no role: the template has them."""
    role: dict[str, Any] = {"instruction": said.system} if said.system else {}
    stop: list[str] = []
    for key, values in said.parameters.items():
        number = _number(key, values[-1]) if values else None
        if key == "stop":
            stop = [one for one in dict.fromkeys(values) if one]
        elif key in _SAMPLING and number is not None and _LIMITS[key][0] <= number <= _LIMITS[key][1]:
            role[key] = number
        elif key == "num_ctx" and number is not None and 128 <= number <= _MAX_NUMBER:
            model["context"] = number
        elif key == "num_predict" and number is not None and 0 < number <= _MAX_NUMBER:
            role["max_tokens"] = number
        elif key == "num_thread" and number is not None and 0 < number <= 1024:
            model["threads"] = number
        else:
            draft.leave(f"{name}: PARAMETER {key}", text("there is no such setting, or the value means a default"))
    if role and stop:
        role["stop"] = stop
    elif stop:
        draft.leave(f"{name}: PARAMETER stop", text("the template inside the model's own file ends its answers"))
    return role


def _number(key: str, value: str) -> int | float | None:
    try:
        number = float(value)
        return int(number) if key in _WHOLE else number
    except (ValueError, OverflowError):
        return None
