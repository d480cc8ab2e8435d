"""Folders, divided files and fetched checkpoints, opened by what a configuration calls them."""

import json

import pytest
from model_files import write_gguf, write_safetensors

from ansambl.domain.errors import CheckpointError
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.inspection import inspect_checkpoint
from ansambl.model_catalog.library import Manifest, installed, write_manifest
from ansambl.model_catalog.model_folder import folder_kind, format_of

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 16,
    "num_attention_heads": 4, "intermediate_size": 32, "vocab_size": 10, "max_position_embeddings": 128,
}  # fmt: skip
FIRST = {"model.embed_tokens.weight": ("BF16", (10, 16), 320), "model.norm.weight": ("F32", (16,), 64)}
SECOND = {"lm_head.weight": ("BF16", (10, 16), 320)}
NAMES = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


def folder(path, config=CONFIG, *, index=True):
    path.mkdir(parents=True, exist_ok=True)
    for name, tensors in zip(NAMES, (FIRST, SECOND), strict=True):
        write_safetensors(path / name, tensors)
    placed = {one: name for name, some in zip(NAMES, (FIRST, SECOND), strict=True) for one in some}
    if index:
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": placed}))
    if config is not None:
        (path / "config.json").write_text(json.dumps(config))
    return path


def test_a_folder_is_a_checkpoint(tmp_path):
    path = folder(tmp_path / "llama")
    found = open_checkpoint(str(path), tmp_path)
    size = sum((path / name).stat().st_size for name in NAMES)
    assert (found.path, found.format, found.size, found.quantization) == (str(path), "safetensors", size, "BF16")
    assert (found.architecture, found.layers, found.context, found.repo) == ("LlamaForCausalLM", 2, 128, None)
    assert open_checkpoint("llama", tmp_path).path == str(path)
    assert open_checkpoint(str(path / NAMES[1]), tmp_path).identity == found.identity
    assert inspect_checkpoint(path).format == "safetensors"


def test_the_same_file_is_known_by_one_path(tmp_path, monkeypatch):
    """What was measured under one of its names is found under the other."""
    path, beside = folder(tmp_path / "llama"), tmp_path / "elsewhere"
    beside.mkdir()
    monkeypatch.chdir(beside)
    found, absolute = open_checkpoint("../llama", tmp_path), open_checkpoint(str(path), tmp_path)
    assert (found.path, found.identity) == (absolute.path, absolute.identity)


def test_the_identity_follows_every_file(tmp_path):
    path = folder(tmp_path / "a")
    before = open_checkpoint(str(path), tmp_path).identity
    assert open_checkpoint(str(path), tmp_path).identity == before
    (path / "tokenizer.json").write_text("{}")
    assert open_checkpoint(str(path), tmp_path).identity != before


@pytest.mark.parametrize("index", [True, False])
def test_a_missing_or_short_file_is_named(tmp_path, index):
    path = folder(tmp_path / "a", index=index)
    whole = (path / NAMES[1]).read_bytes()
    (path / NAMES[1]).write_bytes(whole[:-1])
    with pytest.raises(CheckpointError, match="truncated"):
        open_checkpoint(str(path), tmp_path)
    (path / NAMES[1]).unlink()
    with pytest.raises(CheckpointError, match=f"its part {NAMES[1]} is missing"):
        open_checkpoint(str(path), tmp_path)
    (path / NAMES[0]).unlink()
    with pytest.raises(CheckpointError, match="holds no weights in safetensors"):
        open_checkpoint(str(path), tmp_path)


def test_weights_without_a_description_cannot_be_loaded(tmp_path):
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        open_checkpoint(str(folder(tmp_path / "a", None)), tmp_path)


def test_a_model_that_nobody_here_knows_is_opened_all_the_same(tmp_path):
    path = folder(tmp_path / "a", {"architectures": ["BrandNewForCausalLM"], "model_type": "brand_new"})
    found = open_checkpoint(str(path), tmp_path)
    assert (found.architecture, found.layers, found.context) == ("BrandNewForCausalLM", None, None)


def test_a_folder_with_one_gguf_file_is_that_file(tmp_path):
    fields = {"general.architecture": "qwen3", "general.file_type": 15, "qwen3.block_count": 3}
    write_gguf(tmp_path / "x.gguf", fields, {"token_embd.weight": ("F16", (64, 32))})
    write_gguf(tmp_path / "mmproj-x.gguf", {"general.architecture": "clip"}, {"v.weight": ("F16", (64, 32))})
    found = open_checkpoint(str(tmp_path), tmp_path)
    assert (found.path, found.architecture, found.layers, found.quantization) == (
        str(tmp_path / "x.gguf"), "qwen3", 3, "Q4_K_M",
    )  # fmt: skip
    with pytest.raises(CheckpointError, match="image projector"):
        open_checkpoint(str(tmp_path / "mmproj-x.gguf"), tmp_path)


def test_a_fetched_folder_knows_its_repository(tmp_path):
    path = folder(tmp_path / "own" / "name" / "safetensors")
    sizes = {one.name: one.stat().st_size for one in path.iterdir()}
    write_manifest(path, Manifest("own/name", "own/name", "0" * 40, "safetensors", None, None, "", sizes))
    for reference in ("own/name", str(path), str(path / NAMES[0])):
        found = open_checkpoint(reference, tmp_path)
        assert (found.path, found.repo, found.reference) == (str(path), "own/name", reference)


def test_a_fetched_folder_is_found_by_its_quantization(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = folder(tmp_path / "own" / "name" / "safetensors", CONFIG | {"quantization_config": {"quant_method": "awq"}})
    sizes = {one.name: one.stat().st_size for one in path.iterdir()}
    write_manifest(path, Manifest("own/name", "own/name", "0" * 40, "safetensors", None, None, "", sizes))
    (found,) = installed(tmp_path)
    assert (found.reference, found.quantization) == ("own/name", "AWQ")
    assert open_checkpoint("own/name:AWQ", tmp_path).quantization == "AWQ"
    assert open_checkpoint("own/name:safetensors", tmp_path).path == str(path)
    with pytest.raises(CheckpointError, match="ansambl models pull own/name:GPTQ"):
        open_checkpoint("own/name:GPTQ", tmp_path)


def test_the_hubs_cache_tells_the_repository(tmp_path):
    path = folder(tmp_path / "models--own--some--name" / "snapshots" / ("a" * 40))
    assert open_checkpoint(str(path), tmp_path).repo == "own/some--name"


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, ("safetensors", None)),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, ("safetensors", "AWQ")),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, ("safetensors", "GPTQ")),
        ({"quantization_config": {"quant_method": "fp8"}}, ("safetensors", "FP8")),
        ({"quantization_config": {"quant_method": "mxfp4"}}, ("safetensors", "MXFP4")),
        ({"text_config": {"quantization_config": {"quant_method": "mxfp4"}}}, ("safetensors", "MXFP4")),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, ("safetensors", "NVFP4")),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, ("safetensors", "BNB")),
        ({"quantization_config": {"quant_method": "new\x1bthing"}}, ("safetensors", "NEW?THING")),
        ({"quantization_config": {"quant_method": "compressed-tensors", "format": "nvfp4-pack-quantized"}},
         ("safetensors", "NVFP4")),
        ({"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized",
                                  "config_groups": {"group_0": {"weights": {"num_bits": 4}}}}},
         ("safetensors", "W4A16")),
        ({"quantization_config": {"quant_method": "compressed-tensors", "format": 3, "config_groups": []}},
         ("safetensors", "COMPRESSED-TENSORS")),
        ({"quantization_config": {"quant_method": "exl3", "bits": 4.0}}, ("exl3", "4.0bpw")),
        ({"quantization_config": {"quant_method": "exl2", "bits": "many"}}, ("exl2", None)),
        ({"quantization": {"group_size": 64, "bits": 4}}, ("mlx", "4bit")),
        ({"quantization": {"group_size": 32, "bits": 4, "mode": "mxfp4"}}, ("mlx", "MXFP4")),
        ({"quantization_config": []}, ("safetensors", None)),
    ],
)  # fmt: skip
def test_the_configuration_names_format_and_quantization(config, expected):
    assert format_of(config) == expected


def test_what_the_configuration_leaves_out_is_told_by_other_files():
    quantized = {"quantization": {"quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8"}}
    assert folder_kind({}, {"U8": 9}, quantized=quantized).quantization == "NVFP4"
    assert folder_kind({}, {"BF16": 1, "F8_E4M3": 9}).quantization == "FP8"
    assert folder_kind({}, {"F16": 9}, written_for="mlx").format == "mlx"
    assert folder_kind({}, {}).quantization is None


@pytest.mark.parametrize("field", ["architectures", "num_hidden_layers", "max_position_embeddings"])
@pytest.mark.parametrize("value", [None, [], {}, -1, True, 1 << 70, "x", [{}]])
def test_fields_that_make_no_sense_are_taken_for_missing(field, value):
    found = folder_kind({field: value}, {})
    assert (found.architecture, found.layers, found.context) == (None, None, None)


def test_an_exl3_folder_is_not_taken_for_plain_safetensors(tmp_path):
    path = folder(tmp_path / "a", CONFIG | {"quantization_config": {"quant_method": "exl3", "bits": 3.5}})
    found = open_checkpoint(str(path), tmp_path)
    assert (found.format, found.quantization) == ("exl3", "3.5bpw")
    assert inspect_checkpoint(path).format == "exl3"


@pytest.mark.parametrize(
    ("value", "pooling"), [(None, None), (0, None), (1, "mean"), (4, "rank"), (99, None), (True, None)]
)
def test_a_file_says_how_it_pools_a_text(tmp_path, value, pooling):
    fields = {"general.architecture": "bert"} | ({} if value is None else {"bert.pooling_type": value})
    write_gguf(tmp_path / "m.gguf", fields)
    assert open_checkpoint(str(tmp_path / "m.gguf"), tmp_path).pooling == pooling
