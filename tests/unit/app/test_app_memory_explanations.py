"""Ends for lack of memory get figures; ends by signal 9 are proven by the kernel's own count or left as they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from model_files import write_gguf

from ansambl.app.memory_explanations import MemoryExplainer, explained
from ansambl.app.placement_forecast import forecast_placement
from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.hardware import Cpu, Machine, Memory
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.engines.shared.exits import missing_memory

OUT = ExitExplanation(ExitReason.OUT_OF_MEMORY, text("llama.cpp ran out of memory"))
KILLED = ExitExplanation(ExitReason.KILLED, text("llama.cpp was killed"))


def machine(free: int, total: int = 64 * GIB) -> Machine:
    return Machine("here", "Linux", Cpu("a processor", "x86_64", 4, 4, 4, "x86-64-v3"),
                   Memory(Bytes(total), Bytes(free)))  # fmt: skip


@pytest.fixture
def placement(tmp_path: Path) -> Placement:
    """64 KiB of KV cache for each token: 2 x 32 layers x 8 heads x 64 x 2 bytes."""
    fields = {
        "general.architecture": "llama", "general.name": "Small", "llama.block_count": 32,
        "llama.embedding_length": 512, "llama.context_length": 100_000, "llama.attention.head_count": 8,
        "llama.attention.head_count_kv": 8, "llama.feed_forward_length": 512, "llama.vocab_size": 1000,
    }  # fmt: skip
    path = tmp_path / "m.gguf"
    write_gguf(path, fields, {"token_embd.weight": ("F16", (512, 1000))})
    checkpoint = Checkpoint("m.gguf", str(path), "gguf", Bytes(path.stat().st_size), "id", context=100_000)
    return Placement("m", "llama.cpp-bundled", checkpoint, context=65_536, parallel=2)


def test_a_context_that_fits_is_named(placement: Placement) -> None:
    """8 GiB are wanted for the cache; in 3 GiB there is room for a little less than 3 GiB of it."""
    here = machine(3 * GIB)
    found = explained(placement, OUT, here)
    assert found.largest_context is not None
    assert found.largest_context % 256 == 0
    assert f"context = {found.largest_context} would fit" in found.message.render()
    assert "3.0 GiB that are free" in found.message.render()
    assert 2 * GIB < found.largest_context * placement.parallel * 65_536 < 3 * GIB
    smaller = forecast_placement(replace(placement, context=found.largest_context), here)
    assert smaller is not None
    assert sum(one.needed.high for one in smaller.footprint.devices) <= 3 * GIB
    assert found.missing is not None
    assert found.missing > 5 * GIB


def test_fewer_sequences_are_named_where_no_context_fits(placement: Placement) -> None:
    found = explained(replace(placement, context=512, parallel=200), OUT, machine(400 * MIB))
    assert "with parallel = 1 would fit" in found.message.render()
    assert found.largest_context is None


def test_a_machine_that_is_too_small_is_not_tried_again(placement: Placement) -> None:
    assert explained(placement, OUT, machine(3 * GIB)).restart_helps
    assert not explained(placement, OUT, machine(3 * GIB, 4 * GIB)).restart_helps


def test_a_forecast_that_would_have_fitted_advises_nothing(placement: Placement) -> None:
    assert explained(placement, OUT, machine(32 * GIB)) == OUT


def test_what_the_engine_said_itself_stays(placement: Placement) -> None:
    own = replace(OUT, missing=Bytes(77), largest_context=4096)
    assert MemoryExplainer(lambda: machine(GIB), lambda: None).explain_more(placement, own) == own
    assert explained(placement, replace(OUT, missing=Bytes(77)), machine(3 * GIB)).missing == 77


def test_other_engines_and_other_ends_are_left_alone(placement: Placement) -> None:
    explainer = MemoryExplainer(lambda: machine(GIB), lambda: 1)
    crashed = ExitExplanation(ExitReason.CRASHED, text("it crashed"))
    assert explainer.explain_more(placement, crashed) == crashed
    assert explained(replace(placement, engine="vllm"), OUT, machine(GIB)) == OUT
    assert explained(replace(placement, checkpoint=None), OUT, machine(GIB)) == OUT


def test_a_kill_by_the_kernel_is_proven_by_its_count(placement: Placement) -> None:
    counts = iter([4, 5, 5])
    explainer = MemoryExplainer(lambda: machine(3 * GIB), lambda: next(counts))
    first = explainer.explain_more(placement, KILLED)
    assert first.reason is ExitReason.OUT_OF_MEMORY
    assert "by the kernel" in first.message.render()
    assert "would fit" in first.message.render()
    # Nobody else was ended since: this signal came from somebody.
    assert explainer.explain_more(placement, KILLED) == KILLED


def test_where_nobody_counts_a_kill_stays_a_kill(placement: Placement) -> None:
    assert MemoryExplainer(lambda: machine(GIB), lambda: None).explain_more(placement, KILLED) == KILLED


@pytest.mark.parametrize(
    ("lines", "missing"),
    [
        (["insufficient memory (attempted to allocate 2880.00 MB)", "failed to allocate buffer of size 3019898880"],
         3_019_898_880),
        (["x: failed to allocate CUDA0 buffer of size 1024"], 1024),
        (["x: allocating 1.50 MiB on device 0: cudaMalloc failed: out of memory"], 1_572_864),
        (["CUDA out of memory. Tried to allocate 1.25 GiB. GPU 0 has 23.60 GiB of which 600.00 MiB is free."],
         1280 * MIB - 600 * MIB),
        (["DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096 bytes. Error code 12"], 4096),
        (["out of memory"], None),
        ([], None),
    ],
)  # fmt: skip
def test_what_engines_say_of_missing_memory(lines: list[str], missing: int | None) -> None:
    assert missing_memory(lines) == missing
