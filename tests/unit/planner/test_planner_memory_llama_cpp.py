"""llama.cpp's memory rules against its own logs, and what they must never do."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.app.planning import candidates_of
from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.device import DeviceKind
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.footprint import Range, WeightBytes
from ansambl.domain.units import GIB, MIB
from ansambl.hardware.catalog import load_machine
from ansambl.model_catalog.catalog import find_model
from ansambl.planner.memory import (
    MemoryInputs,
    fewest_expert_layers_in_ram,
    forecast,
    largest_context,
    most_parallel,
)
from support.memory_cases import DATA, architecture, load, machine

TABLE = json.loads((DATA / "llama_cpp_table.json").read_text(encoding="utf-8"))
ROWS = [
    pytest.param(row, id=f"{row['model']}-{row['context']}x{row['parallel']}-{row['kv_type']}-{row['settings']}")
    for row in TABLE["rows"]
]
COMPUTE_TOLERANCE = 0.03  # the worst row is gemma with q8_0: 0.5 MiB that the rules do not know
RSS_TOLERANCE = 0.05
SHAPE_TOLERANCE = 0.01


def on_processor(model, *, context, parallel=1, kv_type="f16", **chosen):
    facts = TABLE["models"][model]
    weights = WeightBytes(round((facts["model"] + facts["repack"]) * MIB), "log")
    return MemoryInputs(
        architecture(facts["architecture"]), weights, machine({"gpus": [], "ram": 24 * GIB}), context, parallel,
        kv_type, chosen,
    )  # fmt: skip


def big(gpus=(24,), *, ram=64, context=8192, parallel=1, model="gpt-oss-120b", **chosen):
    cases, architectures = load()
    weights = WeightBytes(**next(c for c in cases if c["model"] == model and not c.get("weights_from_log"))["weights"])
    table = {"gpus": [{"name": "gpu", "memory": size * GIB} for size in gpus], "ram": ram * GIB}
    return MemoryInputs(architectures[model], weights, machine(table), context, parallel, settings=chosen)


@pytest.mark.parametrize("row", ROWS)
def test_the_kv_cache_is_exact_and_compute_buffers_are_near_what_is_logged(row):
    ram = forecast(
        "llama.cpp",
        on_processor(
            row["model"], context=row["context"], parallel=row["parallel"], kv_type=row["kv_type"], **row["settings"]
        ),
    ).devices[0]
    # Logged with two decimals, sometimes in two parts.
    assert ram.kv_cache.low == ram.kv_cache.high
    assert ram.kv_cache.expected / MIB == pytest.approx(row["kv"], abs=0.011)
    if row["compute"] is not None:
        output = TABLE["models"][row["model"]]["output"] * row["parallel"]
        assert ram.compute.expected / MIB == pytest.approx(row["compute"] + output, rel=COMPUTE_TOLERANCE)
        assert ram.compute.high / MIB >= row["compute"]
    if row["rss"] is not None:
        # Compute buffers are reserved but not touched before the first prompt.
        resident = ram.total.expected - ram.compute.expected
        assert resident / MIB == pytest.approx(row["rss"], rel=RSS_TOLERANCE)
        assert ram.total.high / MIB >= row["rss"]


def test_a_dry_run_of_a_7b_model_gave_the_same_sizes():
    run = TABLE["dry_run"]
    inputs = replace(
        on_processor("SmolLM2-135M", context=run["context"]), architecture=architecture(run["architecture"])
    )
    ram = forecast("llama.cpp", inputs).devices[0]
    assert ram.kv_cache.expected == run["kv"] * MIB
    assert ram.compute.expected / MIB == pytest.approx(run["compute"], rel=0.01)


@pytest.mark.parametrize("row", TABLE["shapes"]["rows"])
def test_compute_buffers_follow_the_widths(row):
    inputs = MemoryInputs(
        architecture(row["architecture"]), WeightBytes(10**8, "log"), machine({"gpus": [], "ram": 24 * GIB}),
        row["context"], settings=row["settings"],
    )  # fmt: skip
    ram = forecast("llama.cpp", inputs).devices[0]
    output = 4 * row["architecture"]["vocabulary"] / MIB
    assert ram.compute.expected / MIB == pytest.approx(row["compute"] + output, rel=SHAPE_TOLERANCE)


def test_until_b9272_the_logits_of_a_whole_batch_were_reserved():
    inputs = on_processor("gemma-3-270m", context=8192)
    now = forecast("llama.cpp", inputs).devices[0].compute.expected
    before = forecast("llama.cpp", replace(inputs, settings={"engine_version": "b9272"})).devices[0].compute.expected
    assert before - now > 400 * MIB


def test_experts_of_the_first_layers_go_to_ram():
    nothing, some = (forecast("llama.cpp", big(gpus=(96,), ram=128, n_cpu_moe=count)).devices for count in (0, 10))
    moved = nothing[0].weights.expected - some[0].weights.expected
    # 3 tensors of 128 × 2880 × 2880 values at 4.25 bits: 1.576 GiB a layer.
    assert moved / GIB == pytest.approx(10 * 1.576, rel=0.001)
    assert some[1].weights.expected - nothing[1].weights.expected == pytest.approx(moved, abs=2)


def test_a_big_mixture_of_experts_fits_a_small_card_with_experts_in_ram():
    inputs = big(gpus=(24,), ram=64)
    assert not forecast("llama.cpp", inputs).fits
    layers = fewest_expert_layers_in_ram(inputs)
    assert layers is not None
    assert 0 < layers < 36
    assert forecast("llama.cpp", replace(inputs, settings={"n_cpu_moe": layers})).fits
    assert not forecast("llama.cpp", replace(inputs, settings={"n_cpu_moe": layers - 1})).fits
    assert fewest_expert_layers_in_ram(replace(inputs, machine=big(gpus=(4,), ram=8).machine)) is None


def test_whole_layers_in_ram_take_their_kv_cache_along():
    inputs = big(gpus=(24,), model="gemma-3-27b", context=4096)
    every, half = (
        forecast("llama.cpp", replace(inputs, settings={"n_gpu_layers": count})).devices for count in (63, 32)
    )
    assert half[0].weights.expected < 0.6 * every[0].weights.expected
    assert half[0].kv_cache.expected + half[1].kv_cache.expected == pytest.approx(every[0].kv_cache.expected, abs=2)
    assert every[1].kv_cache.high == 0
    assert [d.kind for d in forecast("llama.cpp", replace(inputs, settings={"n_gpu_layers": 0})).devices] == [
        DeviceKind.RAM
    ]


def test_the_largest_context_and_the_most_sequences_are_the_last_that_fit():
    inputs = big(gpus=(20,), model="gpt-oss-20b", engine_version="b9272")
    inputs = replace(inputs, settings={})
    context = largest_context("llama.cpp", inputs)
    assert context == inputs.architecture.context
    inputs = replace(inputs, parallel=8)
    context = largest_context("llama.cpp", inputs)
    assert context is not None
    assert forecast("llama.cpp", replace(inputs, context=context)).fits
    assert not forecast("llama.cpp", replace(inputs, context=context + 1)).fits
    many = most_parallel("llama.cpp", inputs)
    assert many is not None
    assert forecast("llama.cpp", replace(inputs, parallel=many)).fits
    assert not forecast("llama.cpp", replace(inputs, parallel=many + 1)).fits


def test_latent_and_recurrent_layers_keep_what_they_keep():
    layers = (
        LayerGroup(2, Attention.LATENT, key_width=576),
        LayerGroup(3, Attention.RECURRENT, state_bytes=1000),
    )
    shape = Architecture("x", 10**6, 10**6, layers, 64, 1000, 4)
    inputs = MemoryInputs(shape, WeightBytes(2 * 10**6, "test"), machine({"gpus": [], "ram": GIB * 8}), 512, parallel=2)
    assert forecast("llama.cpp", inputs).devices[0].kv_cache.expected == 2 * 576 * 2 * 512 * 2 + 3 * 1000 * 2


def test_a_prompt_cache_may_fill_up():
    inputs = on_processor("SmolLM2-135M", context=2048)
    without = forecast("llama.cpp", inputs).devices[0].overhead
    with_cache = forecast("llama.cpp", replace(inputs, settings={"prompt_cache": GIB})).devices[0].overhead
    assert (with_cache.low - without.low, with_cache.high - without.high) == (0, GIB)


@given(
    context=st.integers(1, 10_000_000), parallel=st.integers(1, 64), more=st.integers(0, 100_000),
    unified=st.booleans(), attention=st.booleans(), model=st.sampled_from(("gpt-oss-120b", "gemma-3-27b")),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_more_context_never_needs_less(context, parallel, more, unified, attention, model):
    chosen = {"kv_unified": unified, "flash_attention": attention, "n_cpu_moe": 5}
    inputs = big(model=model, context=context, parallel=parallel, **chosen)
    smaller, greater = forecast("llama.cpp", inputs), forecast("llama.cpp", replace(inputs, context=context + more))
    for one, other in zip(smaller.devices, greater.devices, strict=True):
        assert one.needed.low <= other.needed.low
        assert one.needed.high <= other.needed.high
    assert smaller.fits or not greater.fits


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"settings": {"n_ubatch": 0}}, "n_ubatch"),
        ({"settings": {"n_ubatch": "many"}}, "n_ubatch"),
        ({"settings": {"n_ubatch": 1.5}}, "n_ubatch"),
        ({"settings": {"flash_attention": "perhaps"}}, "flash_attention"),
        ({"settings": {"engine_version": "newest"}}, "engine_version"),
        ({"settings": {"gpu_memory_utilization": 0.9}}, "gpu_memory_utilization"),
        ({"kv_type": "q9_9"}, "q9_9"),
        ({"context": 0}, "context"),
        ({"context": 10**12}, "context"),
        ({"parallel": -1}, "parallel"),
    ],
)
def test_nonsense_names_its_field(change, field):
    inputs = on_processor("SmolLM2-135M", context=2048)
    with pytest.raises(UsageError, match=field):
        forecast("llama.cpp", replace(inputs, **change))


def test_engines_without_rules_are_refused():
    with pytest.raises(NotSupportedError, match="no memory rules"):
        forecast("abacus", on_processor("SmolLM2-135M", context=2048))


@pytest.mark.parametrize(("low", "high"), [(11, None), (None, 9), (-1, 20)])
def test_a_size_lies_within_its_ends(low, high):
    with pytest.raises(ValueError, match="total 10"):
        WeightBytes(10, "test", low=low, high=high)


def test_a_subset_of_the_gpus_is_planned_as_if_it_were_the_machine():
    # Experts of the first layers lie on the first GPU of those that take part, whatever its index is.
    inputs = big(gpus=(24, 24, 24), ram=128, n_cpu_moe=20)
    every = inputs.machine.gpus
    last_two, first_two = (
        forecast("llama.cpp", replace(inputs, machine=replace(inputs.machine, gpus=gpus)))
        for gpus in (every[1:], every[:2])
    )
    assert [device.index for device in last_two.devices] == [1, 2, 0]
    assert [device.weights for device in last_two.devices] == [device.weights for device in first_two.devices]


def test_a_range_must_be_in_order():
    with pytest.raises(ValueError, match="not a range"):
        Range(3, 2, 4)


def test_what_a_processor_keeps_twice_counts_in_the_log_and_not_against_the_ram():
    plain = on_processor("SmolLM2-135M", context=2048)
    twice = replace(plain, weights=WeightBytes(plain.weights.total, "log", repack=60 * MIB))
    one, two = (forecast("llama.cpp", inputs).devices[0] for inputs in (plain, twice))
    assert two.weights.expected == one.weights.expected + 60 * MIB
    assert two.total.expected == one.total.expected + 60 * MIB
    assert two.needed == one.needed


@pytest.mark.parametrize("value", ["1e308,1", "1e-320,0", "nan,1", "inf,1", "0,0", "-1,2"])
def test_shares_that_no_sum_can_hold_are_refused(value):
    cards = load_machine("dual-3090-64g")
    checkpoint = next(one for one in candidates_of(find_model("gpt-oss-20b")) if one.format == "gguf")
    inputs = MemoryInputs(
        architecture=checkpoint.architecture, weights=checkpoint.weights, machine=cards, context=4096,
        settings={"tensor_split": value},
    )  # fmt: skip
    with pytest.raises(UsageError, match="tensor_split"):
        forecast("llama.cpp", inputs)
