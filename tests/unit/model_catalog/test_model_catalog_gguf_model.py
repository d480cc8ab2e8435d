"""Architectures and bytes out of GGUF files of several families."""

import pytest
from model_files import write_gguf

from ansambl.domain.architecture import Attention, LayerGroup
from ansambl.domain.errors import CheckpointError
from ansambl.model_catalog.gguf import GgufIncompleteError, parse_header
from ansambl.model_catalog.inspection import inspect_checkpoint

MIB = 2**20


def base(family, layers=12, heads=8, kv=2, hidden=512, **extra):
    fields = {
        "general.architecture": family, f"{family}.block_count": layers, f"{family}.embedding_length": hidden,
        f"{family}.context_length": 4096, f"{family}.attention.head_count": heads,
        f"{family}.attention.head_count_kv": kv, f"{family}.feed_forward_length": 1024,
    }  # fmt: skip
    return fields | {f"{family}.{name.replace('__', '.')}": value for name, value in extra.items()}


def layers_of(tmp_path, fields, tensors=None):
    path = tmp_path / "model.gguf"
    write_gguf(path, fields, tensors)
    return inspect_checkpoint(path).architecture.layers


def kv_bytes(architecture, cells, element=2):
    """The formula measured on the real engine: layers x cells x KV heads x (both head sizes) x bytes."""
    return sum(group.count * cells * (group.key_width + group.value_width) * element for group in architecture.layers)


def test_the_embedded_model_as_measured(embedded_model_folder):
    found = inspect_checkpoint(embedded_model_folder)
    assert kv_bytes(found.architecture, 8192) == 180 * MIB
    assert kv_bytes(found.architecture, 2048) == 45 * MIB
    # The engine's log of this file says 92.10 MiB of weights.
    assert round(found.tensor_bytes / MIB, 2) == 92.10
    assert found.weights.total == found.tensor_bytes == sum(found.by_type.values())
    assert found.architecture.parameters == 134515008
    assert (found.architecture.vocabulary, found.context, found.quantization) == (49152, 8192, "Q4_1")


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3"])
def test_plain_families(tmp_path, family):
    assert layers_of(tmp_path, base(family)) == (LayerGroup(12, Attention.FULL, 128, 128),)
    wide = base(family, attention__key_length=128, attention__value_length=96)
    assert layers_of(tmp_path, wide) == (LayerGroup(12, Attention.FULL, 256, 192),)


@pytest.mark.parametrize(
    ("family", "layers", "sliding", "full"), [("gemma3", 18, 15, 3), ("gpt-oss", 24, 12, 12), ("gemma2", 26, 13, 13)]
)
def test_windows_by_family(tmp_path, family, layers, sliding, full):
    found = layers_of(tmp_path, base(family, layers, attention__sliding_window=512))
    assert found == (
        LayerGroup(sliding, Attention.SLIDING, 128, 128, 512), LayerGroup(full, Attention.FULL, 128, 128),
    )  # fmt: skip


@pytest.mark.parametrize(("cells", "full", "sliding"), [(2048, 6, 15), (8192, 24, 15), (32768, 96, 15)])
def test_gemma_3_as_measured(tmp_path, cells, full, sliding):
    """The KV buffers that llama.cpp logged for gemma-3-270m in f16, with its own rule for the cells of a window."""
    fields = base("gemma3", 18, heads=4, kv=1, hidden=640, attention__sliding_window=512, attention__key_length=256,
                  attention__value_length=256)  # fmt: skip
    windowed, whole = layers_of(tmp_path, fields)
    micro_batch = 512
    kept = min(cells, windowed.window + micro_batch)
    assert whole.count * cells * (whole.key_width + whole.value_width) * 2 == full * MIB
    assert windowed.count * kept * (windowed.key_width + windowed.value_width) * 2 == sliding * MIB


def test_windows_by_the_file(tmp_path):
    fields = base(
        "gemma4", 6, attention__sliding_window=1024, attention__sliding_window_pattern=[True] * 5 + [False],
        attention__head_count_kv=[8] * 5 + [2], attention__key_length=512, attention__value_length=512,
        attention__key_length_swa=256, attention__value_length_swa=256, attention__shared_kv_layers=1,
    )  # fmt: skip
    assert layers_of(tmp_path, fields) == (
        LayerGroup(5, Attention.SLIDING, 2048, 2048, 1024), LayerGroup(1, Attention.FULL, 0, 0),
    )  # fmt: skip
    unknown = layers_of(tmp_path, base("newcomer", attention__sliding_window=512))
    assert unknown == (LayerGroup(12, Attention.FULL, 128, 128),)


def test_latent_attention(tmp_path):
    latent = base(
        "deepseek2", 4, kv=1, attention__kv_lora_rank=512, attention__key_length=576, attention__value_length=512,
        attention__key_length_mla=192, attention__value_length_mla=128, rope__dimension_count=64,
    )  # fmt: skip
    assert layers_of(tmp_path, latent) == (LayerGroup(4, Attention.LATENT, 576),)
    # Files of before keep whole heads, although the rank is in them.
    older = base("deepseek2", 4, kv=8, attention__kv_lora_rank=512, attention__key_length=192,
                 attention__value_length=128)  # fmt: skip
    assert layers_of(tmp_path, older) == (LayerGroup(4, Attention.FULL, 1536, 1024),)


def test_recurrent_layers(tmp_path):
    delta = {"ssm__conv_kernel": 4, "ssm__state_size": 128, "ssm__group_count": 16, "ssm__inner_size": 4096}
    found = layers_of(
        tmp_path, base("qwen3next", 48, kv=2, attention__key_length=256, attention__value_length=256, **delta)
    )
    state = (3 * (4096 + 2 * 16 * 128) + 128 * 4096) * 4
    assert found == (
        LayerGroup(36, Attention.RECURRENT, state_bytes=state), LayerGroup(12, Attention.FULL, 512, 512),
    )  # fmt: skip
    listed = base("granitehybrid", 4, attention__head_count_kv=[0, 0, 4, 0], **delta)
    assert [(one.attention, one.count) for one in layers_of(tmp_path, listed)] == [
        (Attention.RECURRENT, 3), (Attention.FULL, 1),
    ]  # fmt: skip
    pure = {"general.architecture": "mamba", "mamba.block_count": 3, "mamba.embedding_length": 64,
            "mamba.ssm.conv_kernel": 4, "mamba.ssm.state_size": 16, "mamba.ssm.inner_size": 128}  # fmt: skip
    assert layers_of(tmp_path, pure) == (LayerGroup(3, Attention.RECURRENT, state_bytes=(3 * 128 + 16 * 128) * 4),)


def test_experts_are_counted_apart(tmp_path):
    fields = base("qwen3moe", 2, expert_count=8, expert_used_count=2, expert_feed_forward_length=128)
    tensors = {"token_embd.weight": ("Q8_0", (512, 64)), "output.weight": ("F16", (512, 64)),
               "output_norm.weight": ("F32", (512,))}  # fmt: skip
    for layer in range(2):
        tensors[f"blk.{layer}.attn_q.weight"] = ("Q4_K", (512, 512))
        tensors[f"blk.{layer}.ffn_up_exps.weight"] = ("MXFP4", (512, 128, 8))
    path = tmp_path / "moe.gguf"
    total = write_gguf(path, fields, tensors)
    found = inspect_checkpoint(path)
    assert found.tensor_bytes == total == found.weights.total
    assert found.weights.layers[1].experts == 512 * 128 * 8 // 32 * 17
    assert found.weights.layers[1].dense == 512 * 512 // 256 * 144
    assert (found.weights.embedding, found.weights.output, found.weights.other) == (34816, 65536, 2048)
    dense, experts = 2 * 512 * 64 + 512 + 2 * 512 * 512, 2 * 512 * 128 * 8
    assert found.architecture.parameters == dense + experts
    assert found.architecture.active == dense + experts // 4
    assert found.architecture.expert_feed_forward == 128


def test_a_divided_checkpoint_is_summed(tmp_path):
    tensors = {"token_embd.weight": ("F16", (512, 100))}
    total = 0
    for index in (1, 2):
        path = tmp_path / f"m-0000{index}-of-00002.gguf"
        total += write_gguf(path, base("llama", 2) | {"split.count": 2}, tensors if index == 1 else
                            {"blk.1.attn_q.weight": ("Q4_0", (512, 512))})  # fmt: skip
    found = inspect_checkpoint(tmp_path)
    assert (found.files, found.tensors, found.tensor_bytes) == (2, 2, total)
    assert found.weights.layers[1].dense == 512 * 512 // 32 * 18
    second = tmp_path / "m-00002-of-00002.gguf"
    second.write_bytes(second.read_bytes()[:-64])
    with pytest.raises(CheckpointError, match=r"m-00002-of-00002.gguf is truncated"):
        inspect_checkpoint(tmp_path)
    second.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        inspect_checkpoint(tmp_path)


def test_files_without_an_architecture_are_still_inspected(tmp_path):
    write_gguf(tmp_path / "mmproj.gguf", {"general.architecture": "clip"}, {"v.a.weight": ("F16", (32, 2))})
    found = inspect_checkpoint(tmp_path / "mmproj.gguf")
    assert found.architecture is None
    assert found.tensor_bytes == 128
    assert "clip.embedding_length" in found.notes[0].render()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"llama.block_count": 2**31}, "'llama.block_count' is 2147483648"),
        ({"llama.block_count": -1}, "'llama.block_count' is -1"),
        ({"llama.embedding_length": 0}, "'llama.embedding_length' is 0"),
        ({"llama.attention.head_count_kv": [-2, -2]}, "'llama.attention.head_count_kv' is -2"),
        ({"llama.attention.head_count": "many"}, "'llama.attention.head_count' is 'many'"),
        ({"llama.attention.head_count_kv": [0.5]}, "'llama.attention.head_count_kv' is 0.5"),
        ({"llama.attention.head_count_kv": []}, "holds no numbers"),
    ],
)
def test_nonsense_is_refused_by_name(tmp_path, change, words):
    path = tmp_path / "model.gguf"
    write_gguf(path, base("llama") | change)
    with pytest.raises(CheckpointError, match=words):
        inspect_checkpoint(path)


def test_a_header_fetched_in_part_asks_for_more(tmp_path):
    path = tmp_path / "model.gguf"
    write_gguf(path, base("llama"), {"token_embd.weight": ("F16", (512, 100))})
    content = path.read_bytes()
    with pytest.raises(GgufIncompleteError):
        parse_header(content[:100])
    assert parse_header(content[:4096]).tensor_bytes == 512 * 100 * 2


def test_a_folder_with_several_checkpoints_asks_which(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        write_gguf(tmp_path / name, base("llama"))
    with pytest.raises(CheckpointError, match=r"holds 2 GGUF checkpoints \(a.gguf, b.gguf\)"):
        inspect_checkpoint(tmp_path)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(CheckpointError, match="holds no model"):
        inspect_checkpoint(empty)
    with pytest.raises(CheckpointError, match="does not exist"):
        inspect_checkpoint(tmp_path / "none")
