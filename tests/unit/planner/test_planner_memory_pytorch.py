"""ExLlamaV3 and Transformers, which take what they need: by hand, and against tensors that were held."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.device import DeviceKind
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.units import GIB
from ansambl.planner.memory import MemoryInputs, forecast, largest_context
from support.memory_cases import DATA, load, machine

ARCHITECTURES = load()[1]
CASES = json.loads((DATA / "transformers_cases.json").read_text(encoding="utf-8"))["rows"]
TOLERANCE = 0.05


def inputs(
    model="Llama-3.1-8B", gpus=(24,), *, weights=None, ram=64, context=8192, parallel=1, kv_type="f16", **chosen
):
    table = {"gpus": [{"name": "gpu", "memory": memory * GIB} for memory in gpus], "ram": ram * GIB}
    shape = ARCHITECTURES[model]
    return MemoryInputs(
        shape, weights or WeightBytes(shape.parameters // 2, "test"), machine(table), context, parallel, kv_type, chosen
    )


@pytest.mark.parametrize(
    ("kv_type", "bits"),
    [("f16", (16, 16)), ("q8", (8.5, 8.5)), ("q8/q4", (8.5, 4.5)), ("q4_0", (4.5, 4.5)), ("q2/q6", (2.5, 6.5))],
)
def test_exllamav3_stores_bits_and_a_scale_for_32_elements(kv_type, bits):
    cache = forecast("exllamav3", inputs(kv_type=kv_type)).devices[0].kv_cache
    assert cache.low == cache.high == 32 * 8192 * 1024 * sum(bits) / 8


def test_exllamav3_keeps_rings_for_sliding_layers_of_some_families():
    # gpt-oss: window 128 and two pages make 640, in whole pages 768, for each of 4 sequences, in FP16.
    cache = forecast("exllamav3", inputs("gpt-oss-20b", context=4096)).devices[0].kv_cache
    assert cache.expected == 12 * 2048 * (4096 + 768 * 4)
    # Gemma 3's layers keep all tokens there.
    cache = forecast("exllamav3", inputs("gemma-3-27b", context=4096)).devices[0].kv_cache
    assert cache.expected == 62 * 4096 * 2 * 16 * 128 * 2


def test_exllamav3_keeps_latents_unquantized_and_two_states_for_each_sequence():
    layers = (
        LayerGroup(2, Attention.LATENT, key_width=576),
        LayerGroup(3, Attention.RECURRENT, state_bytes=1000),
    )
    shape = Architecture("x", 10**7, 10**7, layers, 64, 1000, 4)
    base = replace(inputs(weights=WeightBytes(10**7, "test"), kv_type="q4", context=512), architecture=shape)
    assert forecast("exllamav3", base).devices[0].kv_cache.expected == 2 * 576 * 2 * 512 + 3 * 2 * 4 * 1000


def test_the_embedding_lies_in_ram_in_fp16():
    gpu, ram = forecast("exllamav3", inputs()).devices
    assert ram.weights.expected == 128_256 * 4096 * 2
    assert gpu.weights.expected + ram.weights.expected == pytest.approx(ARCHITECTURES["Llama-3.1-8B"].parameters // 2)


def test_layers_fill_one_gpu_after_the_other():
    weights = WeightBytes(30 * GIB, "test")
    found = forecast("exllamav3", inputs("gemma-3-27b", (24, 24), weights=weights, context=4096)).devices
    first, second = found[:2]
    assert first.needed.high <= first.usable
    assert first.weights.expected > 1.5 * second.weights.expected
    total = sum(device.weights.expected for device in found)
    assert total == pytest.approx(30 * GIB, rel=1e-6)
    # What one card holds is not divided.
    assert len(forecast("exllamav3", inputs(gpus=(24, 24))).devices) == 2


def test_a_cache_is_allocated_as_it_was_set():
    found = forecast("tabbyapi", inputs(context=4096, cache_size=16384))
    assert found.devices[0].kv_needed.expected == 32 * 2 * 1024 * 2 * 16384
    assert found.kv_capacity_tokens == 16384
    small = forecast("tabbyapi", inputs(context=8192, cache_size=4096))
    assert not small.fits
    assert "cache-size" in {reason.code for reason in small.reasons}
    assert largest_context("tabbyapi", inputs(cache_size=4096)) == 4096


@pytest.mark.parametrize("row", CASES, ids=lambda row: f"{row['hidden']}-{row['context']}-{row['attention']}")
def test_transformers_holds_the_tensors_that_were_counted(row):
    wide = row["hidden"] // row["heads"] * row["kv_heads"]
    layers = (LayerGroup(row["layers"], Attention.FULL, key_width=wide, value_width=wide),)
    shape = Architecture(
        "llama", 10**7, 10**7, layers, row["hidden"], row["vocabulary"], row["heads"],
        feed_forward=row["feed_forward"],
    )  # fmt: skip
    base = inputs(
        weights=WeightBytes(2 * 10**7, "test"), context=row["context"], parallel=row["parallel"], kv_type="bf16",
        attention=row["attention"],
    )  # fmt: skip
    gpu = forecast("transformers", replace(base, architecture=shape)).devices[0]
    # The cache grows by copies after the prompt, when the rest is free again.
    assert gpu.kv_cache.low + gpu.compute.expected == pytest.approx(row["peak"], rel=TOLERANCE)
    assert gpu.kv_cache.high + gpu.compute.high >= row["peak"]


def test_bitsandbytes_quantizes_linear_layers_only():
    shape = ARCHITECTURES["Llama-3.1-8B"]
    weights = WeightBytes(shape.parameters * 2, "test")
    ends = 2 * 128_256 * 4096
    four, double, eight, whole = (
        forecast("transformers", inputs(weights=weights, **chosen)).devices[0].weights.expected
        for chosen in (
            {"quantization": "bnb-4bit"}, {"quantization": "bnb-4bit", "double_quant": True},
            {"quantization": "bnb-8bit"}, {},
        )
    )  # fmt: skip
    linear = shape.parameters - ends
    assert four == pytest.approx(linear * 4.5 / 8 + ends * 2, rel=1e-6)
    assert double == pytest.approx(linear * 4.127 / 8 + ends * 2, rel=1e-6)
    assert eight == pytest.approx(linear + ends * 2, rel=1e-6)
    assert whole == shape.parameters * 2


def test_mxfp4_is_unpacked_where_its_kernels_may_be_missing():
    weights = WeightBytes(60 * GIB, "test", experts=56 * GIB, embedding=GIB, expert_format="mxfp4")
    unknown, there, missing = (
        forecast("transformers", inputs("gpt-oss-120b", (80,) * 4, weights=weights, context=512, **chosen))
        for chosen in ({}, {"mxfp4_kernels": True}, {"mxfp4_kernels": False})
    )

    def total(footprint, end):
        return sum(getattr(device.weights, end) for device in footprint.devices)

    # 4 bits and 8 for 32 values: 4.25 bits become 16.
    assert total(missing, "expected") == pytest.approx((4 + 56 * 16 / 4.25) * GIB, rel=0.001)
    assert total(there, "expected") == pytest.approx(60 * GIB, rel=0.001)
    assert total(unknown, "low") < 60 * GIB < 200 * GIB < total(unknown, "high")
    assert "mxfp4-unpacked" in {reason.code for reason in unknown.reasons}
    # There is no fused attention for it unless one is asked for.
    assert "eager-attention" in {reason.code for reason in unknown.reasons}


def test_what_does_not_fit_a_gpu_lies_in_ram():
    shape = ARCHITECTURES["gemma-3-27b"]
    weights = WeightBytes(shape.parameters * 2, "test")
    found = forecast("transformers", inputs("gemma-3-27b", (24,), weights=weights, context=1024))
    gpu, ram = found.devices
    assert gpu.weights.high <= 0.9 * gpu.usable + 1
    assert gpu.weights.expected + ram.weights.expected == pytest.approx(shape.parameters * 2, rel=0.001)
    assert found.fits
    assert "offload" in {reason.code for reason in found.reasons}
    every = forecast("transformers", inputs("gemma-3-27b", (24, 24, 24), weights=weights, context=1024)).devices
    assert [round(device.weights.expected / GIB) for device in every[:2]] == [18, 18]
    cpu = forecast("transformers", inputs(device_map="cpu")).devices
    assert [device.kind for device in cpu] == [DeviceKind.RAM]


@given(
    engine=st.sampled_from(("exllamav3", "transformers")), context=st.integers(1, 60_000), more=st.integers(0, 9_000),
    parallel=st.integers(1, 8), model=st.sampled_from(("Llama-3.1-8B", "gpt-oss-20b", "gemma-3-27b")),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_more_context_never_needs_less_and_two_gpus_never_less_than_one(engine, context, more, parallel, model):
    base = inputs(model, (96,), context=context, parallel=parallel)
    small, great = forecast(engine, base), forecast(engine, replace(base, context=context + more))
    for one, other in zip(small.devices, great.devices, strict=True):
        assert one.needed.low <= other.needed.low
        assert one.needed.high <= other.needed.high
    two = forecast(engine, replace(base, machine=inputs(gpus=(96, 96)).machine))
    for part in ("weights", "compute", "overhead"):
        assert (
            sum(getattr(device, part).high for device in two.devices)
            >= sum(getattr(device, part).high for device in small.devices) - 4
        )


@pytest.mark.parametrize(
    ("engine", "chosen", "fields"),
    [
        ("exllamav3", {"cache_size": 1000}, ["cache_size", "256"]),
        ("exllamav3", {"tensor_parallel": True, "autosplit_reserve": 96}, ["tensor_parallel", "autosplit_reserve"]),
        ("exllamav3", {"cache_sze": 256}, ["cache_size"]),
        ("transformers", {"dtype": "int3"}, ["dtype", "bfloat16"]),
        ("transformers", {"quantization": "bnb-4bit", "dtype": "float32"}, ["quantization", "dtype"]),
        ("transformers", {"quantization": "bnb-8bit", "double_quant": True}, ["double_quant", "quantization"]),
        ("transformers", {"quantization": "bnb-4bit", "device_map": "cpu"}, ["quantization", "device_map"]),
    ],
)
def test_nonsense_and_contradictions_name_their_settings(engine, chosen, fields):
    with pytest.raises(UsageError) as error:
        forecast(engine, replace(inputs(), settings=chosen))
    assert all(field in str(error.value) for field in fields)


@pytest.mark.parametrize("engine", ["llama.cpp", "exllamav3", "transformers", "vllm"])
def test_memory_that_gpu_and_ram_share_is_counted_once(engine):
    base = inputs(gpus=(48,), **({"cpu_offload_gb": 1} if engine == "vllm" else {}))
    apart = forecast(engine, base).devices
    gpu = base.machine.gpus[0]
    one = replace(gpu, model=replace(gpu.model, unified_memory=True))
    together = forecast(engine, replace(base, machine=replace(base.machine, gpus=(one,)))).devices
    assert (len(apart), len(together)) == (2, 1)
    assert together[0].weights.expected == sum(device.weights.expected for device in apart)
    assert together[0].usable == apart[0].usable


def test_without_a_gpu_exllamav3_is_refused_and_transformers_is_not():
    with pytest.raises(UsageError, match="no GPU"):
        forecast("exllamav3", inputs(gpus=()))
    assert forecast("transformers", inputs(gpus=())).fits
