"""Ollama's lists of models and its vectors: what ``/api/tags``, ``/api/ps``, ``/api/show`` and ``/api/embed`` answer.

Pure. What is not known is empty or 0 there, as Ollama itself leaves it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ansambl.dialects.ollama.answers import moment
from ansambl.domain.model_details import NOTHING_KNOWN, ModelDetails

VERSION = "0.13.0"
"""Which Ollama's API is spoken. Clients compare it with what they need (GitHub Copilot in VS Code wants 0.6.4)."""

TAG = ":latest"
"""What stands behind a name without a tag in Ollama's lists."""

_NEVER = 32_503_593_600.0
"""What is not unloaded by itself is unloaded then: the end of the year 2999, which all programs can reckon with."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One name in a list. `entry` is that of ``GET /v1/models``, `details` are those of its model, as far as known.

    `memory` are the bytes that its model holds, and `on_gpu` those of them on GPUs; `rests_at` is when it will be
    unloaded, in seconds since the epoch, None where it stays. `sampling` is what applies where the client says nothing.
    """

    entry: Mapping[str, Any]
    details: ModelDetails = NOTHING_KNOWN
    memory: int = 0
    on_gpu: int = 0
    rests_at: float | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its name, with a tag."""
        name: str = self.entry["id"]
        return name if ":" in name else name + TAG


def tags_object(listed: Sequence[Listed]) -> dict[str, Any]:
    """The answer of ``/api/tags``: everything that can be asked for."""
    return {"models": [_tagged(one) for one in listed]}


def ps_object(listed: Sequence[Listed]) -> dict[str, Any]:
    """The answer of ``/api/ps``: what is in memory now."""
    found = []
    for one in listed:
        tagged = _tagged(one)
        del tagged["modified_at"]
        found.append(
            tagged
            | {
                "size": one.memory or one.details.size or 0,
                "expires_at": moment(min(one.rests_at or _NEVER, _NEVER)),
                "size_vram": one.on_gpu,
                "context_length": one.entry.get("context_length") or 0,
            }
        )
    return {"models": found}


def show_object(one: Listed) -> dict[str, Any]:
    """The answer of ``/api/show``: what one name is, and what it can do."""
    entry, details = one.entry, one.details
    return {
        "modelfile": "",
        "parameters": "\n".join(f"{name:<30} {value}" for name, value in sorted(one.sampling.items())),
        "template": "",
        "license": "",
        "details": _details(one),
        "model_info": _info(details, entry.get("context_length")),
        "capabilities": entry["capabilities"],
        "modified_at": moment(entry["created"]),
    }


def version_object(own: str) -> dict[str, Any]:
    """The answer of ``/api/version``; `own` is Ansambl's version."""
    return {"version": VERSION, "ansambl": own}


def _tagged(one: Listed) -> dict[str, Any]:
    return {
        "name": one.name,
        "model": one.name,
        "modified_at": moment(one.entry["created"]),
        "size": one.details.size or 0,
        "digest": _digest(one),
        "details": _details(one),
    }


def _digest(one: Listed) -> str:
    """What tells one thing of a name from another one: Ollama's is that of its files, ours of what is told of it."""
    told = [one.entry["id"], one.entry["kind"], one.entry.get("models"), one.details]
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _details(one: Listed) -> dict[str, Any]:
    details, family = one.details, one.details.architecture
    return {
        "parent_model": one.entry.get("parent", ""),
        "format": details.format,
        "family": family,
        "families": [family] if family else [],
        "parameter_size": _count(details.parameters),
        "quantization_level": details.quantization,
    }


def _info(details: ModelDetails, context: int | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if details.architecture:
        found["general.architecture"] = details.architecture
        if context or details.context:
            # Clients take it for what they may send, so it is what a request may hold and not what could be trained.
            found[f"{details.architecture}.context_length"] = context or details.context
    if details.parameters:
        found["general.parameter_count"] = details.parameters
    return found


def _count(parameters: int | None) -> str:
    if not parameters:
        return ""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= size:
            return f"{parameters / size:.1f}{unit}"
    return str(parameters)
