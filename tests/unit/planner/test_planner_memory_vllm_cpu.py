"""vLLM's memory on a processor: against what the real engine (0.32.0) held, and when the engine is tried at all."""

from __future__ import annotations

from typing import Any

import pytest

from ansambl.domain.architecture import Architecture, Attention, LayerGroup
from ansambl.domain.catalog import Basis
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.planning import Candidate
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.engines.compatibility import compatibility_rows
from ansambl.hardware.catalog import load_machine
from ansambl.planner.choosing import engines_for
from ansambl.planner.memory import MemoryInputs, forecast, largest_context
from ansambl.planner.memory.shares import usable

MACHINE = load_machine("cpu-7950x-128g")
SMALL = Architecture(
    "llama", 134_515_008, 134_515_008, (LayerGroup(30, Attention.FULL, key_width=192, value_width=192),),
    hidden=576, vocabulary=49_152, heads=9, feed_forward=1536, context=8192,
)  # fmt: skip
NOTHING_MORE: dict[str, Any] = {}
FILE = WeightBytes(Bytes(269_060_552), "the measured checkpoint", tied=True)


def asked(context: int = 2048, parallel: int = 1, kv_type: str = "f16", **settings: Any) -> MemoryInputs:
    return MemoryInputs(SMALL, FILE, MACHINE, context, parallel, kv_type, settings)


def held(inputs: MemoryInputs) -> tuple[float, float, float]:
    """MiB that its processes hold before the first request: all but what is computed."""
    device = forecast("vllm", inputs).devices[0]
    parts = (device.weights, device.kv_cache, device.overhead)
    low, expected, high = (sum(getattr(one, end) for one in parts) / MIB for end in ("low", "expected", "high"))
    return low, expected, high


@pytest.mark.parametrize(
    ("settings", "measured"),
    [
        ({"kv_cache_memory_bytes": GIB}, 3643),
        ({"kv_cache_memory_bytes": 4 * GIB}, 6718),
        ({"kv_cache_memory_bytes": GIB, "dtype": "bfloat16"}, 3366),
        ({"kv_cache_memory_bytes": GIB, "enable_lora": True, "max_loras": 8, "max_lora_rank": 16}, 3856),
    ],
)
def test_what_the_real_engine_held_lies_near_the_forecast(settings: dict[str, Any], measured: int) -> None:
    low, expected, high = held(asked(**settings))
    assert low < measured < high
    assert expected == pytest.approx(measured, rel=0.03)


def test_unset_it_is_float32_with_four_gib_of_cache() -> None:
    device = forecast("vllm", asked()).devices[0]
    assert device.kv_cache.expected == 4 * GIB
    # Twice the file, and the file's own pages, which the system may take back.
    assert device.weights.expected == pytest.approx(3 * FILE.total, rel=0.001)
    assert device.reclaimable == FILE.total
    assert device.needed.high < device.total.high


def test_a_cell_has_the_type_of_the_model() -> None:
    """K and V of 192 elements in 30 layers: 46,080 bytes a token in 32 bits, half of it in 16, in 8 a quarter."""
    tokens = {
        word: forecast("vllm", asked(kv_type=kv_type, kv_cache_memory_bytes=GIB, **more)).kv_capacity_tokens
        for word, kv_type, more in (
            ("wide", "f16", NOTHING_MORE), ("half", "f16", {"dtype": "bfloat16"}), ("fp8", "fp8", NOTHING_MORE),
        )
    }  # fmt: skip
    assert tokens["wide"] == pytest.approx(GIB / 46_080, rel=0.05)
    assert tokens["half"] == pytest.approx(GIB / 23_040, rel=0.05)
    assert tokens["fp8"] == pytest.approx(GIB / 11_520, rel=0.05)


def test_what_the_cache_does_not_hold_does_not_fit_whatever_ram_there_is() -> None:
    inputs = asked(8192, 4, kv_cache_memory_bytes=GIB)
    found = forecast("vllm", inputs)
    assert not found.fits
    assert any(one.code == "does-not-fit" and "kv_cache_memory_bytes" in one.text.render() for one in found.reasons)
    most = largest_context("vllm", inputs)
    assert most is not None
    assert most * 4 * 46_080 <= GIB < (most + 128) * 4 * 46_080
    assert forecast("vllm", asked(8192, 4, kv_cache_memory_bytes=2 * GIB)).fits


def test_a_cache_larger_than_the_ram_does_not_fit_however_little_is_needed() -> None:
    found = forecast("vllm", asked(kv_cache_memory_bytes=127 * GIB))
    assert not found.fits
    assert found.devices[0].usable == usable(MACHINE.ram)


def test_a_share_of_the_ram_leaves_what_weights_and_processes_do_not_take() -> None:
    device = forecast("vllm", asked(gpu_memory_utilization=0.25)).devices[0]
    whole = device.weights.expected + device.overhead.expected + device.kv_cache.expected
    assert whole == pytest.approx(MACHINE.ram.memory / 4, rel=0.001)


def test_a_quantized_checkpoint_stays_as_it_is() -> None:
    quarter = WeightBytes(Bytes(100_000_000), "test", tied=True)
    inputs = MemoryInputs(SMALL, quarter, MACHINE, 2048)
    found = forecast("vllm", inputs)
    assert found.devices[0].weights.expected == pytest.approx(200_000_000, rel=0.001)
    assert "not measured" in next(one.text.render() for one in found.reasons if one.code == "cpu-build")


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"tensor_parallel": 2}, "tensor_parallel"),
        ({"dtype": "int8"}, "dtype"),
        ({"gpu_memory_utilization": 0.5, "kv_cache_memory_bytes": GIB}, "kv_cache_memory_bytes"),
        ({"max_num_batched_tokens": 64, "max_num_seqs": 128}, "max_num_seqs"),
    ],
)
def test_what_makes_no_sense_is_refused_by_its_name(settings: dict[str, Any], word: str) -> None:
    with pytest.raises(UsageError, match=word):
        forecast("vllm", asked(**settings))


def test_without_a_gpu_it_is_tried_only_where_it_is_named() -> None:
    candidate = Candidate(
        "small", "small", "BF16", "safetensors", FILE.total, FILE, SMALL, Basis.REPORTED, "test"
    )  # fmt: skip
    facts = compatibility_rows()
    assert engines_for(candidate, MACHINE, facts, wanted="vllm").names == ("vllm",)
    unnamed = engines_for(candidate, MACHINE, facts)
    assert unnamed.names == ()
    assert [one.code for one in unnamed.left_out] == ["no-gpu"]
    assert engines_for(candidate, MACHINE, facts, wanted="sglang").names == ()
