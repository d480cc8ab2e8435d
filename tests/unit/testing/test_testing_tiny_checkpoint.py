"""The tiny checkpoint is what our own readers take for a checkpoint, and the same for the same seed."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.lora.base_model import read_base
from ansambl.model_catalog.lora.fitting import check_fit
from ansambl.model_catalog.lora.peft import read_peft
from ansambl.testing import tiny_checkpoint as tiny


def digest(folder):
    return {one.name: hashlib.sha256(one.read_bytes()).hexdigest() for one in sorted(folder.iterdir())}


def tensors(path):
    """The tensors of a safetensors file, read by the letter of the format."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    assert length % 8 == 0
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    header.pop("__metadata__")
    assert max(one["data_offsets"][1] for one in header.values()) == len(data)
    return {
        name: np.frombuffer(data[one["data_offsets"][0] : one["data_offsets"][1]], "<f4").reshape(one["shape"])
        for name, one in header.items()
    }


def test_it_is_a_checkpoint(tmp_path):
    folder = tiny.write_tiny_checkpoint(tmp_path / "tiny")
    found = open_checkpoint(str(folder), tmp_path)
    assert found.format == "safetensors"
    assert found.architecture == "LlamaForCausalLM"
    assert found.layers == tiny.LAYERS
    assert found.context == tiny.CONTEXT


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    one, same = (tiny.write_tiny_checkpoint(tmp_path / name, seed=3) for name in ("one", "same"))
    other = tiny.write_tiny_checkpoint(tmp_path / "other", seed=4)
    assert digest(one) == digest(same)
    assert digest(one)["model.safetensors"] != digest(other)["model.safetensors"]
    assert digest(one)["tokenizer.json"] == digest(other)["tokenizer.json"]


def test_it_can_only_say_printable_ascii(tmp_path):
    """The output row of every other token, that of the end among them, is zero."""
    folder = tiny.write_tiny_checkpoint(tmp_path / "tiny")
    rows = tensors(folder / "model.safetensors")["lm_head.weight"]
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) == len(rows) == json.loads((folder / "config.json").read_text())["vocab_size"]
    assert sorted(vocabulary.values()) == list(range(len(rows)))
    said = [word for word, at in vocabulary.items() if rows[at].any()]
    assert len(said) > 200
    assert all(word.replace("Ġ", " ").isascii() and word.replace("Ġ", " ").isprintable() for word in said)
    assert not rows[vocabulary["<|im_end|>"]].any()


@pytest.mark.parametrize("targets", [tiny.LORA_TARGETS, ("gate_proj", "up_proj", "down_proj")])
def test_its_adapters_fit_it(tmp_path, targets):
    folder = tiny.write_tiny_checkpoint(tmp_path / "tiny")
    lora = tiny.write_tiny_lora(tmp_path / "lora", rank=4, targets=targets)
    adapter = read_peft(lora)
    assert adapter.rank == 4
    assert len(check_fit(adapter, read_base(folder, "safetensors"))) == len(targets) * tiny.LAYERS
    assert len(tensors(lora / "adapter_model.safetensors")) == 2 * len(targets) * tiny.LAYERS
