"""Reading LoRA adapters: what sound files say, and what is refused in one line."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lora_models
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_files import gguf_head, write_gguf, write_safetensors

from ansambl.domain.errors import AnsamblError, NotSupportedError, UsageError
from ansambl.model_catalog.lora.gguf_adapter import read_gguf
from ansambl.model_catalog.lora.peft import read_peft, split_name
from ansambl.model_catalog.lora.reading import read_adapter
from ansambl.model_catalog.lora.records import LoraFile

Q = "base_model.model.model.layers.0.self_attn.q_proj"
PAIR = {f"{Q}.lora_A.weight": ("F32", (4, 16), 256), f"{Q}.lora_B.weight": ("F32", (8, 4), 128)}
ADAPTER = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora",
           "adapter.lora.alpha": 8.0}  # fmt: skip
GGUF_PAIR = {"blk.0.attn_q.weight.lora_a": ("F32", (16, 4)), "blk.0.attn_q.weight.lora_b": ("F32", (4, 8))}


def peft(folder: Path, tensors: Any = None, content: bytes | None = None, **config: Any) -> Path:
    folder.mkdir(exist_ok=True, parents=True)
    write_safetensors(folder / "adapter_model.safetensors", PAIR if tensors is None else tensors)
    described = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, **config}
    (folder / "adapter_config.json").write_bytes(json.dumps(described).encode() if content is None else content)
    return folder


def test_a_peft_adapter_says_its_rank_its_targets_and_its_base(tmp_path):
    folder = peft(
        tmp_path / "one", base_model_name_or_path="owner/base", task_type="CAUSAL_LM", alora_invocation_tokens=[5, 6]
    )
    found = read_adapter(folder)
    assert (found.format, found.rank, found.targets, found.base) == ("peft", 4, ("q_proj",), "owner/base")
    assert (found.task, found.invocation, found.alpha) == ("CAUSAL_LM", (5, 6), 8.0)
    (pair,) = found.pairs
    assert (pair.module, pair.inputs, pair.outputs, pair.scale) == ("model.layers.0.self_attn.q_proj", 16, 8, 2.0)
    assert found.size == sum(one.stat().st_size for one in folder.iterdir())
    assert read_adapter(folder / "adapter_config.json") == found
    assert read_adapter(folder, hashed=False).identity == ""


def test_each_change_of_an_adapter_is_another_identity(tmp_path):
    first = read_peft(peft(tmp_path / "a")).identity
    assert read_peft(peft(tmp_path / "b")).identity == first
    assert read_peft(peft(tmp_path / "c", lora_alpha=9)).identity != first
    weights = tmp_path / "b" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert read_peft(tmp_path / "b").identity != first


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 8 / 4),
        ({"use_rslora": True}, 8 / math.sqrt(4)),
        ({"alpha_pattern": {"q_proj": 6.0}}, 6 / 4),
        ({"alpha_pattern": {"layers.0.self_attn.q_proj": 6.0}}, 6 / 4),
        ({"alpha_pattern": {"^model.layers.0.self_attn.q_proj": 6.0}}, 6 / 4),
        # Neither the end of a word nor, with ^, the end of a name.
        ({"alpha_pattern": {"proj": 6.0, "^self_attn.q_proj": 6.0}}, 8 / 4),
        ({"r": 64, "rank_pattern": {"q_proj": 4}}, 8 / 4),
        ({"r": 4, "rank_pattern": {r".*\.1\..*": 64}}, 8 / 4),
    ],
)
def test_the_scale_follows_peft(tmp_path, config, scale):
    assert read_peft(peft(tmp_path / "one", **config)).pairs[0].scale == pytest.approx(scale)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"peft_type": "IA3"}, "kind IA3"), ({"use_dora": True}, "DoRA"),
        ({"init_lora_weights": "pissa"}, "begun with pissa"), ({"lora_bias": True}, "'lora_bias'"),
        ({"bias": "all"}, "'bias'"), ({"use_qalora": True}, "'use_qalora'"),
        ({"layer_replication": [[0, 1]]}, "'layer_replication'"), ({"use_bdlora": {"nblocks": 2}}, "'use_bdlora'"),
        ({"invocation_string": "<go>"}, "alora_invocation_tokens"),
        ({"alpha_pattern": {"(a+)+$": 6.0}}, r"regular expression '\(a\+\)\+\$'"),
    ],
)  # fmt: skip
def test_a_kind_that_engines_do_not_load_is_refused_by_name(tmp_path, config, words):
    with pytest.raises(NotSupportedError, match=words):
        read_peft(peft(tmp_path / "one", **config))


@pytest.mark.parametrize("init", ["gaussian", "EVA", True, False, None])
def test_a_beginning_that_leaves_the_base_alone_is_taken(tmp_path, init):
    content = json.dumps({"r": 4, "init_lora_weights": init} if init is not None else {"r": 4}).encode()
    assert read_peft(peft(tmp_path / "one", content=content)).rank == 4


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * 500_000, "not as PEFT writes it"), (b"{}" + b" " * (1 << 20), "larger than any adapter"),
        (b'{"r": -1}', "not as PEFT"), (b'{"r": 1e999}', "not as PEFT"), (b'{"r": 99999999999}', "not as PEFT"),
        (b'{"lora_alpha": NaN}', "not as PEFT"), (b'{"r": 5}', "has rank 4, and adapter_config.json says 5"),
        (b'{"alora_invocation_tokens": [-1]}', "not as PEFT"), (b'{"rank_pattern": {"q_proj": 0}}', "not as PEFT"),
        (b'\xff{"r": 4}', "not as PEFT"),
    ],
)  # fmt: skip
def test_a_description_that_makes_no_sense_is_refused(tmp_path, content, words):
    with pytest.raises(UsageError, match=words) as refusal:
        read_peft(peft(tmp_path / "one", content=content))
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize(
    ("tensors", "kind", "words"),
    [
        ({}, UsageError, "no matrices"),
        ({f"{Q}.lora_A.weight": PAIR[f"{Q}.lora_A.weight"]}, UsageError, "one of the two matrices for model.layers.0"),
        ({**PAIR, f"{Q}.lora_B.weight": ("F32", (8, 5), 160)}, UsageError, "ranks 4 and 5"),
        ({**PAIR, f"{Q}.lora_A.weight": ("F32", (64,), 256)}, UsageError, "not two tables"),
        ({**PAIR, f"{Q}.lora_A.weight": ("I8", (4, 16), 64)}, NotSupportedError, "type I8"),
        ({**PAIR, f"{Q}.lora_magnitude_vector": ("F32", (8,), 32)}, NotSupportedError, "whole weight"),
        ({**PAIR, "base_model.model.lm_head.weight": ("F32", (4, 4), 64)}, NotSupportedError, "whole weight"),
        ({**PAIR, Q.removeprefix("base_model.model.") + ".lora_A.weight": ("F32", (4, 16), 256)}, UsageError,
         "two matrices"),
        ({f"{Q}.lora_A.weight": ("F32", (0, 16), 0), f"{Q}.lora_B.weight": ("F32", (8, 0), 0)}, UsageError,
         "not two tables"),
    ],
)  # fmt: skip
def test_matrices_that_make_no_sense_are_refused(tmp_path, tensors, kind, words):
    with pytest.raises(kind, match=words):
        read_peft(peft(tmp_path / "one", tensors))


def test_copies_of_the_base_are_passed_over_and_told_of(tmp_path):
    found = read_peft(
        peft(tmp_path / "one", {**PAIR, "base_model.model.lm_head.base_layer.weight": ("F32", (4, 4), 64)})
    )
    assert len(found.pairs) == 1
    assert "a copy of the base model's table" in found.notes[0].render()


def test_pickled_weights_are_not_opened(tmp_path):
    folder = peft(tmp_path / "one")
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(NotSupportedError, match="can hold program code"):
        read_adapter(folder)
    with pytest.raises(NotSupportedError, match="can hold program code"):
        read_adapter(folder / "adapter_model.bin")


def test_what_is_no_adapter_is_refused(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        read_adapter(tmp_path / "nothing")
    with pytest.raises(UsageError, match=r"no adapter_config\.json and no GGUF file"):
        read_adapter(tmp_path)
    write_gguf(tmp_path / "model.gguf", {"general.architecture": "llama"})
    with pytest.raises(UsageError, match="but no adapter"):
        read_adapter(tmp_path)
    write_gguf(tmp_path / "second.gguf", {})
    with pytest.raises(UsageError, match="several GGUF files"):
        read_adapter(tmp_path)
    (tmp_path / "text.gguf").write_text("no GGUF file at all, only text")
    with pytest.raises(UsageError, match="does not begin with 'GGUF'"):
        read_adapter(tmp_path / "text.gguf")


def test_a_gguf_adapter_says_the_same(tmp_path):
    path = tmp_path / "one.gguf"
    write_gguf(path, {**ADAPTER, "adapter.alora.invocation_tokens": [7, 8], "general.name": "owner base"}, GGUF_PAIR)
    found = read_adapter(path)
    assert (found.format, found.rank, found.alpha, found.architecture) == ("gguf", 4, 8.0, "llama")
    assert (found.targets, found.invocation, found.base) == (("attn_q",), (7, 8), "owner base")
    (pair,) = found.pairs
    assert (pair.module, pair.inputs, pair.outputs, pair.rank, pair.scale) == ("blk.0.attn_q", 16, 8, 4, 2.0)


def test_a_gguf_adapter_without_an_alpha_is_added_as_it_is(tmp_path):
    write_gguf(tmp_path / "one.gguf", {**ADAPTER, "adapter.lora.alpha": 0.0}, GGUF_PAIR)
    assert read_gguf(tmp_path / "one.gguf").pairs[0].scale == 1.0


def test_norms_in_a_gguf_adapter_are_told_of(tmp_path):
    write_gguf(tmp_path / "one.gguf", ADAPTER, {**GGUF_PAIR, "blk.0.attn_norm.weight": ("F32", (16,))})
    (note,) = read_gguf(tmp_path / "one.gguf").notes
    assert "leaves out the 1 norms" in note.render()


@pytest.mark.parametrize(
    ("fields", "tensors", "words"),
    [
        ({"adapter.type": "control_vector"}, GGUF_PAIR, "kind control_vector"),
        ({"adapter.lora.alpha": float("nan")}, GGUF_PAIR, "not a number"),
        ({"adapter.lora.alpha": "much"}, GGUF_PAIR, "not a number"),
        ({"adapter.alora.invocation_tokens": [0] * 5000}, GGUF_PAIR, "no list of tokens"),
        ({"adapter.alora.invocation_tokens": [1.5]}, GGUF_PAIR, "no list of tokens"),
        ({}, {}, "no matrices"),
        ({}, {"blk.0.attn_q.weight.lora_a": ("F32", (16, 4))}, "one of the two"),
        ({}, {**GGUF_PAIR, "blk.0.attn_q.weight": ("F32", (4, 4))}, "whole weight"),
        ({}, {**GGUF_PAIR, "blk.0.attn_q.lora_a": ("F32", (4, 4))}, "whole weight"),
        ({}, {**GGUF_PAIR, "blk.0.attn_q.weight.lora_b": ("F32", (5, 8))}, "ranks 4 and 5"),
        ({}, {**GGUF_PAIR, "blk.0.attn_q.weight.lora_b": ("F32", (4, 8, 2))}, "not two tables"),
        ({}, {**GGUF_PAIR, "blk.0.attn_q.weight.lora_a": ("F32", (16,))}, "not two tables"),
    ],
)  # fmt: skip
def test_a_gguf_adapter_that_makes_no_sense_is_refused(tmp_path, fields, tensors, words):
    write_gguf(tmp_path / "one.gguf", {**ADAPTER, **fields}, tensors)
    with pytest.raises(AnsamblError, match=words):
        read_gguf(tmp_path / "one.gguf")


def test_a_truncated_adapter_is_refused(tmp_path):
    path = tmp_path / "one.gguf"
    write_gguf(path, ADAPTER, GGUF_PAIR)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="is truncated"):
        read_gguf(path)
    weights = peft(tmp_path / "one") / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(UsageError, match="truncated"):
        read_peft(tmp_path / "one")


def outcome(read: Callable[..., LoraFile], path: Path) -> tuple[LoraFile | None, str]:
    """What a reader says of a file, or the words in which it refuses it."""
    try:
        return read(path, hashed=False), ""
    except AnsamblError as refusal:
        return None, str(refusal)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=6,
)  # fmt: skip
FIELDS = st.sampled_from([
    "peft_type", "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "bias", "lora_bias",
    "init_lora_weights", "base_model_name_or_path", "alora_invocation_tokens", "invocation_string", "task_type",
])  # fmt: skip


@given(config=st.dictionaries(FIELDS, VALUES, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_description_is_read_or_refused_in_one_line(tmp_path, config):
    folder = peft(tmp_path / "one", content=json.dumps({"r": 4, **config}).encode())
    found, refusal = outcome(read_peft, folder)
    if found is None:
        assert refusal.isprintable()
        assert 0 < len(refusal) < 700
    else:
        assert found.rank == 4
        assert math.isfinite(found.pairs[0].scale)
        assert (found.base or "").isprintable()


WHOLE = gguf_head({**ADAPTER, "adapter.alora.invocation_tokens": [1, 2]}, GGUF_PAIR)[0] + bytes(512)


@given(place=st.integers(0, len(WHOLE) - 9), value=st.integers(0, 2**64 - 1), width=st.sampled_from(["B", "I", "Q"]))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_changed_gguf_adapter_is_read_or_refused_in_one_line(tmp_path, place, value, width):
    changed = bytearray(WHOLE)
    struct.pack_into(f"<{width}", changed, place, value % (1 << 8 * struct.calcsize(width)))
    (tmp_path / "one.gguf").write_bytes(changed)
    found, refusal = outcome(read_gguf, tmp_path / "one.gguf")
    if found is None:
        assert refusal.isprintable()
        assert 0 < len(refusal) < 700
    else:
        assert 0 < found.rank <= 1 << 14
        assert all(pair.inputs > 0 and pair.outputs > 0 for pair in found.pairs)


@given(st.text())
def test_a_name_is_split_into_a_module_and_a_part_or_kept(name):
    module, part, embedding = split_name(name)
    if part is None:
        assert (module, embedding) == (name, False)
    else:
        assert module
        assert name.endswith(("lora_A.weight", "lora_B.weight", "lora_embedding_A", "lora_embedding_B"))


def test_the_adapters_of_the_support_are_sound(tmp_path):
    found = read_peft(lora_models.write_peft(tmp_path / "one"))
    assert found.rank == 8
    assert len(found.pairs) == 14
