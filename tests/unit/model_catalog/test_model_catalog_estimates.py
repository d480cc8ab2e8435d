"""Estimated sizes: they hold what sources report, and follow from the bits of the formats."""

import dataclasses
import statistics

import pytest

from ansambl.domain.catalog import Basis, CatalogCheckpoint, ModelKind
from ansambl.model_catalog.catalog import catalog, find_model
from ansambl.model_catalog.estimates import estimated_checkpoint, estimated_checkpoints, gguf_bits

GIB = 2**30


def _reported():
    """Every reported size for which there is an estimate, each estimated as though nobody had reported it."""
    for model in catalog().values():
        blind = dataclasses.replace(model, checkpoints=())
        guesses = {(one.quantization, one.format): one for one in estimated_checkpoints(blind)}
        for one in model.checkpoints:
            guess = guesses.get((one.quantization, one.format)) or (
                estimated_checkpoint(model, one.quantization) if one.format == "gguf" else None
            )
            if guess is not None and one.basis is Basis.REPORTED:
                yield model, one, guess


def test_estimates_hold_every_reported_size():
    cases = list(_reported())
    assert len(cases) >= 140
    for model, one, guess in cases:
        assert guess.low <= one.high, (model.name, one.quantization)
        assert one.low <= guess.high, (model.name, one.quantization)


def test_estimates_are_near_the_reported_sizes():
    gguf = [(model, abs(guess.size / one.size - 1)) for model, one, guess in _reported() if one.format == "gguf"]
    errors = sorted(error for _, error in gguf)
    assert statistics.median(errors) <= 0.005
    assert errors[round(len(errors) * 0.9)] <= 0.06
    assert errors[-1] <= 0.12
    # Models of one kind of layer, without experts or a vision part: the mix of types is the published one.
    plain = [
        error for model, error in gguf
        if model.family in {"llama", "qwen2", "qwen3"} and not model.architecture.experts and not model.vision
    ]  # fmt: skip
    assert len(plain) >= 30
    assert statistics.median(plain) <= 0.003
    assert max(plain) <= 0.04


@pytest.mark.parametrize("model", catalog().values(), ids=lambda model: model.name)
def test_every_estimate_is_consistent(model):
    sizes = {}
    for one in estimated_checkpoints(model):
        assert isinstance(one, CatalogCheckpoint)
        assert one.basis is Basis.DERIVED
        assert 0 < one.low <= one.size <= one.high
        assert one.source
        sizes.setdefault(one.format, {})[one.quantization] = one.size
    exl3 = [sizes["exl3"][f"{bits}.0bpw"] for bits in (3, 4, 5, 6)] if "exl3" in sizes else []
    assert exl3 == sorted(exl3)
    ladder = [sizes["gguf"][one] for one in ("Q2_K", "Q4_K_M", "Q6_K", "Q8_0") if one in sizes.get("gguf", {})]
    assert ladder == sorted(ladder)
    assert not {(one.quantization, one.format) for one in estimated_checkpoints(model)} & {
        (one.quantization, one.format) for one in model.checkpoints
    }


def test_the_reference_model_weighs_what_the_table_says():
    model = dataclasses.replace(catalog()["llama-3.1-8b-instruct"], checkpoints=())
    for name, bits in gguf_bits().items():
        assert estimated_checkpoint(model, name).size == pytest.approx(8030261248 * bits.bits / 8, rel=1e-6)


def test_rows_that_k_types_cannot_take_weigh_more():
    # 1408 is no multiple of 256: llama-bench prints 67.96 GiB of 110.47e9 weights (5.28 bits) for GLM 4.5 Air, where
    # models with rows that fit have 4.8 to 4.9.
    air, fits = (estimated_checkpoint(catalog()[name], "Q4_K_M") for name in ("glm-4.5-air", "qwen3-30b-a3b"))
    assert air.size == pytest.approx(67.96 * GIB, rel=0.01)
    assert air.size * 8 / catalog()["glm-4.5-air"].parameters > 5.2
    assert fits.size * 8 / catalog()["qwen3-30b-a3b"].parameters < 4.9


def test_safetensors_from_first_principles():
    # 70553706496 weights, two tables of 128256 x 8192 in 16 bits, the rest in a byte, or four bits and scales.
    tables = 2 * 128256 * 8192
    body = 70553706496 - tables
    known = {(one.quantization, one.format): one for one in estimated_checkpoints(catalog()["llama-3.3-70b-instruct"])}
    assert known["FP8", "safetensors"].size == pytest.approx(body + 2 * tables, rel=0.005)
    assert known["AWQ", "safetensors"].size == pytest.approx(body * (4 + 20 / 128) / 8 + 2 * tables, rel=0.005)
    assert known["NVFP4", "safetensors"].size == pytest.approx(body * 4.5 / 8 + 2 * tables, rel=0.005)
    assert known["4.0bpw", "exl3"].size == pytest.approx(body / 2 + tables / 2 * 0.75 + tables, rel=0.005)


def test_what_is_not_estimated():
    models = catalog()
    assert estimated_checkpoints(models["gpt-oss-120b"]) == ()
    assert estimated_checkpoints(models["whisper-large-v3"]) == ()
    assert {one.quantization for one in estimated_checkpoints(models["bge-m3"])} == {"Q8_0", "F16"}
    assert estimated_checkpoint(models["yi-34b"], "Q9_Z") is None
    assert all(
        not estimated_checkpoints(model) for model in models.values()
        if model.kind is ModelKind.SPEECH or model.architecture is None
    )  # fmt: skip


def test_a_plain_model_whose_rows_fit_no_k_type_is_estimated_closely():
    # bartowski/Qwen2.5-72B-Instruct-GGUF, as a public code index has it (file 60882990625).
    found = estimated_checkpoint(find_model("qwen2.5-72b-instruct"), "Q4_K_M")
    assert found.size == pytest.approx(47_415_707_136, rel=0.005)
    assert found.high < 1.07 * found.size


def test_a_byte_for_each_weight_leaves_little_to_guess():
    found = {one.quantization: one for one in estimated_checkpoints(find_model("llama-3.3-70b-instruct"))}
    # 70,553,706,496 parameters: two tables of 128,256 x 8,192 in two bytes, the rest in one.
    tables = 2 * 128_256 * 8192
    assert found["FP8"].size == pytest.approx(70_553_706_496 + tables, rel=0.005)
    assert found["FP8"].high / found["FP8"].low < found["AWQ"].high / found["AWQ"].low
