"""What the engine of an instance holds, by device, and who is told of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

from ansambl.domain.units import Bytes
from ansambl.foundation.clock import Clock
from ansambl.runtime.engine.load_facts import GpuMemory, LoadFacts
from ansambl.runtime.engine.runs import Run
from ansambl.runtime.instance import InstanceListener
from ansambl.runtime.scheduling.records import RAM, Memory, gpu_device

GREW = 0.03
"""The part of what was told last by which a device must hold more or less for that to be told."""
GPUS_EVERY = 10.0
"""Seconds between two questions to a driver about a running engine."""

_NUMBERED = re.compile(r"[A-Za-z]+(?P<position>\d+)")
"""A device of an engine's log that is a GPU, counted among those that it was given: ``CUDA0``, ``Vulkan1``."""


def on_gpus(facts: LoadFacts, count: int) -> list[Bytes]:
    """What the log of an engine told of each of the `count` GPUs that it was given, in bytes."""
    told = [0] * count
    for device, parts in facts.devices.items():
        found = _NUMBERED.fullmatch(device)
        if found is not None and int(found["position"]) < count:
            told[int(found["position"])] += sum(parts.values())
    return [Bytes(one) for one in told]


def in_ram(facts: LoadFacts) -> Bytes:
    """What the log of an engine told of devices that are no GPUs, in bytes; nothing where it named no device."""
    return Bytes(
        sum(
            sum(parts.values())
            for device, parts in facts.devices.items()
            if device and not _NUMBERED.fullmatch(device)
        )
    )  # fmt: skip


def reclaimable(facts: LoadFacts) -> Bytes:
    """Bytes that the process holds and the system may take back at once: pages of weights that were written anew.

    llama.cpp rewrites some tensors for the processor (buffer ``CPU_REPACK`` of its log) and never looks at their pages
    of the file again, which stay resident all the same (buffer ``CPU_Mapped``). Forecasts leave them out, too.
    """
    parts = [facts.devices.get(one, {}).get("weights", Bytes(0)) for one in ("CPU_REPACK", "CPU_Mapped")]
    return min(parts)


def divided(total: Bytes, told: list[Bytes]) -> list[Bytes]:
    """`total` bytes on several GPUs as the log told them; in equal parts where it told nothing. Nothing is lost."""
    whole = sum(told)
    parts = [total * one // whole if whole else total // len(told) for one in told]
    parts[0] += total - sum(parts)
    return [Bytes(one) for one in parts]


def changed(before: Memory | None, after: Memory) -> bool:
    """Whether what is held changed enough to be told."""
    if before is None:
        return True
    return any(
        abs(after.get(one, 0) - before.get(one, 0)) > GREW * before.get(one, 0) for one in {*before, *after}
    )  # fmt: skip


class Holding:
    """Looks at what the engine of one instance holds, and tells `listener`.

    Args:
        model: the instance's model.
        gpu_memory: tells what a process holds on GPUs; None where nobody can.
        clock: time.
        device_of: the scheduler's name of a GPU of the placement, by its index; RAM for one that works in it.
    """

    def __init__(
        self, model: str, gpu_memory: GpuMemory | None, clock: Clock, device_of: Callable[[int], str] = gpu_device
    ) -> None:
        self.listener: InstanceListener | None = None
        self.resident: Bytes | None = None
        self._model = model
        self._gpu_memory = gpu_memory
        self._clock = clock
        self._device_of = device_of
        self._told: Memory | None = None
        self._on_gpus: Bytes | None = None
        self._asked = float("-inf")

    async def ready(self, run: Run, facts: LoadFacts, seconds: float | None) -> None:
        """Its run is ready after `seconds`, None for an adopted one."""
        holds = await self._held(run, facts)
        if self.listener is not None:
            self._told = holds
            self.listener.ready(self._model, holds, seconds)

    async def look(self, run: Run, facts: LoadFacts) -> None:
        """Look at a run that is ready."""
        due = self._clock.monotonic() - self._asked >= GPUS_EVERY
        holds = await self._held(run, facts, anew=due)
        if self.listener is not None and holds is not None and changed(self._told, holds):
            self._told = holds
            self.listener.grew(self._model, holds)

    async def asleep(self, run: Run, level: int) -> None:
        """It sleeps at `level`."""
        # What the log told of the load is free again by now.
        holds = await self._held(run, LoadFacts())
        if self.listener is not None:
            self._told = holds
            self.listener.asleep(self._model, level, holds)

    def ended(self, *, out_of_memory: bool = False) -> None:
        """Nothing of it is left, and it does not come back by itself."""
        self.forget()
        if self.listener is not None:
            self.listener.ended(self._model, out_of_memory=out_of_memory)

    def forget(self) -> None:
        """Its process ended."""
        self.resident = self._told = self._on_gpus = None
        self._asked = float("-inf")

    async def _held(self, run: Run, facts: LoadFacts, *, anew: bool = True) -> Mapping[str, Bytes] | None:
        """What a run holds by device; None where nobody can tell."""
        self.resident = await asyncio.to_thread(run.process.memory)
        if self.listener is None or self.resident is None:
            return None
        # Buffers that were not written yet count too: a KV cache takes its memory only as it fills.
        holds = {RAM: Bytes(max(self.resident, in_ram(facts)) - reclaimable(facts))}
        gpus = run.placement.gpus
        if not gpus:
            return holds
        if anew:
            self._asked = self._clock.monotonic()
            self._on_gpus = (
                None if self._gpu_memory is None
                else await asyncio.to_thread(self._gpu_memory, run.process.identity.pid)
            )  # fmt: skip
        if self._on_gpus is None:
            # A part of it would be taken for the whole.
            return None
        parts = divided(self._on_gpus, on_gpus(facts, len(gpus)))
        for index, size in zip(gpus, parts, strict=True):
            device = self._device_of(index)
            holds[device] = Bytes(holds.get(device, 0) + size)
        return holds
