"""What single engines do not take of a LoRA adapter that others load. Pure."""

from __future__ import annotations

from ansambl.domain.errors import NotSupportedError
from ansambl.domain.text import text
from ansambl.model_catalog.lora.records import LoraFile

VLLM = "vllm"
VLLM_LARGEST_RANK = 512
"""The largest ``max_lora_rank`` that vLLM 0.32 knows (vllm/config/lora.py: 1, 8, 16, 32, 64, 128, 256, 320 and 512)."""


def refuse_over_limits(engine: str, adapter: LoraFile) -> None:
    """Refuse what the engine of this name would not load.

    Source: vLLM 0.32, `PEFTHelper.validate_legal`. llama.cpp b11434 has no such limits.

    Raises:
        NotSupportedError: the adapter's rank is too large, or it is an activated one.
    """
    if engine != VLLM:
        return
    if adapter.invocation:
        raise NotSupportedError(
            text("vLLM does not load activated LoRA adapters (aLoRA); run the model as a GGUF file with llama.cpp")
        )
    if adapter.rank > VLLM_LARGEST_RANK:
        raise NotSupportedError(
            text("the LoRA adapter has rank {rank}, and vLLM loads at most {limit}; give one of a smaller rank",
                 rank=adapter.rank, limit=VLLM_LARGEST_RANK)
        )  # fmt: skip
