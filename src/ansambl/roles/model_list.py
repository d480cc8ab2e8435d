"""The entries of ``GET /v1/models``: what can be asked for, what it can do, and whether it is in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansambl.domain.chat_template import KWARGS, Place, TemplateFacts
from ansambl.domain.model_details import ModelDetails
from ansambl.roles.availability import Availabilities, Availability, models_of, targets_of
from ansambl.roles.records import EnsembleTarget, ModelTarget, RoleCatalog, RoleTarget, Target

_WRITTEN = frozenset({Place.HEAD, Place.TAIL, Place.MOVES})
_THINKING = (f"{KWARGS}.enable_thinking", f"{KWARGS}.thinking", "reasoning_effort")

Templates = Callable[[str], TemplateFacts | None]
Details = Callable[[str], ModelDetails | None]


def entries(
    catalog: RoleCatalog, created: int, translate: Callable[[str], str], templates: Templates, details: Details,
    available: Availabilities | None,
) -> list[dict[str, Any]]:  # fmt: skip
    """One object for each name. `created` is in seconds since the epoch, `translate` chooses the language.

    ``info.meta`` is what Open WebUI reads: ``builtin_tools`` false keeps its own tools, some 26 kB, out of every
    prompt, ``usage`` true makes it ask for the usage of a stream. ``status`` is as llama.cpp's router tells it (a
    green dot in Open WebUI), with our ``reason``; ``context_length`` and ``architecture`` are as OpenRouter tells
    them, ``max_model_len`` as vLLM does.
    """
    found = []
    for target in targets_of(catalog):
        known = _facts_of(target, catalog, templates, details)
        availability = available.of(target) if available is not None else None
        found.append(_entry(target, created, translate, known, availability))
    return found


def abilities(facts: TemplateFacts | None, details: ModelDetails | None) -> list[str]:
    """What a model can do, in Ollama's words, as far as is known without asking it."""
    if details is not None and (details.embeds or details.reranks):
        return ["embedding"] if details.embeds else ["rerank"]
    found = ["completion"]
    fields = facts.fields if facts is not None else {}
    if fields.get("tools") in _WRITTEN:
        found.append("tools")
    if details is not None and details.vision:
        found.append("vision")
    if any(fields.get(one) in _WRITTEN for one in _THINKING):
        found.append("thinking")
    return found


def kind_of(target: Target) -> str:
    """What kind of thing a name means."""
    if isinstance(target, RoleTarget):
        return "role"
    if isinstance(target, EnsembleTarget):
        return "ensemble"
    return "model" if target.lora is None else "lora"


def status_object(availability: Availability, translate: Callable[[str], str]) -> dict[str, Any]:
    """Whether it is in memory, as llama.cpp's router tells it: what failed is ``unloaded`` there, and ``failed``."""
    found: dict[str, Any] = {"value": availability.presence.value}
    if availability.failed:
        found["failed"] = True
    if availability.reason is not None:
        found["reason"] = availability.reason.render(translate)
    return found


def _facts_of(
    target: Target, catalog: RoleCatalog, templates: Templates, details: Details
) -> tuple[TemplateFacts | None, ModelDetails | None]:
    models = [] if isinstance(target, EnsembleTarget) else models_of(target, catalog)
    return (templates(models[0]), details(models[0])) if models else (None, None)


def _entry(
    target: Target, created: int, translate: Callable[[str], str],
    known: tuple[TemplateFacts | None, ModelDetails | None], availability: Availability | None,
) -> dict[str, Any]:  # fmt: skip
    facts, details = known
    can = abilities(facts, details)
    vision = "vision" in can
    written = "" if isinstance(target, ModelTarget) and target.lora is not None else _described(target)
    description = translate(written) if written else ""
    found: dict[str, Any] = {
        "id": target.name,
        "object": "model",
        "created": created,
        "owned_by": "ansambl",
        "name": target.name,
        "description": description,
        "kind": kind_of(target),
        "aliases": _aliases(target),
    }
    if isinstance(target, ModelTarget) and target.lora is not None:
        found |= {"parent": target.model.name, "root": target.model.name}
    if availability is not None:
        found["status"] = status_object(availability, translate)
        found["models"] = list(availability.models)
        trained = details.context if details is not None else None
        context = availability.context or trained
        if context is not None:
            found |= {"context_length": context, "max_model_len": context}
    return found | {
        "capabilities": can,
        "architecture": {
            "input_modalities": ["text", "image"] if vision else ["text"],
            "output_modalities": ["embeddings"] if "embedding" in can else ["text"],
        },
        "info": {
            "meta": {
                "description": description,
                "capabilities": {"builtin_tools": False, "usage": True, "vision": vision},
            }
        },
    }


def _described(target: Target) -> str:
    if isinstance(target, RoleTarget):
        return target.role.description
    return target.ensemble.description if isinstance(target, EnsembleTarget) else target.model.description


def _aliases(target: Target) -> list[str]:
    if isinstance(target, RoleTarget):
        return list(target.role.aliases)
    if isinstance(target, EnsembleTarget):
        return list(target.ensemble.aliases)
    return list(target.model.aliases) if target.lora is None else []
