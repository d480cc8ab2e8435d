"""Safetensors headers, indexes and folders, honest and hostile."""

import json
import struct

import pytest
from model_files import write_safetensors

from ansambl.domain.errors import CheckpointError
from ansambl.model_catalog.inspection import inspect_checkpoint, inspection_to_json
from ansambl.model_catalog.safetensors import SafetensorsError, read_index, read_tensors

CONFIG = {
    "model_type": "mixtral", "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 32, "vocab_size": 10, "num_local_experts": 4,
    "num_experts_per_tok": 1, "max_position_embeddings": 128,
}  # fmt: skip
FIRST = {
    "model.embed_tokens.weight": ("BF16", (10, 16), 320),
    "model.layers.0.self_attn.q_proj.weight": ("BF16", (16, 16), 512),
}
SECOND = {
    "model.layers.1.block_sparse_moe.experts.3.w1.weight": ("F8_E4M3", (32, 16), 512),
    "lm_head.weight": ("F32", (10, 16), 640), "model.norm.weight": ("F32", (16,), 64),
}  # fmt: skip


def folder(tmp_path, config=CONFIG, index=None):
    write_safetensors(tmp_path / "model-00001-of-00002.safetensors", FIRST)
    write_safetensors(tmp_path / "model-00002-of-00002.safetensors", SECOND)
    named = {
        name: f"model-0000{part}-of-00002.safetensors" for part, some in ((1, FIRST), (2, SECOND)) for name in some
    }
    table = {"metadata": {"total_size": 2048}, "weight_map": named} if index is None else index
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(table))
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path


def test_bytes_are_exact_by_type_and_place(tmp_path):
    found = inspect_checkpoint(folder(tmp_path))
    assert (found.tensor_bytes, found.tensors, found.files) == (2048, 5, 2)
    assert found.by_type == {"BF16": 832, "F32": 704, "F8_E4M3": 512}
    weights = found.weights
    assert (weights.embedding, weights.output, weights.other, weights.experts) == (320, 640, 64, 512)
    assert weights.layers[0].dense == 512
    assert weights.total == 2048
    numbers = 160 + 256 + 512 + 160 + 16
    assert (found.architecture.parameters, found.architecture.active) == (numbers, numbers - 512 * 3 // 4)
    assert json.loads(json.dumps(inspection_to_json(found)))["architecture"]["kv_elements_per_token"] == 2 * 16


def test_an_index_without_weights_is_a_description(tmp_path):
    folder(tmp_path)
    for one in tmp_path.glob("*.safetensors"):
        one.unlink()
    found = inspect_checkpoint(tmp_path)
    assert (found.tensor_bytes, found.files, found.weights) == (2048, 0, None)
    assert "weights are not here" in found.notes[0].render()


def test_what_is_missing_is_named(tmp_path):
    folder(tmp_path, config=None)
    found = inspect_checkpoint(tmp_path)
    assert found.architecture is None
    assert "no config.json" in found.notes[0].render()
    (tmp_path / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-00002-of-00002.safetensors is missing"):
        inspect_checkpoint(tmp_path)
    write_safetensors(tmp_path / "model-00002-of-00002.safetensors", {"other": ("F32", (1,), 4)})
    with pytest.raises(CheckpointError, match=r"'lm_head.weight' of the index is in no file"):
        inspect_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "", "a\\b", "a\0b"])
def test_an_index_stays_in_its_folder(tmp_path, name):
    with pytest.raises(CheckpointError, match="outside its folder"):
        inspect_checkpoint(folder(tmp_path, index={"weight_map": {"a": name}}))


def entry(**change):
    one = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | change
    return json.dumps({"a": one}).encode()


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"", "cut off inside its header"),
        (b"{", "cut off inside its header"),
        (b"not json", "not as the format wants it"),
        (b"[" * 100_000, "not as the format wants it"),
        (b'{"a":' + b'{"b":' * 50_000, "not as the format wants it"),
        (entry(shape=[-1]), "not as the format wants it"),
        (entry(shape=[2**60]), "not as the format wants it"),
        (entry(shape=[1] * 99), "not as the format wants it"),
        (entry(data_offsets=[0]), "not as the format wants it"),
        (entry(data_offsets=[8, 0]), "does not fit its shape"),
        (entry(shape=[3]), "does not fit its shape"),
        (entry(data_offsets=[0, 80]), "truncated: the tensor 'a' ends at byte 80 of 8"),
    ],
)
def test_hostile_headers(tmp_path, header, words):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 8)
    with pytest.raises(SafetensorsError, match=words):
        read_tensors(path)


def test_lengths_are_checked_before_anything_is_read(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**63) + b"{}")
    with pytest.raises(SafetensorsError, match="cut off"):
        read_tensors(path)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", 9 << 20))
        file.truncate(10 << 20)
    with pytest.raises(SafetensorsError, match="more than any model needs"):
        read_tensors(path)
    index = tmp_path / "model.safetensors.index.json"
    with index.open("wb") as file:
        file.truncate(33 << 20)
    with pytest.raises(SafetensorsError, match="larger than any model needs"):
        read_index(index)
