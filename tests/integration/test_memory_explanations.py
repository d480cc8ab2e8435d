"""A real engine that runs out of memory: the message names what was missing and a context that then really loads."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ansambl.app.memory_explanations import MemoryExplainer
from ansambl.domain.engine import ExitReason, LaunchSpec
from ansambl.domain.errors import UnavailableError
from ansambl.domain.hardware import Machine, Memory
from ansambl.domain.instance import Endpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import MIB, Bytes
from ansambl.engines.registry import get_engine
from ansambl.hardware import inventory
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.engine.watchers import Watchers
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import EngineProcess, LocalLauncher

pytestmark = pytest.mark.engine

FREE = Bytes(420 * MIB)
"""What the engine may have; with 8,192 tokens for each of four slots it wants 720 MiB of KV cache alone."""

STACKS = 220 * MIB
"""The kernel's limit counts what threads reserve for their stacks and never touch; free memory does not."""


class Limited(LocalLauncher):
    """Starts engines that may hold so many private bytes and no more."""

    def __init__(self, size: int) -> None:
        self._size = size

    async def start(self, spec: LaunchSpec, log: Path) -> EngineProcess:
        program = shutil.which("prlimit")
        if program is None:
            pytest.skip("prlimit of util-linux is not installed on this machine, so nothing can be made to run out")
        return await super().start(replace(spec, argv=(program, f"--data={self._size}", *spec.argv)), log)


def machine() -> Machine:
    """This machine, as if it had as much free memory as the limit leaves."""
    return replace(inventory.detect(), gpus=(), memory=Memory(FREE, FREE))


@pytest.fixture
def placement(embedded_model_folder: Path) -> Placement:
    return Placement(
        "small", "llama.cpp-bundled", open_checkpoint("embedded", embedded_model_folder), context=8192, parallel=4,
        threads=1,
    )  # fmt: skip


@pytest.fixture
def instance(tmp_path: Path) -> Callable[[Placement], EngineInstance]:
    def make(placement: Placement) -> EngineInstance:
        explainer = MemoryExplainer(machine, lambda: None)
        return EngineInstance(
            placement, get_engine(placement.engine), launcher=Limited(FREE + STACKS), store=None, events=EventLog(),
            log_folder=tmp_path, watchers=Watchers(explain_more=explainer.explain_more),
        )  # fmt: skip

    return make


def test_the_context_that_it_names_really_loads(
    placement: Placement, instance: Callable[[Placement], EngineInstance]
) -> None:
    async def first() -> str:
        one = instance(placement)
        try:
            with pytest.raises(UnavailableError) as refusal:
                await asyncio.wait_for(one.ensure_ready(), 120)
        finally:
            await one.stop()
        return str(refusal.value)

    async def second(context: int) -> Endpoint:
        one = instance(replace(placement, context=context))
        try:
            return await asyncio.wait_for(one.ensure_ready(), 120)
        finally:
            await one.stop()

    message = asyncio.run(first())
    assert "\n" not in message
    # 4 x 8192 cells x 30 layers x 3 heads x (64 + 64) x 2 bytes
    assert "720.0 MiB" in message
    assert f"{FREE // MIB}.0 MiB that are free" in message
    found = re.search(r"context = (\d+) would fit", message)
    assert found is not None, message
    context = int(found[1])
    assert 256 <= context < placement.context
    endpoint = asyncio.run(second(context))
    assert endpoint.slots == placement.parallel


def test_the_explanation_holds_the_figures(placement: Placement) -> None:
    explainer = MemoryExplainer(machine, lambda: None)
    tail = ["ggml_backend_cpu_buffer_type_alloc_buffer: failed to allocate buffer of size 754974720"]
    told = get_engine(placement.engine).explain_exit(81, tail)
    found = explainer.explain_more(placement, told)
    assert (found.reason, found.missing) == (ExitReason.OUT_OF_MEMORY, 754_974_720)
    assert found.largest_context is not None
    assert found.largest_context % 256 == 0
