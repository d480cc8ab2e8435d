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
from ansambl.model_catalog.config_json import decode_sampling, parse_config
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


NUMBERS = st.sampled_from([0, 1, 31, 32, 255, 2**31, 2**32 - 1, 2**63, 2**64 - 1]) | st.integers(0, 4096)


def packed_text(value):
    return struct.pack("<Q", len(value)) + value


@st.composite
def values(draw):
    """A value of any type of the format, or of one that it does not have."""
    kind = draw(st.integers(0, 13))
    if kind == 8:
        return kind, packed_text(draw(st.binary(max_size=12)))
    if kind == 9:
        inner, count = draw(st.sampled_from([0, 4, 5, 6, 7, 8, 9, 10, 99])), draw(st.integers(0, 9) | NUMBERS)
        return kind, struct.pack("<IQ", inner, count) + draw(st.binary(max_size=80))
    return kind, draw(st.binary(min_size=8, max_size=8))[
        : {0: 1, 1: 1, 7: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4}.get(kind, 8)
    ]


@st.composite
def headers(draw):
    """A header of right form whose fields and tensors are anything."""
    families = ["llama", "gemma3", "gpt-oss", "qwen3next", "deepseek2", "mamba2", "nemotron_h", "lfm2"]
    family = draw(st.sampled_from(families))
    keys = ["block_count", "embedding_length", "attention.head_count", "attention.head_count_kv", "context_length",
            "attention.sliding_window", "attention.sliding_window_pattern", "expert_count", "expert_used_count",
            "ssm.state_size", "ssm.inner_size", "ssm.conv_kernel", "full_attention_interval", "attention.kv_lora_rank",
            "attention.key_length_mla", "shortconv.l_cache", "nextn_predict_layers"]  # fmt: skip
    fields = [(b"general.architecture", 8, packed_text(family.encode()))]
    fields += [
        (f"{family}.{name}".encode(), 4, struct.pack("<I", draw(st.integers(1, 64))))
        for name in ("block_count", "embedding_length", "attention.head_count")
        if draw(st.integers(0, 9))
    ]
    known = {name for name, _, _ in fields}
    fields += [
        (f"{family}.{name}".encode(), *draw(values()))
        for name in draw(st.lists(st.sampled_from(keys), max_size=6, unique=True))
        if f"{family}.{name}".encode() not in known or not draw(st.integers(0, 9))
    ]
    general = st.sampled_from(["general.alignment", "general.name", "split.count"])
    fields += [(name.encode(), *draw(values())) for name in draw(st.lists(general, unique=True))]
    infos = []
    for name in draw(st.lists(st.sampled_from([b"token_embd.weight", b"output.weight", b"blk.0.ffn_up_exps.weight",
                                               b"blk.9999.x", b"blk.1.\xff\n"]), max_size=4)):  # fmt: skip
        shape = draw(st.lists(st.sampled_from([0, 1, 32, 64, 256]) | NUMBERS, max_size=5))
        kind, offset = draw(st.sampled_from([0, 1, 2, 8, 12, 39, 77])), draw(st.sampled_from([0, 32, 4096]) | NUMBERS)
        sizes = b"".join(struct.pack("<Q", one) for one in shape)
        infos.append(packed_text(name) + struct.pack("<I", len(shape)) + sizes + struct.pack("<IQ", kind, offset))
    content = b"GGUF" + struct.pack("<IQQ", draw(st.sampled_from([2, 3])), len(infos), len(fields))
    content += b"".join(packed_text(name) + struct.pack("<I", kind) + value for name, kind, value in fields)
    return content + b"".join(infos) + bytes(draw(st.sampled_from([0, 64, 100_000])))


@settings(max_examples=300, deadline=None)
@given(content=headers())
def test_headers_of_right_form(samples, content):
    path = samples / "formed.gguf"
    path.write_bytes(content)
    assert outcome(path).isprintable()


@settings(max_examples=150, deadline=None)
@given(
    table=st.dictionaries(
        st.sampled_from(["model.layers.0.x", "model.embed_tokens.weight", "a.experts.1.b"]) | st.text(max_size=6),
        st.fixed_dictionaries({
            "dtype": st.sampled_from(["F16", "U8", "F4", "NEW", "\x1b[2J"]) | st.text(max_size=20),
            "shape": st.lists(st.integers(-1, 9) | st.integers(), max_size=5),
            "data_offsets": st.lists(st.integers(-1, 64) | st.integers(), min_size=1, max_size=3),
        }),
        max_size=4,
    ),
    data=st.integers(0, 80),
)  # fmt: skip
def test_safetensors_headers_of_right_form(samples, table, data):
    content = json.dumps(table).encode()
    path = samples / "formed.safetensors"
    path.write_bytes(struct.pack("<Q", len(content)) + content + bytes(data))
    assert outcome(path).isprintable()


def test_advice_on_sampling_that_makes_no_sense_is_left_out():
    assert decode_sampling(b'{"temperature": 0.6, "top_p": 2, "top_k": -1, "min_p": true}') == {"temperature": 0.6}
    for content in (b"", b"[]", b"[" * 99_999, b'{"temperature": NaN}', b'{"temperature": 1e999}', b"\xff"):
        assert decode_sampling(content) == {}
