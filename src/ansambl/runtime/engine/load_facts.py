"""What the log of one run of an engine told about its load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

from ansambl.domain.engine import LogFacts
from ansambl.domain.instance import LoadMeasurement
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes

OnReady: TypeAlias = Callable[[LoadMeasurement], None]
"""Told for each start that became ready, and once more after its first answer where the log told no parts of memory.

It must return at once and raise nothing.
"""

GpuMemory: TypeAlias = Callable[[int], Bytes | None]
"""What a process (by its id) and its children hold on all GPUs together; None where nobody can tell.

It asks a driver, so it is called in a thread.
"""

GpusUsed: TypeAlias = Callable[[str, tuple[int, ...]], Bytes | None]
"""What is in use on all these GPUs together, by whomever: the vendor, and the indexes as it counts them.

None where nobody can tell. It asks a driver, so it is called in a thread.
"""


class LoadFacts:
    """Gathers the facts of one run: parts of the memory add up, of the rest the newest counts."""

    def __init__(self) -> None:
        self.memory: dict[str, Bytes] = {}
        self.devices: dict[str, dict[str, Bytes]] = {}
        self.context: int | None = None
        self.kv_tokens: int | None = None
        self.largest_context: int | None = None

    def take(self, lines: Sequence[str], read: Callable[[str], LogFacts | None]) -> None:
        """Take what `read`, the adapter's, finds in new lines of the log."""
        for line in lines:
            facts = read(line)
            if facts is None:
                continue
            for part, size in facts.memory.items():
                self.memory[part] = Bytes(self.memory.get(part, 0) + size)
                device = self.devices.setdefault(facts.device or "", {})
                device[part] = Bytes(device.get(part, 0) + size)
            self.context = facts.context or self.context
            self.kv_tokens = facts.kv_tokens or self.kv_tokens
            self.largest_context = facts.largest_context or self.largest_context

    def state_bytes_per_token(self, placement: Placement) -> float | None:
        """Bytes of KV cache for each token that it holds; None where the log did not tell."""
        cells = placement.context * placement.parallel
        cache = self.memory.get("kv_cache", 0)
        return cache / cells if cache and cells else None

    def measured(self, placement: Placement, *, resident: Bytes | None, load_seconds: float) -> LoadMeasurement:
        """All of it as a record, in which nothing is said of GPUs."""
        return LoadMeasurement(
            placement, dict(self.memory), self.context, self.kv_tokens, resident, None, load_seconds,
            {name: dict(parts) for name, parts in self.devices.items()},
        )  # fmt: skip


class LoadTelling:
    """Tells what each start of one instance took: when it is ready, and perhaps once more after its first answer.

    Twice where the engine's log tells no parts of its memory: then all that is known is what its processes hold, and
    such an engine may read its files, or make its buffers, only as it works.

    Args:
        tell: is told; None measures nothing.
        gpu_memory: tells what a process holds on GPUs.
    """

    def __init__(self, tell: OnReady | None, gpu_memory: GpuMemory | None) -> None:
        self._tell = tell
        self._gpu_memory = gpu_memory
        self._waiting: LoadMeasurement | None = None
        self._answered = self._settled = False

    def answered(self) -> None:
        """A request was answered."""
        self._answered = True

    async def ready(self, pid: int, load: LoadMeasurement) -> None:
        """A start, whose process is `pid`, became ready; `load` has all but what lies on GPUs."""
        if self._tell is None:
            return
        self._answered = self._settled = False
        self._waiting = None if load.memory else load
        self._tell(replace(load, gpu_memory=await self._held(pid)))

    async def look(self, pid: int, resident: Bytes | None, *, busy: bool) -> None:
        """While it runs: `resident` is what its processes hold now; while it is `busy` that is not waited for."""
        load = self._waiting
        if load is None or self._tell is None or busy or not self._answered or resident is None:
            return
        if not self._settled:
            # `resident` may be a little older than the answer; that of the next look is not.
            self._settled = True
            return
        self._waiting = None
        self._tell(replace(load, resident=resident, gpu_memory=await self._held(pid), answered=True))

    async def _held(self, pid: int) -> Bytes | None:
        return None if self._gpu_memory is None else await asyncio.to_thread(self._gpu_memory, pid)
