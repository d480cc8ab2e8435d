"""The speed forecast: what the roofline answers, what is unknown, and how near measurements are."""

import dataclasses
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.app.planning import candidates_of
from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.device import DeviceKind, DeviceModel, PlannedDevice
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.speed import SpeedRange
from ansambl.domain.units import GIB, Bytes
from ansambl.hardware.catalog import load_machine
from ansambl.model_catalog.catalog import find_model
from ansambl.planner.speed import Part, SpeedInputs, forecast, spread_over, with_experts_in_ram
from support.speed_cases import DATA, compared_speeds, measurements

DENSE = Architecture(
    "llama", 8_000_000_000, 8_000_000_000, (LayerGroup(32, Attention.FULL, 1024, 1024),), 4096, 128_256, 32
)
MOE = dataclasses.replace(DENSE, active=2_000_000_000, experts=64, experts_active=4, expert_feed_forward=1024)
TERA = 1e12
ROOT = Path(__file__).parents[3]


def gpu(**facts):
    known = {"bandwidth": 1e12, "operations": {"bf16": (100 * TERA, 100 * TERA)}, "capability": "8.9"} | facts
    model = DeviceModel("card", "Card", known.pop("vendor", "nvidia"), **known)
    return PlannedDevice(DeviceKind.GPU, model, Bytes(24 * GIB))


def ram(**facts):
    known = {"bandwidth": 8e10} | facts
    return PlannedDevice(
        DeviceKind.RAM, DeviceModel("ram", "RAM", "intel", kind=DeviceKind.RAM, **known), Bytes(64 * GIB)
    )


def placed(*devices, architecture=DENSE, size=5_000_000_000, **more):
    return SpeedInputs(architecture, WeightBytes(Bytes(size), "test"), spread_over(devices), **more)


def expected(inputs, phase="decode", engine="llama.cpp"):
    return getattr(forecast(engine, inputs), phase).expected


def codes(found):
    return {reason.code for reason in found.reasons}


def shares(phase, *, facts_only=False):
    rows = [
        one for one in compared_speeds()
        if one.measured.phase == phase and (one.measured.case.startswith("spd") or not facts_only)
    ]  # fmt: skip
    assert all(one.expected is not None for one in rows)
    near = sum(abs(one.error) <= 0.25 for one in rows) / len(rows)
    return len(rows), near, sum(one.within for one in rows) / len(rows)


def test_measured_speeds_are_met_as_claimed():
    for facts_only, least in ((True, (70, 45)), (False, (90, 80))):
        count, near, within = shares("decode", facts_only=facts_only)
        assert count >= least[0]
        assert near >= 0.85
        assert within >= 0.90
        count, near, within = shares("prefill", facts_only=facts_only)
        assert count >= least[1]
        assert near >= 0.70
        assert within >= 0.90
    count, near, within = shares("batch")
    assert count >= 30
    assert near >= 0.70
    assert within >= 0.90


def test_every_row_is_either_used_or_left_out_with_a_reason():
    table = json.loads((DATA / "speed_cases.json").read_text(encoding="utf-8"))
    used = {case["id"] for case in table["cases"]}
    assert not used & table["left_out"].keys()
    assert all(table["left_out"].values())
    assert all(case["source"] and case["bytes_source"] for case in table["cases"])
    assert {row.case for row in measurements()} == used


def test_no_device_is_faster_than_its_bandwidth():
    inputs = placed(gpu())
    read = 5_000_000_000 * (1 - 128_256 * 4096 / 8e9)
    assert expected(inputs) < 1e12 / read


def test_twice_the_bytes_never_decode_faster_and_context_costs():
    one = expected(placed(gpu()))
    assert expected(placed(gpu(), size=10_000_000_000)) < one
    assert expected(placed(gpu(), context=32_768)) < one
    quantized = expected(placed(gpu(), context=32_768, kv_type="q8_0"))
    assert expected(placed(gpu(), context=32_768)) < quantized < one


def test_a_sliding_window_stops_the_cost_of_context():
    sliding = dataclasses.replace(DENSE, layers=(LayerGroup(32, Attention.SLIDING, 1024, 1024, window=1024),))
    short, long = (placed(gpu(), architecture=sliding, context=tokens) for tokens in (1024, 65_536))
    assert expected(short) == expected(long)


def test_a_moe_reads_only_the_experts_that_a_token_passes_through():
    assert expected(placed(gpu(), architecture=MOE)) > 1.5 * expected(placed(gpu()))


def test_experts_in_ram_slow_decode_by_the_bandwidth_of_the_ram():
    inputs = placed(gpu(link_bandwidth=3e10), architecture=MOE)
    moved = dataclasses.replace(inputs, parts=with_experts_in_ram(inputs.parts, ram()))
    half = dataclasses.replace(inputs, parts=with_experts_in_ram(inputs.parts, ram(), 0.5))
    faster = dataclasses.replace(inputs, parts=with_experts_in_ram(inputs.parts, ram(bandwidth=3e11)))
    assert expected(moved) < expected(half) < expected(inputs)
    assert expected(moved) < expected(faster) < expected(inputs)
    assert expected(moved, "prefill") < expected(inputs, "prefill")


def test_prefill_over_an_unknown_link_is_unknown_while_decode_is_known():
    inputs = placed(gpu(), architecture=MOE)
    found = forecast("llama.cpp", dataclasses.replace(inputs, parts=with_experts_in_ram(inputs.parts, ram())))
    assert found.decode is not None
    assert found.prefill is None
    assert "speed.link-unknown" in codes(found)


def test_cards_one_after_the_other_add_and_cards_together_share():
    alone = expected(placed(gpu()), engine="vllm")
    after, together = placed(gpu(), gpu()), placed(gpu(), gpu(), split_tensors=True)
    assert expected(after, engine="vllm") == pytest.approx(alone)
    assert expected(together, engine="vllm") > 1.3 * alone


@pytest.mark.parametrize(
    ("device", "engine", "code"),
    [
        (gpu(bandwidth=None), "llama.cpp", "speed.bandwidth-unknown"),
        (gpu(), "cloud", "speed.engine-unknown"),
        (gpu(unified_memory=True, vendor="amd"), "vllm", "speed.factor-unknown"),
        (ram(), "vllm", "speed.factor-unknown"),
    ],
)
def test_what_is_not_known_gives_no_number_but_a_reason(device, engine, code):
    found = forecast(engine, placed(device))
    assert found.decode is None
    assert found.prefill is None
    assert codes(found) == {code}
    assert str(found.reasons[0].text)


def test_a_card_without_known_operations_has_a_decode_speed_only():
    found = forecast("llama.cpp", placed(gpu(operations={})))
    assert found.decode is not None
    assert found.prefill is None
    assert codes(found) == {"speed.decode", "speed.operations-unknown"}


def test_a_range_widens_where_sources_differ():
    plain = forecast("llama.cpp", placed(gpu())).decode
    wide = forecast("llama.cpp", placed(gpu(bandwidth_low=7e11))).decode
    assert wide.expected == plain.expected
    assert wide.high == plain.high
    assert wide.low < plain.low


def test_measured_bandwidth_of_ram_is_expected_and_may_stand_alone():
    both, alone = ram(bandwidth=8e10, bandwidth_low=6e10), ram(bandwidth=None, bandwidth_low=6e10)
    assert expected(placed(both)) == expected(placed(alone)) < expected(placed(ram(bandwidth=8e10)))


def test_long_prompts_cost_attention():
    assert expected(placed(gpu(), prompt=65_536), "prefill") < expected(placed(gpu(), prompt=1024), "prefill")


def test_a_gpu_of_stacked_memory_has_factors_of_its_own():
    assert expected(placed(gpu(capability="9.0"))) != expected(placed(gpu()))


@pytest.mark.parametrize(
    "change",
    [
        {"context": -1},
        {"prompt": 0},
        {"parts": ()},
        {"parallel": 0},
        {"parallel": 10**6},
        {"cached": -1},
        {"batch_tokens": 0},
    ],
)
def test_what_makes_no_sense_is_refused(change):
    with pytest.raises(UsageError):
        dataclasses.replace(placed(gpu()), **change)


def test_a_range_is_in_order():
    with pytest.raises(ValueError, match="not a range"):
        SpeedRange(2.0, 1.0, 3.0)


@pytest.mark.parametrize("name", ["rtx-4090-64g", "rtx-pro-6000-128g", "h100-80g", "dgx-spark", "cpu-7950x-128g"])
def test_nobody_is_promised_more_than_the_memory_can_read(name):
    machine = load_machine(name)
    device = machine.gpus[0] if machine.gpus else machine.ram
    checkpoint = next(
        one for one in candidates_of(find_model("llama-3.1-8b-instruct")) if one.quantization == "Q8_0"
    )  # fmt: skip
    inputs = SpeedInputs(
        architecture=checkpoint.architecture, weights=checkpoint.weights, parts=(Part(device, 1.0, 1.0),), context=1,
        prompt=1024,
    )  # fmt: skip
    decode = forecast("llama.cpp", inputs).decode
    # A dense model's token reads all weights but the rows of the embedding that it does not use.
    read = checkpoint.weights.total * 0.9
    assert decode.high <= max(device.model.bandwidth, device.model.bandwidth_low or 0) / read
    assert decode.low < decode.expected <= decode.high
