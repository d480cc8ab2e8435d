"""What the log of one run of an engine told about its load."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from ansambl.domain.engine import LogFacts
from ansambl.domain.instance import LoadMeasurement
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes

OnReady: TypeAlias = Callable[[LoadMeasurement], None]
"""Told once for each start that became ready; it must return at once and raise nothing."""

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

    def measured(
        self, placement: Placement, *, resident: Bytes | None, gpu_memory: Bytes | None, load_seconds: float
    ) -> LoadMeasurement:
        """All of it as a record."""
        return LoadMeasurement(
            placement, dict(self.memory), self.context, self.kv_tokens, resident, gpu_memory, load_seconds,
            {name: dict(parts) for name, parts in self.devices.items()},
        )  # fmt: skip
