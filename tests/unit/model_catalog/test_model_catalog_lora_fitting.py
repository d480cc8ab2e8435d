"""Whether a LoRA adapter fits a base model, and what a conversion writes."""

from __future__ import annotations

import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import lora_models
import numpy as np
import pytest
from model_files import write_gguf, write_safetensors

from ansambl.domain.errors import CheckpointError, NotSupportedError, UsageError
from ansambl.domain.units import Bytes
from ansambl.model_catalog.gguf import read_header
from ansambl.model_catalog.lora.base_model import BaseModel, Shape, read_base
from ansambl.model_catalog.lora.convert import convert_to_gguf
from ansambl.model_catalog.lora.fitting import check_fit, other_name
from ansambl.model_catalog.lora.gguf_adapter import read_gguf
from ansambl.model_catalog.lora.peft import read_peft
from ansambl.model_catalog.lora.records import LoraFile, LoraPair
from ansambl.testing import tiny_checkpoint as tiny

Q = "model.layers.0.self_attn.q_proj"


def adapter(*pairs: LoraPair, form: str = "peft", **more: Any) -> LoraFile:
    return LoraFile(form, "x", "x", Bytes(1), pairs, 8.0, "id", **more)


def pair(module: str = Q, inputs: int = 16, outputs: int = 32, **more: Any) -> LoraPair:
    return LoraPair(module, inputs, outputs, 4, 2.0, **more)


def gguf_base(**weights: tuple[int, ...]) -> BaseModel:
    shapes = {"blk.0.attn_q": (16, 32), "token_embd": (16, 100), "output": (16, 100)}
    shapes |= {name.replace("__", "."): shape for name, shape in weights.items()}
    return BaseModel("gguf", "llama", 2, 16, {name: Shape(*shape) for name, shape in shapes.items()}, ((4, 2), (4, 2)))


FOLDER = BaseModel("safetensors", "llama", 2, 16, {"layers.0.self_attn.q_proj": Shape(16, 32), "lm_head": Shape(16, 9),
                                                   "embed_tokens": Shape(16, 9)})  # fmt: skip


def test_an_adapter_for_this_model_fits():
    assert check_fit(adapter(pair()), gguf_base()) == {Q: "blk.0.attn_q"}
    assert check_fit(adapter(pair("blk.0.attn_q"), form="gguf", architecture="llama"), gguf_base())
    assert check_fit(adapter(pair()), FOLDER) == {Q: "layers.0.self_attn.q_proj"}
    table = pair("model.embed_tokens", 9, 16, embedding=True)
    assert check_fit(adapter(table), FOLDER) == {"model.embed_tokens": "embed_tokens"}


@pytest.mark.parametrize(
    ("found", "base", "words"),
    [
        (adapter(pair(inputs=24)), gguf_base(), "blk.0.attn_q has 24 inputs there, 16 here"),
        (adapter(pair(outputs=64)), gguf_base(), "blk.0.attn_q has 64 outputs there, 32 here"),
        (adapter(pair(inputs=24)), FOLDER, "layers.0.self_attn.q_proj has 24 inputs there, 16 here"),
        (adapter(pair("model.layers.5.self_attn.q_proj")), gguf_base(), "it changes layer 6, the model has 2 layers"),
        (adapter(pair("model.layers.1.self_attn.q_proj")), gguf_base(), "the model has no blk.1.attn_q"),
        (adapter(pair("blk.0.attn_q"), form="gguf", architecture="qwen2"), gguf_base(),
         "it is for the architecture qwen2, the model is of llama"),
        (adapter(pair("blk.0.attn_q", experts=8), form="gguf", architecture="llama"), gguf_base(),
         "has 8 experts there, 1 here"),
        (adapter(pair(), base="owner/other"), dataclasses.replace(FOLDER, weights={"lm_head": Shape(1, 1)}),
         "the model has no layers.0.self_attn.q_proj; use it with owner/other"),
    ],
)  # fmt: skip
def test_an_adapter_for_another_model_is_refused_with_the_first_difference(found, base, words):
    with pytest.raises(UsageError) as refusal:
        check_fit(found, base)
    assert str(refusal.value).startswith("this LoRA adapter was made for another model: ")
    assert words in str(refusal.value)


def test_a_format_that_the_engine_of_the_checkpoint_does_not_read_is_refused():
    with pytest.raises(NotSupportedError, match="this model is no GGUF file"):
        check_fit(adapter(pair("blk.0.attn_q"), form="gguf", architecture="llama"), FOLDER)


@pytest.mark.parametrize(
    ("module", "family", "words"),
    [
        ("model.layers.0.mlp.experts.1.up_proj", "llama", r"cannot convert to GGUF for the architecture llama"),
        (
            Q,
            "mamba",
            r"cannot convert LoRA adapters of the architecture mamba .* only of llama, .*convert_lora_to_gguf",
        ),
        ("model.embed_tokens", "llama", "table of tokens"),
    ],
)
def test_what_cannot_be_converted_names_another_way(module, family, words):
    with pytest.raises(NotSupportedError, match=words):
        check_fit(
            adapter(pair(module, embedding=module.endswith("tokens"))),
            dataclasses.replace(gguf_base(), architecture=family),
        )


def test_a_table_of_tokens_in_gguf_fits_only_where_the_output_is_another_one():
    table = adapter(pair("token_embd", 100, 16, embedding=True), form="gguf", architecture="llama")
    assert check_fit(table, gguf_base())
    tied = gguf_base()
    tied = dataclasses.replace(tied, weights={name: one for name, one in tied.weights.items() if name != "output"})
    assert tied.tied
    with pytest.raises(NotSupportedError, match="table of tokens"):
        check_fit(table, tied)


def test_two_modules_that_mean_the_same_weight_are_refused():
    both = adapter(pair(), pair("language_model." + Q))
    with pytest.raises(UsageError, match=r"changes blk\.0\.attn_q twice"):
        check_fit(both, gguf_base())


def test_a_description_alone_tells_the_width():
    bare = dataclasses.replace(FOLDER, weights={})
    assert check_fit(adapter(pair()), bare)
    with pytest.raises(UsageError, match="has 24 inputs there, 16 here"):
        check_fit(adapter(pair(inputs=24)), bare)


@pytest.mark.parametrize(
    ("base", "names", "warned"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", ["/models/SmolLM2-135M-Instruct.Q4_K_M.gguf"], False),
        ("meta-llama/Llama-3.1-8B", ["other/Llama_3.1-8B-GGUF:Q4_K_M"], False),
        ("meta-llama/Llama-3.1-8B", ["Qwen/Qwen3-8B"], True),
        ("/data/checkpoints/final/", ["Qwen/Qwen3-8B", "main"], True),
        (None, ["anything"], False),
    ],
)
def test_a_base_of_another_name_is_told_of(base, names, warned):
    assert (other_name(adapter(pair(), base=base), names) is not None) is warned


@pytest.fixture(scope="module")
def tensors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    return lora_models.read_tensors(
        tiny.write_tiny_checkpoint(tmp_path_factory.mktemp("tiny")) / "model.safetensors"
    )  # fmt: skip


def test_both_formats_of_one_model_are_read_alike(tmp_path, tensors):
    folder = read_base(tiny.write_tiny_checkpoint(tmp_path / "tiny"), "safetensors")
    file = read_base(lora_models.write_as_gguf(tmp_path / "tiny.gguf", tensors), "gguf")
    assert (folder.layers, folder.hidden, folder.tied) == (file.layers, file.hidden, file.tied)
    assert folder.weights["layers.1.mlp.up_proj"] == file.weights["blk.1.ffn_up"] == Shape(tiny.HIDDEN, tiny.INNER)
    assert file.heads == ((tiny.HEADS, tiny.KV_HEADS),) * tiny.LAYERS
    found = read_peft(tiny.write_tiny_lora(tmp_path / "lora"))
    assert check_fit(found, folder)
    assert check_fit(found, file)


def test_packed_weights_are_known_without_their_shape(tmp_path):
    folder = tiny.write_tiny_checkpoint(tmp_path / "tiny")
    (folder / "model.safetensors").unlink()
    write_safetensors(
        folder / "model.safetensors", {"model.layers.0.self_attn.q_proj.qweight": ("I32", (16, 16), 1024)}
    )
    base = read_base(folder, "safetensors")
    assert base.weights == {"layers.0.self_attn.q_proj": Shape(None, None)}
    assert check_fit(adapter(pair(inputs=128)), base)


def test_a_base_without_a_description_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read_base(tmp_path, "safetensors")


def numbers(path: Path) -> dict[str, np.ndarray]:
    header = read_header(path)
    content = path.read_bytes()
    start = header.expected_size - max(one.offset + (one.size or 0) for one in header.table)
    return {
        one.name: np.frombuffer(content, "<f4", one.elements, start + one.offset).reshape(one.shape[::-1])
        for one in header.table
    }  # fmt: skip


def converted(tmp_path: Path, tensors: Any, folder: Path) -> Path:
    base = lora_models.write_as_gguf(tmp_path / "base.gguf", tensors)
    convert_to_gguf(read_peft(folder), read_base(base, "gguf"), tmp_path / "out.gguf")
    return tmp_path / "out.gguf"


def test_a_conversion_keeps_each_number(tmp_path, tensors):
    folder = lora_models.write_peft(tmp_path / "one", targets=("v_proj", "q_proj"), alora_invocation_tokens=[3, 4])
    out = converted(tmp_path, tensors, folder)
    source, found = lora_models.read_tensors(folder / "adapter_model.safetensors"), numbers(out)
    prefix = "base_model.model.model.layers.1.self_attn"
    assert np.array_equal(found["blk.1.attn_v.weight.lora_a"], source[f"{prefix}.v_proj.lora_A.weight"])
    assert np.array_equal(found["blk.1.attn_v.weight.lora_b"], source[f"{prefix}.v_proj.lora_B.weight"])
    assert np.array_equal(
        found["blk.1.attn_q.weight.lora_b"],
        lora_models.neighbours(source[f"{prefix}.q_proj.lora_B.weight"], tiny.HEADS),
    )
    read = read_gguf(out)
    assert (read.alpha, read.rank, read.invocation, read.base) == (16.0, 8, (3, 4), "somebody/tiny")
    assert read_header(out).fields["general.architecture"] == "llama"


def test_a_scale_that_llama_cpp_does_not_know_is_carried_into_the_numbers(tmp_path, tensors):
    folder = lora_models.write_peft(
        tmp_path / "one", targets=("v_proj", "o_proj"), ranks={"v_proj": 2}, use_rslora=True, alpha=5.0
    )
    out = converted(tmp_path, tensors, folder)
    source, found, alpha = lora_models.read_tensors(folder / "adapter_model.safetensors"), numbers(out), None
    alpha = read_gguf(out).alpha
    for name, module, rank in (("attn_v", "v_proj", 2), ("attn_output", "o_proj", 8)):
        b = source[f"base_model.model.model.layers.0.self_attn.{module}.lora_B.weight"]
        # llama.cpp multiplies with alpha by the rank, PEFT here with 5 by its root.
        assert found[f"blk.0.{name}.weight.lora_b"] * alpha / rank == pytest.approx(b * 5.0 / rank**0.5, rel=1e-5)


def test_half_precision_is_read_as_it_is(tmp_path, tensors):
    folder = lora_models.write_peft(tmp_path / "one", targets=("v_proj",))
    source = lora_models.read_tensors(folder / "adapter_model.safetensors")
    header, content = {}, b""
    for index, (name, one) in enumerate(source.items()):
        # The upper half of a 32-bit float is a bfloat16.
        packed = (one.view("<u4") >> 16).astype("<u2").tobytes() if index % 2 else one.astype("<f2").tobytes()
        header[name] = {"dtype": "BF16" if index % 2 else "F16", "shape": one.shape,
                        "data_offsets": [len(content), len(content) + len(packed)]}  # fmt: skip
        content += packed
    words = json.dumps(header).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(words)) + words + content)
    found = numbers(converted(tmp_path, tensors, folder))
    for layer in range(tiny.LAYERS):
        for part in ("A", "B"):
            expected = source[f"base_model.model.model.layers.{layer}.self_attn.v_proj.lora_{part}.weight"]
            assert found[f"blk.{layer}.attn_v.weight.lora_{part.lower()}"] == pytest.approx(
                expected, rel=1e-2, abs=1e-4
            )


def test_numbers_that_are_none_are_refused(tmp_path, tensors):
    folder = lora_models.write_peft(tmp_path / "one", targets=("v_proj",))
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<f", float("nan")))
    with pytest.raises(UsageError, match="NaN or infinite"):
        converted(tmp_path, tensors, folder)


def test_an_adapter_that_changes_nothing_is_refused(tmp_path, tensors):
    with pytest.raises(NotSupportedError, match="its alpha is 0"):
        converted(tmp_path, tensors, lora_models.write_peft(tmp_path / "one", targets=("v_proj",), alpha=0.0))


def test_heads_that_a_file_does_not_tell_are_not_guessed(tmp_path, tensors):
    base = read_base(lora_models.write_as_gguf(tmp_path / "base.gguf", tensors), "gguf")
    found = read_peft(lora_models.write_peft(tmp_path / "one", targets=("q_proj",)))
    for heads, words in (((), "does not say how many heads"), (((3, 3),) * 2, "not 3 heads of an even width")):
        with pytest.raises(NotSupportedError, match=words):
            convert_to_gguf(found, dataclasses.replace(base, heads=heads), tmp_path / "out.gguf")
        assert not (tmp_path / "out.gguf").exists()


def test_only_peft_for_a_gguf_model_is_converted(tmp_path):
    write_gguf(tmp_path / "m.gguf", {})
    with pytest.raises(ValueError, match="only a PEFT adapter"):
        convert_to_gguf(adapter(pair()), FOLDER, tmp_path / "out.gguf")
