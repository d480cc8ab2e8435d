"""SGLang and TGI: budgets by hand from their sources, and what every budget engine must never do."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.app.planning import candidates_of
from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.units import GIB, MIB
from ansambl.hardware.catalog import load_machine
from ansambl.model_catalog.catalog import find_model
from ansambl.planner.memory import Extras, Lora, MemoryInputs, forecast, largest_context, most_parallel
from ansambl.planner.memory.ranks import kv_share
from support.memory_cases import load, machine

ARCHITECTURES = load()[1]
CONTEXT = round(0.35 * GIB)


def inputs(model="Llama-3.1-8B", gpus=(24,), *, size=15, context=4096, parallel=1, kv_type="f16", **chosen):
    table = {"gpus": [{"name": "gpu", "memory": memory * GIB} for memory in gpus], "ram": 64 * GIB}
    weights = WeightBytes(size * GIB, "test")
    return MemoryInputs(ARCHITECTURES[model], weights, machine(table), context, parallel, kv_type, chosen)


@pytest.mark.parametrize(
    ("memory", "fraction"),
    [
        # 512 + 1.5 × 2048 + 128 + 2 × 8 + 8 × 42 graphs = 4064 of 16384 MiB
        (16, 0.752),
        # 512 + 1.5 × 4096 + 128 + 2 × 48 + 8 × 50 = 7280 of 24576
        (24, 0.704),
        # 512 + 1.5 × 8192 + 128 + 2 × 256 + 8 × 58 = 13904 of 81920
        (80, 0.830),
        # 512 + 1.5 × 16384 + 128 + 2 × 512 + 8 × 74 = 26832 of 196608
        (192, 0.864),
    ],
)
def test_sglangs_fraction_follows_its_reserve_rules(memory, fraction):
    found = forecast("sglang", inputs(gpus=(memory,), size=2, total_memory=memory * GIB)).devices[0]
    static = found.weights.expected + found.kv_cache.expected
    assert static == pytest.approx((memory * GIB - CONTEXT) * fraction, abs=MIB)


def test_a_large_card_keeps_at_least_ten_gibibytes_and_pictures_take_a_share():
    chosen = {"chunked_prefill_size": 2048, "cuda_graph_max_bs": 1, "total_memory": 96 * GIB}
    found = forecast("sglang", inputs(gpus=(96,), **chosen)).devices[0]
    assert found.weights.expected + found.kv_cache.expected == pytest.approx((96 * GIB - CONTEXT) * 0.896, abs=MIB)
    pictures = forecast("sglang", inputs(gpus=(96,), **chosen, multimodal=True)).devices[0]
    assert pictures.weights.expected + pictures.kv_cache.expected == pytest.approx(
        (96 * GIB - CONTEXT) * 0.896 * 0.95, abs=MIB
    )


def test_sglangs_window_pool_holds_a_share_of_the_tokens():
    # gpt-oss-120b: 18 layers of each kind, 2048 bytes a token; one token of the pool takes 18 × 2048 × (1 + 0.8).
    found = forecast("sglang", inputs("gpt-oss-120b", (96,), size=61, context=131072))
    assert found.devices[0].kv_needed.expected == 131072 * 18 * 2048 * 9 // 5 + (-131072 * 18 * 2048 * 9 % 5 > 0)
    half = forecast("sglang", inputs("gpt-oss-120b", (96,), size=61, context=131072, swa_full_tokens_ratio=0.5))
    assert half.devices[0].kv_needed.expected == 131072 * 18 * 2048 * 3 // 2
    assert half.kv_capacity_tokens > found.kv_capacity_tokens


def test_sglangs_states_and_cells_divide_what_is_free():
    layers = (
        LayerGroup(4, Attention.FULL, key_width=512, value_width=512),
        LayerGroup(12, Attention.RECURRENT, state_bytes=2_000_000),
    )
    shape = Architecture("x", 10**9, 10**9, layers, 2048, 50_000, 16)
    base = replace(inputs(size=2, context=1), architecture=shape)
    # Five slots for each sequence, and for 0.9 of states there is 1 of cells.
    needed = forecast("sglang", base).devices[0].kv_needed.expected
    assert needed == pytest.approx(5 * 12 * 2_000_000 * 1.9 / 0.9, rel=1e-6)
    long = forecast("sglang", replace(base, context=100_000)).devices[0].kv_needed.expected
    assert long == pytest.approx(100_000 * 4 * 2048 * 1.9, rel=1e-6)


def test_a_cap_on_tokens_is_kept():
    base = inputs(gpus=(80,), context=4096, max_total_tokens=4096)
    found = forecast("sglang", base)
    assert found.fits
    assert found.kv_capacity_tokens == 4096
    assert not forecast("sglang", replace(base, context=4097)).fits


def test_tgi_divides_what_a_trial_left():
    # One H100: what is seen - context - weights - activations - 4096 tokens of cache, 0.9 of it, and those tokens.
    found = forecast("tgi", inputs(gpus=(80,))).devices[0]
    cell = 32 * 2 * 1024 * 2
    seen = int(80 * GIB * 23.68 / 24)
    free = seen - found.overhead.expected - found.weights.expected - found.compute.expected - 4096 * cell
    assert found.kv_cache.expected == pytest.approx(free * 0.9 + 4096 * cell, abs=2)
    # Layers with a window keep all tokens there.
    gemma = forecast("tgi", inputs("gemma-3-27b", gpus=(80,), context=8192)).devices[0]
    assert gemma.kv_needed.expected == 62 * 8192 * 2 * 16 * 128 * 2


@pytest.mark.parametrize(
    ("engine", "model", "extras"),
    [("tgi", "Llama-3.1-8B", Extras(lora=Lora())), ("tgi", "recurrent", Extras())],
)
def test_what_tgi_has_no_rules_for_is_refused(engine, model, extras):
    base = replace(inputs(), extras=extras)
    if model == "recurrent":
        layers = (LayerGroup(2, Attention.RECURRENT, state_bytes=1000),)
        base = replace(base, architecture=replace(base.architecture, layers=layers))
    with pytest.raises(NotSupportedError, match="no memory rules"):
        forecast(engine, base)


def test_a_kv_head_is_never_divided():
    shape = ARCHITECTURES["Llama-3.1-8B"]
    shares = [kv_share(shape, shape.layers[0], ranks) for ranks in (1, 2, 8, 16, 32)]
    assert [1 / share for share in shares] == [1, 2, 8, 8, 8]
    latent = LayerGroup(1, Attention.LATENT, key_width=576)
    assert kv_share(shape, latent, 8) == 1


@given(
    engine=st.sampled_from(("vllm", "sglang", "tgi")), context=st.integers(1, 200_000), more=st.integers(0, 100_000),
    parallel=st.integers(1, 32), model=st.sampled_from(("Llama-3.1-8B", "gpt-oss-20b", "gemma-3-27b")),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_more_context_and_more_gpus_never_need_less(engine, context, more, parallel, model):
    base = inputs(model, (80, 80), context=context, parallel=parallel)
    small, great = forecast(engine, base), forecast(engine, replace(base, context=context + more))
    for one, other in zip(small.devices, great.devices, strict=True):
        assert one.kv_needed.high <= other.kv_needed.high
    divided = forecast(engine, replace(base, settings={"tensor_parallel": 2}))
    assert len(divided.devices) == 2
    for part in ("weights", "kv_needed"):
        total = sum(getattr(device, part).high for device in divided.devices)
        assert total >= getattr(small.devices[0], part).high - 2
        # Each of them holds less than one alone did.
        assert getattr(divided.devices[0], part).high <= getattr(small.devices[0], part).high


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tgi"])
def test_the_largest_context_and_most_sequences_are_the_last_that_fit(engine):
    base = inputs(context=512)
    context = largest_context(engine, base)
    assert forecast(engine, replace(base, context=context)).fits
    assert not forecast(engine, replace(base, context=context + 1)).fits
    many = most_parallel(engine, base)
    assert forecast(engine, replace(base, parallel=many)).fits
    assert not forecast(engine, replace(base, parallel=many + 1)).fits


def test_the_most_sequences_stay_within_what_was_set():
    assert most_parallel("vllm", inputs(context=64, max_num_seqs=7)) == 7
    assert most_parallel("sglang", inputs(context=64, max_running_requests="9")) == 9


@pytest.mark.parametrize(
    ("engine", "chosen", "fields"),
    [
        ("sglang", {"mem_fraction_static": 1.2}, ["mem_fraction_static"]),
        ("sglang", {"disable_cuda_graph": True, "cuda_graph_max_bs": 8}, ["disable_cuda_graph", "cuda_graph_max_bs"]),
        ("sglang", {"mem_fraction_statc": 0.8}, ["mem_fraction_static"]),
        ("sglang", {"tensor_parallel": 2}, ["tensor_parallel", "1 GPUs"]),
        ("vllm", {"gpu_memory_utilization": 0.9, "kv_cache_memory_bytes": GIB},
         ["gpu_memory_utilization", "kv_cache_memory_bytes"]),
        ("vllm", {"max_num_batched_tokens": 64, "max_num_seqs": 128}, ["max_num_batched_tokens", "max_num_seqs"]),
        ("vllm", {"enable_lora": "off", "max_loras": 2}, ["enable_lora", "max_loras"]),
        ("tgi", {"cuda_memory_fraction": 0}, ["cuda_memory_fraction"]),
    ],
)  # fmt: skip
def test_nonsense_and_contradictions_name_their_settings(engine, chosen, fields):
    with pytest.raises(UsageError) as error:
        forecast(engine, replace(inputs(), settings=chosen))
    assert all(field in str(error.value) for field in fields)


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tgi"])
def test_heads_must_be_divisible_and_kv_types_known(engine):
    with pytest.raises(UsageError, match=r"tensor_parallel is 3.*32 attention heads"):
        forecast(engine, inputs(gpus=(24, 24, 24), tensor_parallel=3))
    with pytest.raises(UsageError, match="no kv_type 'q8_0'"):
        forecast(engine, inputs(kv_type="q8_0"))


@pytest.mark.parametrize("engine", ["sglang", "tgi"])
def test_what_nobody_measured_says_so(engine):
    codes = {reason.code for reason in forecast(engine, inputs()).reasons}
    assert "not-measured" in codes


def test_vllm_moves_weights_to_ram_and_refuses_mxfp4_in_old_versions():
    base = inputs(cpu_offload_gb=4)
    gpu, ram = forecast("vllm", base).devices
    whole = forecast("vllm", replace(base, settings={})).devices[0]
    assert whole.weights.expected - gpu.weights.expected == ram.weights.expected == 4 * GIB
    old = replace(
        inputs("gpt-oss-20b", engine_version="0.9.2"), weights=WeightBytes(13 * GIB, "test", expert_format="mxfp4")
    )
    assert "engine-too-old" in {reason.code for reason in forecast("vllm", old).reasons}
    new = replace(old, settings={"engine_version": "0.10.1"})
    assert "engine-too-old" not in {reason.code for reason in forecast("vllm", new).reasons}


def refusal(engine, model, machine, **wanted):
    checkpoint = {one.quantization: one for one in candidates_of(find_model(model))}["BF16"]
    inputs = MemoryInputs(
        architecture=checkpoint.architecture, weights=checkpoint.weights, machine=load_machine(machine), **wanted
    )
    found = forecast(engine, inputs)
    assert not found.fits
    return {one.code: one.text.render() for one in found.reasons}


@pytest.mark.parametrize("engine", ["vllm", "sglang", "tgi"])
def test_what_is_too_large_is_named(engine):
    said = refusal(engine, "llama-3.3-70b-instruct", "rtx-pro-6000-128g", context=4096)
    # 70.55 billion parameters of two bytes are 131.4 GiB.
    assert said["does-not-fit"].startswith("the weights alone take 131.")
    assert said["kv-cache"] == "nothing is left for the KV cache"
    # 131072 tokens of 128 KiB are 16 GiB each.
    said = refusal(engine, "llama-3.1-8b-instruct", "h100-80g", context=131_072, parallel=10)
    assert "160.0 GiB of KV cache" in said["does-not-fit"]


def test_what_is_computed_beside_the_weights_is_named_too():
    # 15 GiB of weights and a profiling run of 2048 tokens on a card of 16.
    said = refusal(
        "vllm",
        "llama-3.1-8b-instruct",
        "rtx-4080-64g",
        context=4096,
    )
    assert "RTX 4080" in said["does-not-fit"]
    assert "KV cache" not in said["does-not-fit"]
