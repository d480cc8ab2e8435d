"""The shipped catalog: whole, sourced, consistent with itself, and easy to ask."""

import json
import re

import pytest

from ansambl.domain.architecture import Attention
from ansambl.domain.catalog import Basis, ModelKind, Standing
from ansambl.domain.errors import UnknownNameError
from ansambl.model_catalog.catalog import catalog, find_model, model_to_json, nearest_names
from ansambl.model_catalog.inspection import kv_elements_per_token

GIB = 2**30


@pytest.mark.parametrize("model", catalog().values(), ids=lambda model: model.name)
def test_every_entry_is_consistent(model):
    assert model.sources
    assert all(one.source and one.size > 0 and one.rounding >= 0 for one in model.checkpoints)
    assert len({(one.quantization, one.format) for one in model.checkpoints}) == len(model.checkpoints)
    assert catalog()[model.name] is model is find_model(model.repo) is find_model(model.name.upper())
    json.dumps(model_to_json(model))
    assert model.released is None or re.fullmatch(r"20[12]\d-(0[1-9]|1[0-2])", model.released)
    for one in model.downloads:
        assert one.source
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", one.repo)
        assert one.file is None or re.fullmatch(r"[\w./*-]+\.(gguf|bin)", one.file)
        assert one.file is None or one.quantization
    assert all(one.source for one in model.scores.values())
    assert len(set(model.specialities)) == len(model.specialities)
    if model.architecture is None:
        assert model.kind is ModelKind.SPEECH or any("no source" in note for note in model.notes)
        return
    inside = model.architecture
    assert inside.parameters == model.parameters >= inside.active > 0
    assert inside.experts >= inside.experts_active
    for group in inside.layers:
        assert group.count > 0
        assert (group.window is not None) == (group.attention is Attention.SLIDING)
        assert (group.state_bytes > 0) == (group.attention is Attention.RECURRENT)
        assert (group.value_width == 0) or group.attention is not Attention.LATENT


# Bytes for each token in bf16 that the sources state themselves, for all layers or the full ones alone.
@pytest.mark.parametrize(
    ("name", "layers", "bytes_per_token"),
    [
        ("gpt-oss-120b", 36, 73728), ("gpt-oss-20b", 24, 49152), ("llama-3.3-70b-instruct", 80, 327680),
        ("llama-3.1-8b-instruct", 32, 131072), ("llama-2-13b-chat-hf", 40, 819200), ("yi-34b", 60, 245760),
        ("qwen2.5-72b-instruct", 80, 327680), ("qwen3-30b-a3b", 48, 98304), ("gemma-3-27b-it", 62, 507904),
        ("mixtral-8x7b-instruct-v0.1", 32, 131072), ("qwen3.6-27b", 64, 65536), ("qwen3.6-35b-a3b", 40, 20480),
        ("t-pro-it-2.0", 64, 262144), ("gigachat-20b-a3b-instruct", 28, 114688), ("saiga_nemo_12b", 40, 163840),
    ],
)  # fmt: skip
def test_kv_widths_agree_with_the_sources(name, layers, bytes_per_token):
    inside = catalog()[name].architecture
    assert inside.layer_count == layers
    assert kv_elements_per_token(inside) * 2 == bytes_per_token


def test_sizes_keep_the_digits_of_their_source():
    gguf, safetensors = catalog()["gpt-oss-120b"].checkpoints[:2]
    assert (gguf.quantization, gguf.format, gguf.size) == ("MXFP4", "gguf", round(59.02 * GIB))
    assert gguf.rounding == pytest.approx(0.005 * GIB, rel=1e-6)
    assert (safetensors.size, safetensors.rounding) == (65_250_000_000, 50_000_000)
    native = catalog()["llama-3.3-70b-instruct"].checkpoints[-1]
    assert (native.quantization, native.size, native.basis) == ("BF16", 70553706496 * 2, Basis.DERIVED)


def test_languages():
    assert catalog()["saiga_nemo_12b"].quality("ru").standing is Standing.TUNED
    assert catalog()["gemma-3-27b-it"].quality("ru").score == 45.95
    assert catalog()["gpt-oss-120b"].quality("ru").standing is Standing.UNKNOWN


def test_names_may_be_unfinished_when_one_begins_so():
    assert find_model("Mixtral").repo == "mistralai/Mixtral-8x7B-Instruct-v0.1"
    assert find_model("Llama-3.3-70B").name == "llama-3.3-70b-instruct"
    # A repository that is not here is another model, however alike.
    with pytest.raises(UnknownNameError, match=r"the nearest are: qwen2.5-72b-instruct"):
        find_model("Qwen/Qwen2.5-72B")
    with pytest.raises(UnknownNameError, match="nearest are: saiga"):
        find_model("saiga")


def test_unknown_names():
    assert nearest_names("gpt-os-120b")[0] == "gpt-oss-120b"
    assert nearest_names("") == nearest_names("owner/") == []
    with pytest.raises(UnknownNameError, match="ansambl models list"):
        find_model("%%%%")
    with pytest.raises(UnknownNameError):
        find_model("x" * 1_000_000)


def test_a_row_of_several_quantizations_is_one_download_for_each():
    downloads = {(one.repo, one.quantization): one.file for one in catalog()["qwen3-32b"].downloads}
    assert downloads["unsloth/Qwen3-32B-GGUF", "Q4_K_M"] == "Qwen3-32B-Q4_K_M.gguf"
    assert downloads["Qwen/Qwen3-32B-AWQ", "AWQ"] is None
    # In parts: a pattern, as the names end in numbers.
    assert {one.file for one in catalog()["gpt-oss-120b"].downloads} >= {"gpt-oss-120b-mxfp4-*.gguf"}


def test_release_months_and_scores():
    models = catalog()
    assert models["gpt-oss-120b"].released == "2025-08"
    assert models["llama-3.3-70b-instruct"].released == "2024-12"
    assert sum(model.released is not None for model in models.values()) >= 100
    index = "Artificial Analysis Intelligence Index"
    assert models["gpt-oss-120b"].scores[index].value == 23.8
    assert models["qwen3.8-27b"].scores[index].value > models["qwen3-32b"].scores[index].value
