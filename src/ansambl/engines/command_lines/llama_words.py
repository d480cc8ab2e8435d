"""The words that llama.cpp's own server and what is built like it take: KV types, flash attention, cells."""

from __future__ import annotations

from ansambl.domain.catalog import ModelKind
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.engines.command_lines import parts
from ansambl.engines.command_lines.records import CommandInputs
from ansambl.engines.command_lines.settings import Given

_TITLE = "llama.cpp"
PORT = 8080
"""Where llama-server listens when nothing is said."""

KV_TYPES = frozenset({"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"})
"""What ``--cache-type-k`` takes."""

QUANTIZED = frozenset({"q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"})
"""A V cache of these types needs flash attention."""


STEP = 512
"""Tokens that are computed at once when nothing is said."""


def kind_words(inputs: CommandInputs, given: Given) -> list[str]:
    """What a model that makes vectors or scores needs: its endpoint, and room to read a whole text in one step.

    Such a model sees a text as a whole, so what is longer than one step is refused by llama.cpp.
    """
    if inputs.kind not in (ModelKind.EMBEDDING, ModelKind.RERANKER):
        return []
    words = ["--embeddings" if inputs.kind is ModelKind.EMBEDDING else "--reranking"]
    if inputs.context > STEP and given.whole("n_ubatch") is None:
        words += [*(["--batch-size", str(inputs.context)] if given.whole("n_batch") is None else []),
                  "--ubatch-size", str(inputs.context)]  # fmt: skip
    return words


def check_cache_beside_loras(inputs: CommandInputs, given: Given) -> None:
    """Refuse the cache of finished prompts beside LoRA adapters: it gives what one of them read to another.

    Raises:
        UsageError: both are wanted.
    """
    if inputs.loras and given.whole("prompt_cache"):
        raise UsageError(
            text("prompt_cache goes wrong beside LoRA adapters (llama.cpp gives what one adapter read to another); set "
                 "it to 0")
        )  # fmt: skip


def total_context(inputs: CommandInputs) -> int:
    """The cells of all slots together."""
    return inputs.context * inputs.parallel


def kv_words(inputs: CommandInputs, given: Given) -> list[str]:
    """KV types and flash attention, which a quantized V cache needs."""
    key, value = parts.key_and_value(inputs.kv_type, KV_TYPES, _TITLE)
    flash = given.switch("flash_attention")
    if value in QUANTIZED and flash is False:
        raise UsageError(
            text("flash_attention=off contradicts the KV type {kv_type}: llama.cpp quantizes V only with flash "
                 "attention; leave one of them out", kv_type=value)
        )  # fmt: skip
    words = []
    if flash is not None or value in QUANTIZED:
        words += ["--flash-attn", "off" if flash is False else "on"]
    if key != "f16":
        words += ["--cache-type-k", key]
    if value != "f16":
        words += ["--cache-type-v", value]
    return words
