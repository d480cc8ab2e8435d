"""Checks before a start, joined: the checkpoint's own words, the machine, and the forecast beside free memory."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from model_files import write_gguf

from ansambl.app.engine_checks import check_memory, check_start
from ansambl.app.placement_forecast import forecast_placement, kv_type_of, memory_settings, used_gpus
from ansambl.domain.engine import EngineOptions, EngineTraits, Installed
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.engines.registry import get_engine

VLLM = EngineTraits("vllm", "vLLM", frozenset({"safetensors"}), frozenset({"cuda", "cpu"}), frozenset({"openai_chat"}))


def machine(available: int = 20 * GIB, total: int = 24 * GIB, gpus: tuple[Gpu, ...] = ()) -> Machine:
    return Machine("here", "Linux", Cpu("a processor", "x86_64", 4, 4, 4, "x86-64-v3"),
                   Memory(Bytes(total), Bytes(available)), gpus)  # fmt: skip


@pytest.fixture
def placement(tmp_path: Path) -> Placement:
    fields = {
        "general.architecture": "llama", "general.name": "Small", "llama.block_count": 2, "llama.embedding_length": 64,
        "llama.context_length": 4_000_000, "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2,
        "llama.feed_forward_length": 128, "llama.vocab_size": 100,
    }  # fmt: skip
    small_gguf = tmp_path / "m.gguf"
    write_gguf(small_gguf, fields, {"token_embd.weight": ("F16", (64, 100))})
    checkpoint = Checkpoint("m.gguf", str(small_gguf), "gguf", Bytes(small_gguf.stat().st_size), "id",
                            quantization="Q4_K_M", architecture="llama")  # fmt: skip
    return Placement("m", "llama.cpp-bundled", checkpoint, context=4096, parallel=1)


def test_a_start_that_will_work_has_no_warnings(placement: Placement) -> None:
    bundled = get_engine("llama.cpp-bundled").traits
    assert check_start(placement, bundled, Installed("2026.10.11549"), machine()) == []


def test_a_refusal_is_one_line_that_names_the_model(placement: Placement) -> None:
    with pytest.raises(NotSupportedError) as refusal:
        check_start(placement, VLLM, Installed("0.33.0", build="cpu"), machine())
    assert "models.m" in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_too_little_free_memory_is_told_with_figures_and_not_refused(placement: Placement) -> None:
    told = check_memory(placement, machine(available=10 * MIB))
    assert len(told) == 1
    assert "10.0 MiB" in told[0].render()


def test_more_than_all_memory_is_refused(placement: Placement) -> None:
    """The KV cache cannot be read from a file again."""
    huge = replace(placement, context=1_000_000, parallel=64)
    found = forecast_placement(huge, machine())
    assert found is not None
    cache = sum(one.kv_needed.low for one in found.footprint.devices)
    total = int(cache * 0.5)
    with pytest.raises(NotSupportedError, match="at least") as refusal:
        check_memory(huge, machine(total=total, available=total))
    advised = re.search(r"context = (\d+) would fit", str(refusal.value))
    assert advised is not None
    assert check_memory(replace(huge, context=int(advised[1])), machine(total=total, available=total)) == []


def test_requests_that_wait_for_a_cache_of_fixed_size_are_no_reason_to_refuse(placement: Placement) -> None:
    """vLLM on a processor: 64 sequences would need 64 times the cache that it was given, and it makes only this one."""
    given = {"kv_cache_memory_bytes": 64 * MIB}
    many = replace(placement, engine="vllm", context=100_000, parallel=64, settings=given)
    found = forecast_placement(many, machine(total=4 * GIB))
    assert found is not None
    assert not found.footprint.fits
    assert sum(one.kv_needed.low for one in found.footprint.devices) > 3 * GIB
    assert check_memory(many, machine(total=4 * GIB, available=3 * GIB)) == []
    told = check_memory(many, machine(total=4 * GIB, available=GIB))
    assert len(told) == 1
    assert "about 1.9 GiB" in told[0].render()


def test_weights_alone_are_not_refused_where_they_are_pages_of_a_file(placement: Placement) -> None:
    found = forecast_placement(placement, machine())
    assert found is not None
    needed = sum(one.needed.low - one.weights.low for one in found.footprint.devices)
    assert check_memory(placement, machine(total=needed + MIB, available=needed))


def test_arguments_count_as_settings(placement: Placement) -> None:
    words = ("--flash-attn", "off", "--ubatch-size=64", "-ctk", "q8_0", "--swa-full", "--threads", "3", "-ts", "1,2")
    written = replace(placement, options=EngineOptions(arguments=words), settings={"n_batch": 256})
    assert memory_settings(written) == {
        "flash_attention": "off", "n_ubatch": "64", "swa_full": "on", "n_batch": 256, "tensor_split": "1,2",
    }  # fmt: skip
    assert kv_type_of(written) == "q8_0/f16"
    assert kv_type_of(placement) == "f16"
    assert kv_type_of(replace(placement, kv_type="q8_0")) == "q8_0"


def test_only_the_chosen_gpus_count(placement: Placement) -> None:
    cards = tuple(Gpu(index, vendor, None, Bytes(GIB)) for index, vendor in ((0, "nvidia"), (1, "nvidia"), (0, "amd")))
    chosen = replace(placement, gpus=(1,), vendor="nvidia")
    assert [(one.vendor, one.index) for one in used_gpus(chosen, machine(gpus=cards))] == [("nvidia", 1)]
    assert used_gpus(placement, machine(gpus=cards)) == ()


def test_what_cannot_be_forecast_is_not_warned_of(placement: Placement) -> None:
    assert check_memory(replace(placement, engine="command"), machine(available=1)) == []
    assert placement.checkpoint is not None
    gone = replace(placement.checkpoint, path="/nowhere/at/all.gguf")
    assert check_memory(replace(placement, checkpoint=gone), machine(available=1)) == []


def test_a_gpu_that_is_not_there_is_told(placement: Placement) -> None:
    """llama.cpp would go on with the processor and say nothing."""
    bundled = get_engine("llama.cpp-bundled").traits
    told = check_start(replace(placement, gpus=(0, 9)), bundled, Installed("2026.10.11549"), machine(), memory=False)
    assert [str(one) for one in told if "names 0, 9" in str(one)]
