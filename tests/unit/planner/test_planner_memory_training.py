"""Training memory against tensors that torch held, and against sums by hand."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.units import GIB
from ansambl.planner.memory.training import TrainingInputs, TrainingMethod, TrainingOptimizer, forecast_training
from support.memory_cases import DATA, load, machine

CASES = json.loads((DATA / "training_cases.json").read_text(encoding="utf-8"))["rows"]
ARCHITECTURES = load()[1]
TOLERANCE = 0.06


def measured(row):
    hidden, heads = row["hidden"], row["heads"]
    wide = hidden // heads * row["kv_heads"]
    layers = (LayerGroup(row["layers"], Attention.FULL, key_width=wide, value_width=wide),)
    chosen = dict(row["settings"])
    base = row["parameters_bytes"] - 4 * row["trainable"]
    shape = Architecture(
        "llama", base // 2, base // 2, layers, hidden, row["vocabulary"], heads, feed_forward=row["feed_forward"]
    )
    return TrainingInputs(
        shape, WeightBytes(base, "test"), machine({"gpus": [{"name": "a", "memory": 24 * GIB}], "ram": 64 * GIB}),
        sequence=row["sequence"], batch=row["batch"], checkpointing=row["checkpointing"],
        rank=chosen.pop("r", 16), dropout=chosen.pop("dropout", 0) > 0,
        attention_in_full=chosen.pop("attn", "") == "eager", **({"modules": tuple(chosen["mods"])} if chosen else {}),
    )  # fmt: skip


@pytest.mark.parametrize("row", CASES, ids=lambda row: f"{row['hidden']}-{row['vocabulary']}-{row['checkpointing']}")
def test_the_peak_of_tensors_is_met(row):
    gpu = forecast_training(measured(row)).devices[0]
    expected = gpu.weights.expected + gpu.compute.expected
    if "dropout" not in row["settings"]:
        # A processor's dropout keeps 32-bit noise where a GPU's keeps a byte.
        assert expected == pytest.approx(row["peak"], rel=TOLERANCE)
    assert gpu.weights.high + gpu.compute.high >= row["peak"]


def training(model="Llama-3.1-8B", gpus=(24,), **change):
    table = {"gpus": [{"name": "gpu", "memory": size * GIB} for size in gpus], "ram": 64 * GIB}
    shape = ARCHITECTURES[model]
    return TrainingInputs(shape, WeightBytes(shape.parameters * 2, "test"), machine(table), **change)


def test_an_adapter_of_llama_8b_has_the_parameters_that_peft_prints():
    # r 16 on all linear layers of Llama-3.1-8B: 41,943,040 trainable parameters; 4 + 4 + 8 bytes for each.
    eight, full = (
        forecast_training(training(optimizer=one)).devices[0].compute.expected
        for one in (TrainingOptimizer.ADAMW_8BIT, TrainingOptimizer.ADAMW)
    )
    assert full - eight == 41_943_040 * 6


def test_qlora_fits_where_lora_does_not():
    assert forecast_training(training(method=TrainingMethod.QLORA, gpus=(24,))).fits
    assert not forecast_training(training(method=TrainingMethod.LORA, gpus=(16,))).fits
    lora, qlora = (forecast_training(training(method=one)).devices[0].weights for one in TrainingMethod)
    # 6.98 of 8.03 billion parameters lie in linear layers, 4.127 bits each instead of 16.
    assert qlora.low < 0.4 * lora.low
    assert qlora.high < 0.55 * lora.high


def test_checkpointing_keeps_the_inputs_of_layers_only():
    with_it, without = (
        forecast_training(training(checkpointing=one, sequence=4096)).devices[0].compute.expected
        for one in (True, False)
    )
    assert with_it < 0.4 * without


def test_more_than_one_gpu_is_named_and_the_largest_is_taken():
    found = forecast_training(training(gpus=(12, 24)))
    assert found.devices[0].capacity == 24 * GIB
    assert "one-gpu" in {reason.code for reason in found.reasons}


@given(
    sequence=st.integers(1, 100_000), more=st.integers(0, 10_000), batch=st.integers(1, 64),
    checkpointing=st.booleans(), method=st.sampled_from(TrainingMethod), full=st.booleans(),
    model=st.sampled_from(("Llama-3.1-8B", "gemma-3-27b", "Qwen3-30B-A3B")),
)  # fmt: skip
@settings(max_examples=50, deadline=None)
def test_longer_examples_and_greater_batches_never_need_less(sequence, more, batch, checkpointing, method, full, model):
    base = training(
        model, sequence=sequence, batch=batch, checkpointing=checkpointing, method=method, attention_in_full=full
    )
    small = forecast_training(base).devices[0].needed
    for greater in (replace(base, sequence=sequence + more), replace(base, batch=batch + 1)):
        great = forecast_training(greater).devices[0].needed
        assert small.low <= great.low
        assert small.expected <= great.expected
        assert small.high <= great.high


@pytest.mark.parametrize(
    ("change", "field"),
    [({"sequence": 0}, "sequence"), ({"batch": -1}, "batch"), ({"rank": 0}, "rank"), ({"modules": ("head",)}, "head")],
)
def test_nonsense_names_its_field(change, field):
    with pytest.raises(UsageError, match=field):
        training(**change)


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(UsageError, match="no GPU"):
        forecast_training(training(gpus=()))
    mxfp4 = WeightBytes(60 * GIB, "test", expert_format="mxfp4")
    with pytest.raises(NotSupportedError, match="MXFP4"):
        forecast_training(replace(training("gpt-oss-120b"), weights=mxfp4, method=TrainingMethod.QLORA))
    unpacked = forecast_training(replace(training("gpt-oss-120b"), weights=mxfp4))
    # 116.8 billion parameters, almost all in experts.
    assert unpacked.devices[0].weights.expected > 200 * GIB
    assert all(reason.source and "{" not in reason.text.render() for reason in unpacked.reasons)
