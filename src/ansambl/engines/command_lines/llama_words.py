"""The words that llama.cpp's own server and what is built like it take: KV types, flash attention, cells."""

from __future__ import annotations

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
