"""vLLM's memory rules: its budget, its block pool, its versions."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.units import GIB
from ansambl.planner.memory import MemoryInputs, forecast, largest_context, most_parallel
from ansambl.planner.memory.vllm import kv_capacity_tokens, kv_concurrency
from ansambl.planner.memory.vllm_blocks import make_pool
from support.memory_cases import inputs_of, load, machine

CASES, ARCHITECTURES = load()


def case(name, **change):
    return replace(inputs_of(next(one for one in CASES if one["id"] == name), ARCHITECTURES), **change)


def test_two_groups_of_gpt_oss_share_one_pool_as_logged():
    # The log says: 16,370 blocks, 130,960 tokens, 2.46 sequences of 98,304 tokens.
    pool = make_pool(
        ARCHITECTURES["gpt-oss-120b"], "auto", block_size=16, tensor_parallel=1, max_batched=8192, version=(0, 11, 2)
    )
    assert (pool.block, pool.groups, pool.blocks_for(98304)) == (589_824, 2, 6_665)
    assert pool.capacity_tokens(16_370 * pool.block, 98304) == 130_960
    assert pool.concurrency(16_370 * pool.block, 98304) == pytest.approx(2.46, abs=0.005)


def test_kinds_with_smaller_cells_get_more_tokens_in_a_page():
    pool = make_pool(
        ARCHITECTURES["gemma-4-26B-A4B"], "fp8", block_size=16, tensor_parallel=1, max_batched=2048, version=(0, 19)
    )
    assert pool.groups == 6
    assert [kind.tokens for kind in pool.kinds] == [16, 32]
    # Five groups of sliding layers over 1,023 + 2,048 tokens and one of layers that see everything.
    assert pool.blocks_for(131072) == 5 * 193 + 4096


def test_a_recurrent_state_needs_a_page_of_its_own():
    layers = (
        LayerGroup(4, Attention.FULL, key_width=512, value_width=512),
        LayerGroup(12, Attention.RECURRENT, state_bytes=1_000_000),
    )
    pool = make_pool(
        Architecture("x", 1, 1, layers, 64, 1000, 4), "f16", block_size=16, tensor_parallel=1, max_batched=2048,
        version=(0, 33),
    )  # fmt: skip
    assert pool.block_size == 496
    assert pool.block >= 4 * 1_000_000
    assert pool.blocks_for(496 * 10) == 10 + 3


def test_the_printed_size_changed_its_meaning_with_the_versions():
    old, new = (
        kv_capacity_tokens(replace(case("mem002"), settings={"engine_version": version}), 9 * GIB)
        for version in ("0.19.0", "0.22.0")
    )
    assert old == 131_072
    assert new == int(kv_concurrency(case("mem002", settings={"engine_version": "0.22.0"}), 9 * GIB) * 98304)


def test_graphs_come_out_of_the_budget_since_0_21():
    inputs = case("mem007")
    base = {"gpu_memory_utilization": 0.9, "total_memory": 79 * GIB}
    before, since, eager = (
        forecast("vllm", replace(inputs, settings={**base, **more})).devices[0]
        for more in (
            {"engine_version": "0.20.0"}, {"engine_version": "0.21.0"},
            {"engine_version": "0.21.0", "enforce_eager": True},
        )
    )  # fmt: skip
    assert before.kv_cache.expected == eager.kv_cache.expected
    assert eager.kv_cache.expected - since.kv_cache.expected == round(0.64 * GIB)
    # What is allocated in all is the budget, and before 0.21 the graphs beside it.
    assert since.total.expected == pytest.approx(0.9 * 79 * GIB, abs=2)
    assert before.total.expected == pytest.approx((0.9 * 79 + 0.64) * GIB, abs=2)


def test_tensor_parallel_halves_weights_and_cells():
    inputs = case("mem016", machine=machine({"gpus": [{"name": "a", "memory": 24 * GIB}] * 2, "ram": 64 * GIB}))
    one, two = (forecast("vllm", replace(inputs, settings={"tensor_parallel": count})) for count in (1, 2))
    assert (len(one.devices), len(two.devices)) == (1, 2)
    assert two.devices[0].weights.expected == pytest.approx(one.devices[0].weights.expected / 2, abs=2)
    assert two.devices[0].kv_needed.expected * 2 == one.devices[0].kv_needed.expected


def test_what_fits_is_judged_on_the_careful_side_and_can_be_inverted():
    inputs = case("mem016", context=8192)
    found = forecast("vllm", inputs)
    assert found.fits
    # The log gave 31,232 tokens; the promise stays below.
    small = replace(inputs, settings={**inputs.settings, "max_num_batched_tokens": 2048})
    context = largest_context("vllm", small)
    assert context is not None
    assert context <= forecast("vllm", replace(small, context=context)).kv_capacity_tokens
    many = most_parallel("vllm", inputs)
    assert many is not None
    assert forecast("vllm", replace(inputs, parallel=many)).fits
    assert not forecast("vllm", replace(inputs, parallel=many + 1)).fits
    too_big = forecast("vllm", case("mem018", machine=inputs.machine))
    assert not too_big.fits
    assert "does-not-fit" in {reason.code for reason in too_big.reasons}
    assert most_parallel("vllm", case("mem018", machine=inputs.machine)) is None


def test_every_reason_has_a_source_and_reads_as_a_sentence():
    for reason in forecast("vllm", case("mem002")).reasons:
        assert reason.source
        assert "{" not in reason.text.render()


@pytest.mark.parametrize(
    ("chosen", "field"),
    [
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization"),
        ({"gpu_memory_utilization": True}, "gpu_memory_utilization"),
        ({"tensor_parallel": 2}, "tensor_parallel"),
        ({"n_ubatch": 512}, "n_ubatch"),
    ],
)
def test_nonsense_names_its_field(chosen, field):
    with pytest.raises(UsageError, match=field):
        forecast("vllm", case("mem002", settings=chosen))


def test_a_machine_without_a_gpu_is_refused():
    inputs = MemoryInputs(
        ARCHITECTURES["Llama-3.1-8B"], WeightBytes(16 * 10**9, "test"), machine({"gpus": [], "ram": 64 * GIB}), 4096
    )
    for asked in (lambda: forecast("sglang", inputs), lambda: kv_capacity_tokens(inputs, GIB)):
        with pytest.raises(UsageError, match="no GPU"):
            asked()


def test_in_32_bits_weights_and_cells_are_twice_as_large():
    inputs = case("mem018", settings={}, weights=WeightBytes(2 * ARCHITECTURES["Llama-3.1-8B"].parameters, "test"),
                  architecture=ARCHITECTURES["Llama-3.1-8B"])  # fmt: skip
    plain, wide = (forecast("vllm", replace(inputs, settings=chosen)) for chosen in ({}, {"dtype": "float32"}))
    assert wide.devices[0].weights.expected == 2 * plain.devices[0].weights.expected
    assert wide.devices[0].kv_needed.expected == 2 * plain.devices[0].kv_needed.expected


@pytest.mark.parametrize(
    ("version", "context", "settings", "peak"),
    [
        # 1024 sequences of 201,088 logits in 4 bytes, 9.2 times; 0.19 and later sort no more.
        ("0.10.1", 4096, {"max_num_seqs": 1024}, 1024 * 201088 * 4 * 9.2),
        ("0.20.0", 4096, {"max_num_seqs": 1024}, 1024 * 201088 * 4 * 4.2),
        # A big card's default is 1024 sequences.
        ("0.8.0", 4096, {}, 1024 * 201088 * 4 * 9.2),
    ],
)
def test_what_sampling_takes_depends_on_the_version(version, context, settings, peak):
    inputs = case("mem002", context=context)
    inputs = replace(inputs, settings={"engine_version": version, **settings})
    assert forecast("vllm", inputs).devices[0].compute.expected == pytest.approx(peak, rel=1e-6)


def test_the_old_engine_cuts_long_sequences_into_chunks_unless_adapters_are_served():
    inputs = case("mem016")
    peaks = {
        (context, lora): forecast(
            "vllm", replace(inputs, context=context, settings={**inputs.settings, "enable_lora": lora})
        ).devices[0].compute.expected
        for context in (32768, 32769) for lora in (False, True)
    }  # fmt: skip
    assert peaks[32769, False] < peaks[32768, False] / 10
    assert peaks[32769, True] > peaks[32768, True]


def test_graphs_beyond_the_share_must_find_room():
    inputs = case("mem002", context=4096)
    shares = {
        (version, share): forecast(
            "vllm", replace(inputs, settings={"engine_version": version, "gpu_memory_utilization": share,
                                              "max_num_seqs": 8})
        )
        for version, share in (("0.14.1", 0.9), ("0.14.1", 0.97), ("0.21.0", 0.97))
    }  # fmt: skip
    assert {key: found.fits for key, found in shares.items()} == {
        ("0.14.1", 0.9): True, ("0.14.1", 0.97): False, ("0.21.0", 0.97): True,
    }  # fmt: skip
    assert "no-room-for-graphs" in {reason.code for reason in shares["0.14.1", 0.97].reasons}


def test_a_sequence_holds_two_pages_of_a_state_where_prefixes_are_kept():
    cases, architectures = load()
    inputs = inputs_of(next(one for one in cases if one["id"] == "new16"), architectures)
    kept, dropped = (
        kv_concurrency(replace(inputs, settings={**inputs.settings, "enable_prefix_caching": keep}), 6 << 30)
        for keep in (True, False)
    )
    # 61 pages of keys and 3 groups of layers with a state, twice or once.
    assert kept / dropped == pytest.approx((61 + 3) / (61 + 6))
