"""Parallel sequences, prefill by hand, links, and the forecast's order: more of what helps is never slower."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.units import GIB, Bytes
from ansambl.hardware.catalog import load_machine
from ansambl.planner.speed import ENGINES, SpeedInputs, forecast, spread_over, with_experts_in_ram
from ansambl.planner.speed.factors import FACTORS
from ansambl.planner.speed.roofline import touched
from ansambl.planner.speed.work import work_of

LAYERS = LayerGroup(32, Attention.FULL, 1024, 1024)
DENSE = Architecture("llama", 8_000_000_000, 8_000_000_000, (LAYERS,), 4096, 128_256, 32)
# gpt-oss-120b's inside, as its published configuration tells it.
SPARSE = Architecture(
    "gpt-oss", 116_829_156_672, 5_100_000_000,
    (LayerGroup(18, Attention.SLIDING, 512, 512, window=128), LayerGroup(18, Attention.FULL, 512, 512)),
    2880, 201_088, 64, experts=128, experts_active=4, expert_feed_forward=2880, query_width=4096,
)  # fmt: skip
WEIGHTS = WeightBytes(Bytes(8_000_000_000), "test", embedding=Bytes(500_000_000))
SPARSE_WEIGHTS = WeightBytes(
    Bytes(63_400_000_000), "test", embedding=Bytes(1_150_000_000), experts=Bytes(60_000_000_000)
)


def card(**facts):
    known = {
        "bandwidth": 1e12, "operations": {"fp16": (2e14, 2e14)}, "watts": 400, "capability": "8.9",
        "link_bandwidth": 3e10,
    } | facts  # fmt: skip
    return PlannedDevice(DeviceKind.GPU, DeviceModel("card", "Card", "nvidia", **known), Bytes(96 * GIB))


def ram(**facts):
    known = {"bandwidth": 8e10, "operations": {"fp32": (2e12, 2e12)}} | facts
    model = DeviceModel("ram", "RAM", "amd", kind=DeviceKind.RAM, **known)
    return PlannedDevice(DeviceKind.RAM, model, Bytes(128 * GIB))


def dense(*devices, **more):
    return SpeedInputs(DENSE, WEIGHTS, spread_over(devices or [card()]), **more)


def sparse(*devices, **more):
    return SpeedInputs(SPARSE, SPARSE_WEIGHTS, spread_over(devices or [card()]), **more)


def codes(found):
    return {reason.code for reason in found.reasons}


def test_decode_by_hand():
    # 7.5 GB of layers and output at the reached part of 1 TB/s, and the fixed time of 32 layers.
    reached = FACTORS.bandwidth["llama.cpp gpu"]
    seconds = 7.5e9 / (1e12 * reached) + 32 * FACTORS.seconds["llama.cpp gpu"]
    assert forecast("llama.cpp", dense()).decode.expected == pytest.approx(1 / seconds)
    # 1000 tokens of KV cache: 32 layers, keys and values of 1024 elements with two bytes.
    with_context = seconds + 1000 * 32 * 2 * 1024 * 2 / (1e12 * reached)
    assert forecast("llama.cpp", dense(context=1000)).decode.expected == pytest.approx(1 / with_context)


def test_prefill_by_hand():
    # One batch of 512 tokens: 2 x 8e9 operations a token and the attention's 32 x 4 x 4096 x 256, at the reached part
    # of the root of rate times watts; beside it 7 GB of layers to read; and the fixed time of 32 layers.
    reached = FACTORS.operations["llama.cpp gpu"] * math.sqrt(2e14 * 400e12)
    computing = 512 * (2 * 8e9 + 32 * 4 * 4096 * 256) / reached
    reading = 7e9 / (1e12 * FACTORS.bandwidth["llama.cpp gpu"])
    seconds = math.hypot(computing, reading) + 32 * FACTORS.seconds["llama.cpp gpu"]
    assert forecast("llama.cpp", dense(prompt=512)).prefill.expected == pytest.approx(512 / seconds)


def test_a_shared_prefix_costs_only_its_attention():
    whole = forecast("llama.cpp", dense(prompt=8192)).prefill.expected
    rest = forecast("llama.cpp", dense(prompt=1024, cached=7168)).prefill.expected
    fresh = forecast("llama.cpp", dense(prompt=1024)).prefill.expected
    assert 1024 / rest < 8192 / whole / 4
    assert rest < fresh


def test_larger_batches_of_tokens_read_weights_less_often():
    small, large = (forecast("llama.cpp", sparse(prompt=4096, batch_tokens=size)).prefill for size in (256, 2048))
    assert small.expected < large.expected


def test_sixteen_bits_need_no_unpacking():
    sixteen = dataclasses.replace(dense(), weights=WeightBytes(Bytes(16_000_000_000), "test"))
    eight = forecast("llama.cpp", dense(prompt=2048)).prefill.expected
    assert forecast("llama.cpp", dataclasses.replace(sixteen, prompt=2048)).prefill.expected > eight


def test_the_experts_that_a_step_touches():
    work = work_of(sparse())
    assert touched(work, 1, 0.5) == pytest.approx(4 / 128)
    # Two tokens that route for themselves: 1 - (124/128)^2.
    assert touched(work, 2, 1.0) == pytest.approx(1 - (124 / 128) ** 2)
    assert touched(work, 100_000, 1.0) == pytest.approx(1)
    assert touched(work_of(dense()), 8, 1.0) == 0


def test_one_sequence_is_its_own_batch():
    found = forecast("llama.cpp", dense())
    assert found.batch == found.decode == found.per_stream
    assert found.parallel == 1


def test_parallel_sequences_share_the_reading_of_a_dense_model():
    alone = forecast("llama.cpp", dense(context=512))
    eight = forecast("llama.cpp", dense(context=512, parallel=8))
    assert eight.decode == alone.decode
    assert 4 * alone.decode.expected < eight.batch.expected < 8 * alone.decode.expected
    assert eight.per_stream.expected == pytest.approx(eight.batch.expected / 8)
    assert "speed.batch" in codes(eight)


def test_a_moe_gains_less_by_a_batch_than_a_dense_model():
    gains = [
        forecast("llama.cpp", make(context=512, parallel=8)).batch.expected
        / forecast("llama.cpp", make(context=512)).decode.expected
        for make in (dense, sparse)
    ]
    assert gains[1] < gains[0]


def test_a_batch_range_is_wider_than_that_of_one_stream():
    found = forecast("vllm", dense(parallel=8))
    assert found.batch.high / found.batch.expected > found.decode.high / found.decode.expected


def test_what_computes_a_batch_must_be_known():
    inputs = sparse(parallel=4)
    parts = with_experts_in_ram(inputs.parts, ram(operations={}))
    found = forecast("llama.cpp", dataclasses.replace(inputs, parts=parts))
    assert found.decode is not None
    assert found.prefill is not None
    assert found.batch is None
    assert found.per_stream is None
    assert "speed.operations-unknown" in codes(found)


def test_experts_in_ram_are_copied_for_long_prompts_and_computed_there_for_short_ones():
    inputs = sparse(prompt=2048)
    moved = dataclasses.replace(inputs, parts=with_experts_in_ram(inputs.parts, ram()))
    slow = [dataclasses.replace(part, device=card(link_bandwidth=1e9)) for part in inputs.parts]
    over_slow = dataclasses.replace(moved, parts=with_experts_in_ram(slow, ram()))
    long, long_slow = (forecast("llama.cpp", one).prefill.expected for one in (moved, over_slow))
    # 60 GB for each of four batches over a link of 30 GB/s, and little else.
    assert 2048 / long > 4 * 60e9 / 30e9
    assert long_slow < long / 10
    short, short_slow = (
        forecast("llama.cpp", dataclasses.replace(one, prompt=16)).prefill.expected for one in (moved, over_slow)
    )
    assert short == pytest.approx(short_slow)


def test_gpt_oss_120b_beside_a_card_of_24_gb_answers_at_reading_speed():
    # 27 of 36 layers' experts in RAM: 4/128 of 45 GB over 89.6 GB/s alone take 16 ms, so below 63 tokens a second; two
    # measured desktops with all experts in RAM gave 18 to 26 (gokawiil.com/article/74814).
    machine = load_machine("rtx-4090-64g")
    parts = with_experts_in_ram(spread_over(machine.gpus), machine.ram, 27 / 36)
    found = forecast("llama.cpp", SpeedInputs(SPARSE, SPARSE_WEIGHTS, parts, context=4096, prompt=4096))
    assert found.decode.low < 26 < found.decode.high
    assert found.decode.expected < 63
    assert found.prefill is not None


def test_a_card_without_a_stated_power_has_a_wider_prefill():
    known = forecast("llama.cpp", dense()).prefill
    unknown = forecast("llama.cpp", dense(card(watts=None))).prefill
    assert unknown.high / unknown.low > 2 * known.high / known.low
    assert unknown.low < known.expected < unknown.high


def test_two_cards_in_line_read_long_prompts_faster_than_one():
    one, two = (forecast("llama.cpp", dense(*cards, prompt=4096)).prefill for cards in ((card(),), (card(), card())))
    assert one.expected < two.expected < 2 * one.expected


def test_engines_without_fitted_measurements_have_wider_ranges_and_say_so():
    own, alike = (forecast(engine, dense()) for engine in ("vllm", "sglang"))
    assert alike.decode.expected == own.decode.expected
    assert alike.decode.low < own.decode.low
    # Neither is promised more than the memory can read.
    assert alike.decode.high >= own.decode.high
    assert alike.prefill.high > own.prefill.high
    assert "speed.engine-alike" in codes(alike)
    assert "speed.engine-alike" not in codes(own)
    assert all(forecast(engine, dense()).decode is not None for engine in ENGINES)


@pytest.mark.parametrize(
    "name",
    [
        "rtx-pro-6000-128g", "rtx-4090-64g", "rtx-4080-64g", "rx-7900-xtx-64g", "dual-3090-64g", "cpu-7950x-128g",
        "cpu-13900k-64g", "strix-halo-128g", "dgx-spark", "h100-80g", "mac-m4-max-128g",
    ],
)  # fmt: skip
def test_a_shipped_machine_has_a_speed_with_and_without_offload(name):
    machine = load_machine(name)
    layouts = [spread_over(machine.gpus or [machine.ram])]
    if machine.gpus:
        layouts.append(with_experts_in_ram(layouts[0], machine.ram, 0.5))
    for parts in layouts:
        found = forecast("llama.cpp", SpeedInputs(SPARSE, SPARSE_WEIGHTS, parts, parallel=4))
        assert found.decode is not None
        assert found.prefill is not None
        if not machine.ram.model.unified_memory:
            assert found.batch is not None


numbers = st.floats(min_value=1.0, max_value=4.0)


@given(numbers, st.sampled_from([dense, sparse]), st.integers(1, 64), st.integers(0, 100_000))
def test_more_of_what_helps_is_never_slower(times, make, parallel, context):
    base = make(parallel=parallel, context=context)
    before = forecast("llama.cpp", base)
    for facts in ({"bandwidth": 1e12 * times}, {"operations": {"fp16": (2e14 * times, 2e14 * times)}}):
        parts = spread_over([card(**facts)])
        after = forecast("llama.cpp", dataclasses.replace(base, parts=parts))
        assert after.decode.expected >= before.decode.expected
        assert after.prefill.expected >= before.prefill.expected
        assert after.batch.expected >= before.batch.expected


@given(st.integers(0, 200_000), st.integers(0, 200_000), st.sampled_from([dense, sparse]), st.integers(1, 64))
def test_longer_contexts_are_never_faster(one, other, make, parallel):
    short, long = (
        forecast("vllm", make(context=length, cached=length, parallel=parallel)) for length in sorted((one, other))
    )
    assert long.decode.expected <= short.decode.expected
    assert long.prefill.expected <= short.prefill.expected
    assert long.batch.expected <= short.batch.expected


@given(st.integers(1, 256), st.integers(0, 100_000), st.sampled_from([dense, sparse]), st.sampled_from(ENGINES))
def test_a_batch_is_never_below_one_stream_and_no_stream_gains_by_it(parallel, context, make, engine):
    found = forecast(engine, make(context=context, parallel=parallel))
    assert found.batch.low <= found.batch.expected <= found.batch.high
    assert found.batch.expected >= found.decode.expected
    assert found.per_stream.expected <= found.decode.expected * (1 + 1e-9)
