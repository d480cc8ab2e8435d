"""Fuzz the reader of GGUF headers, and what is made of a header."""

from __future__ import annotations

import struct

import atheris
from harness import check_refusal, run

with atheris.instrument_imports(include=["ansambl.model_catalog", "ansambl.domain"]):
    from ansambl.model_catalog.gguf import GgufError, parse_header
    from ansambl.model_catalog.inspection import gguf_inspection, inspection_to_json
    from ansambl.model_catalog.numbers import NonsenseError

FAMILIES = ("llama", "gemma3", "gpt-oss", "qwen3next", "deepseek2", "mamba", "lfm2", "falcon-h1", "bert")
KEYS = (
    "block_count", "embedding_length", "attention.head_count", "attention.head_count_kv", "attention.key_length",
    "attention.value_length", "attention.sliding_window", "attention.sliding_window_pattern", "context_length",
    "feed_forward_length", "expert_count", "expert_used_count", "expert_feed_forward_length", "ssm.conv_kernel",
    "ssm.inner_size", "ssm.state_size", "ssm.group_count", "shortconv.l_cache", "attention.kv_lora_rank",
    "attention.key_length_mla", "rope.dimension_count", "full_attention_interval", "nextn_predict_layers",
    "attention.shared_kv_layers", "wkv.head_size", "vocab_size",
)  # fmt: skip
GENERAL = ("general.architecture", "general.alignment", "general.file_type", "general.name", "split.count",
           "tokenizer.ggml.tokens", "token_embd.weight", "output.weight", "blk.0.ffn_up_exps.weight")  # fmt: skip


def text(value: str) -> bytes:
    """A string of the format."""
    return struct.pack("<Q", len(value)) + value.encode()


def seed(family: str, keys: tuple[str, ...], version: int = 3) -> bytes:
    """A small valid file of a family with these keys."""
    fields = [text("general.architecture") + struct.pack("<I", 8) + text(family)]
    fields += [text(f"{family}.{key}") + struct.pack("<II", 4, 4) for key in keys]
    if "attention.head_count_kv" not in keys:
        fields.append(text(f"{family}.attention.head_count_kv") + struct.pack("<IIQ4I", 9, 4, 4, 2, 1, 2, 1))
        fields.append(text(f"{family}.attention.sliding_window_pattern") + struct.pack("<IIQ4?", 9, 7, 4, 1, 1, 1, 0))
    fields.append(text(f"{family}.rope.freqs") + struct.pack("<IIQ2f", 9, 6, 2, 1.0, 2.0))
    fields.append(text("tokenizer.ggml.tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"))
    places = (("token_embd.weight", 1, (4, 2)), ("blk.0.ffn_up_exps.weight", 2, (32, 2)), ("output.weight", 0, (4,)))
    tensors = b""
    for index, (name, kind, shape) in enumerate(places):
        tensors += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", one) for one in shape)
        tensors += struct.pack("<IQ", kind, index * 64)
    head = b"GGUF" + struct.pack("<IQQ", version, len(places), len(fields)) + b"".join(fields) + tensors
    return head + b"\0" * (-len(head) % 32 + 192)


def one_input(data: bytes) -> None:
    """Read `data` as a file that is whole."""
    try:
        found = gguf_inspection("fuzz.gguf", [("fuzz.gguf", len(data), parse_header(data))])
    except (GgufError, NonsenseError) as refusal:
        check_refusal(str(refusal))
        return
    inspection_to_json(found)
    for note in found.notes:
        check_refusal(note.render())
    if found.weights is not None and found.weights.total != found.tensor_bytes:
        message = "the weights are not the sum of the tensors"
        raise AssertionError(message)


if __name__ == "__main__":
    seeds = [seed(one, KEYS[:11]) for one in FAMILIES] + [seed(FAMILIES[0], (), 2)]
    seeds += [seed(one, KEYS) for one in FAMILIES]
    plain = tuple(one for one in KEYS if one not in {"attention.head_count_kv", "attention.sliding_window_pattern"})
    seeds += [seed(one, plain) for one in FAMILIES]
    run("gguf", one_input, seeds, (*KEYS, *GENERAL, *FAMILIES, "GGUF"))
