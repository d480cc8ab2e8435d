"""What an engine, or the settings of a model, does not take of a LoRA adapter that others load. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansambl.domain.engine import EngineTraits
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.text import text
from ansambl.model_catalog.lora.records import LoraFile


def refuse_over_limits(traits: EngineTraits, adapter: LoraFile) -> None:
    """Refuse what the engine of these traits would not load, or would apply wrongly.

    Raises:
        NotSupportedError: the adapter's rank is too large, or it is an activated one.
    """
    if adapter.invocation and not traits.activated_loras:
        raise NotSupportedError(
            text("{engine} does not load activated LoRA adapters (aLoRA); run the model as a GGUF file with llama.cpp",
                 engine=traits.title)
        )  # fmt: skip
    limit = traits.largest_lora_rank
    if limit is not None and adapter.rank > limit:
        raise NotSupportedError(
            text("the LoRA adapter has rank {rank}, and {engine} loads at most {limit}; give one of a smaller rank",
                 rank=adapter.rank, engine=traits.title, limit=limit)
        )  # fmt: skip


def refuse_over_settings(model: str, settings: Mapping[str, Any], adapter: LoraFile) -> None:
    """Refuse an adapter that the settings of its own model leave no room for.

    Raises:
        UsageError: its rank is above ``max_lora_rank`` (of vLLM and SGLang).
    """
    most = str(settings.get("max_lora_rank", ""))
    if most.isdecimal() and adapter.rank > int(most):
        raise UsageError(
            text("the LoRA adapter has rank {rank}, and models.{model}.settings.max_lora_rank is {most}; raise it, or "
                 "leave it out", rank=adapter.rank, model=model, most=most)
        )  # fmt: skip
