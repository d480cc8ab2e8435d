"""No file, however damaged, does more than raise the one error for it: no crash, no hang, no great memory."""

import contextlib
import json
import os
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import write_gguf, write_safetensors

from ansambl.domain.errors import CheckpointError
from ansambl.model_catalog.config_json import parse_config
from ansambl.model_catalog.inspection import inspect_checkpoint, inspection_to_json
from ansambl.model_catalog.numbers import MissingError, NonsenseError

MEMORY = 64 << 20
CONFIG = {
    "model_type": "gemma3_text", "num_hidden_layers": 6, "hidden_size": 64, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 100, "sliding_window": 32, "head_dim": 16,
}  # fmt: skip


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    family = "gpt-oss"
    write_gguf(
        folder / "whole.gguf",
        {
            "general.architecture": family, f"{family}.block_count": 4, f"{family}.embedding_length": 64,
            f"{family}.attention.head_count": 4, f"{family}.attention.head_count_kv": [2, 2, 1, 1],
            f"{family}.attention.sliding_window": 128, f"{family}.context_length": 256, "general.file_type": 38,
            f"{family}.expert_count": 4, f"{family}.expert_used_count": 2, "tokenizer.ggml.tokens": ["a", "b", "c"],
        },
        {"token_embd.weight": ("F16", (64, 3)), "blk.0.ffn_up_exps.weight": ("MXFP4", (64, 32, 4))},
    )  # fmt: skip
    write_safetensors(folder / "whole.safetensors", {"model.layers.0.mlp.up_proj.weight": ("F16", (4, 8), 64)})
    return folder


def outcome(path):
    """What reading it gave; every other error than the one for bad files fails the test."""
    tracemalloc.start()
    try:
        return json.dumps(inspection_to_json(inspect_checkpoint(path)))
    except CheckpointError as refusal:
        return str(refusal)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(["whole.gguf", "whole.safetensors"]), data=st.data())
def test_flipped_and_cut_files(samples, name, data):
    content = bytearray((samples / name).read_bytes())
    for _ in range(data.draw(st.integers(0, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        value = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
        run = data.draw(st.sampled_from([1, 1, 4, 8]))
        content[position : position + run] = bytes([value]) * len(content[position : position + run])
    length = data.draw(st.just(len(content)) | st.integers(0, len(content)))
    path = samples / f"fuzzed.{name}"
    path.write_bytes(content[:length])
    assert outcome(path)


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=400), start=st.sampled_from([b"", b"GGUF\x03\0\0\0", b"GGUF\x02\0\0\0"]))
def test_any_bytes(samples, content, start):
    for suffix in ("gguf", "safetensors"):
        path = samples / f"random.{suffix}"
        path.write_bytes(start + content)
        assert outcome(path)


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
KEYS = [
    *CONFIG, "layer_types", "kv_lora_rank", "qk_rope_head_dim", "num_experts", "num_experts_per_tok", "text_config",
    "full_attention_interval", "sliding_window_pattern", "linear_num_value_heads", "linear_num_key_heads",
    "vision_config",
    "quantization_config", "hybrid_override_pattern", "num_kv_shared_layers", "max_position_embeddings", "dtype",
    "use_sliding_window", "max_window_layers", "tie_word_embeddings", "first_k_dense_replace", "n_shared_experts",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(change=st.dictionaries(st.sampled_from(KEYS), junk | st.integers(-1, 1 << 24), max_size=5))
def test_any_configuration(change):
    with contextlib.suppress(NonsenseError, MissingError):
        found = parse_config(CONFIG | change)
        assert 0 < found.architecture.layer_count <= 4096
        assert min(one.key_width for one in found.architecture.layers) >= 0


def test_what_is_no_file_is_not_opened(tmp_path):
    pipe = tmp_path / "pipe.gguf"
    os.mkfifo(pipe)
    assert "neither a file nor a folder" in outcome(pipe)
    os.mkfifo(tmp_path / "config.json")
    write_safetensors(tmp_path / "whole.safetensors", {"a": ("F16", (4, 8), 64)})
    assert "no config.json" in outcome(tmp_path)


def test_a_header_of_empty_strings_ends_soon(tmp_path):
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as file:
        file.write(b"GGUF" + struct.pack("<IQQ", 3, 0, 5) + struct.pack("<QBIIQ", 1, 97, 9, 8, 300_000))
        file.truncate(1 << 30)
    # After the list come fields without a name, of type 0: the file is zeros.
    assert "says '' twice" in outcome(path)
    with path.open("r+b") as file:
        file.seek(8 + 16)
        file.write(struct.pack("<QBIIQ", 1, 97, 9, 8, 3_000_001))
    assert "too long" in outcome(path)


def test_many_lists_of_numbers_are_not_all_kept(tmp_path):
    path = tmp_path / "lists.gguf"
    one = b"".join(struct.pack("<Q4sIIQ", 4, b"%04x" % index, 9, 0, 4096) + b"\1" * 4096 for index in range(3000))
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 3000) + one)
    assert "'general.architecture'" in outcome(path)
