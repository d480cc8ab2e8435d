"""What single engines do not take of a LoRA adapter that others load. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansambl.domain.engine import EngineTraits
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.text import text
from ansambl.model_catalog.lora.records import LoraFile

VLLM = "vllm"
VLLM_LARGEST_RANK = 512
"""The largest ``max_lora_rank`` that vLLM 0.32 knows (vllm/config/lora.py: 1, 8, 16, 32, 64, 128, 256, 320 and 512)."""

ACTIVATED = frozenset({"llama.cpp", "llama.cpp-bundled"})
"""The engines that know activated LoRA (llama.cpp); another would apply it to the whole prompt."""


def refuse_over_limits(traits: EngineTraits, adapter: LoraFile) -> None:
    """Refuse what the engine of these traits would not load, or would apply wrongly.

    Source: vLLM 0.32, `PEFTHelper.validate_legal`. llama.cpp b11434 has no such limits.

    Raises:
        NotSupportedError: the adapter's rank is too large, or it is an activated one.
    """
    if adapter.invocation and traits.name not in ACTIVATED:
        raise NotSupportedError(
            text("{engine} does not load activated LoRA adapters (aLoRA); run the model as a GGUF file with llama.cpp",
                 engine=traits.title)
        )  # fmt: skip
    if traits.name == VLLM and adapter.rank > VLLM_LARGEST_RANK:
        raise NotSupportedError(
            text("the LoRA adapter has rank {rank}, and {engine} loads at most {limit}; give one of a smaller rank",
                 rank=adapter.rank, engine=traits.title, limit=VLLM_LARGEST_RANK)
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
