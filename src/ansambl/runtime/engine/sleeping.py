"""Sleep and wake of a running engine: what it says is not believed, only memory that came back and an answer.

Some builds answer that they sleep and free nothing or too little (vLLM on CPU; vllm-project/vllm issue 32714), some
answer rubbish after level 2 unless the weights are read again (issue 29341), and some find no memory left when they are
woken (issue 34600).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ansambl.domain.catalog import ModelKind
from ansambl.domain.engine import NotUsable
from ansambl.domain.errors import EngineError, NotSupportedError
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.engines.adapter import CanSleep, EngineAdapter, EngineCall, LoraCalls, SleepCalls
from ansambl.foundation.clock import Clock
from ansambl.runtime.engine.load_facts import GpuMemory, GpusUsed
from ansambl.runtime.engine.runs import Run
from ansambl.runtime.engine_calls import send

SHARE_FREED = 0.5
"""The part of what it could give back that a sleep must free: an engine that sleeps frees nearly all of it, one that
only says so next to nothing, so anything in between tells the two apart."""

_CALL_PATIENCE = 300.0
"""Seconds for one call: level 2 reads the weights from the disk again."""
_WARM_PATIENCE = 120.0
_ASK_PATIENCE = 10.0
_LOOKS = 25
"""Times that the memory is looked at before it counts as kept: a driver gives it back a moment after the answer."""
_LOOK_PAUSE = 0.2

_QUESTION = "Continue: 1, 2, 3, 4, 5,"


class NotAsleepError(EngineError):
    """The engine did not fall asleep, or freed too little; it may still answer."""


class NotAwakeError(EngineError):
    """The engine did not come back as it was."""


class Where(StrEnum):
    """Where the memory is that a sleep must give back, and who tells it."""

    PROCESS_ON_GPUS = "what its processes hold on GPUs"
    GPUS = "what is in use on its GPUs, by whomever"
    RAM = "the RAM of its processes"


@dataclass(frozen=True, slots=True)
class Held:
    """Memory that an engine holds."""

    size: Bytes
    where: Where


@dataclass(frozen=True, slots=True)
class Asleep:
    """An engine that sleeps: at which level, what it freed, and what it answered before, which it must answer again."""

    level: int
    freed: Bytes
    said: str


def wanted_bytes(held: Held, load: Mapping[str, Bytes]) -> Bytes:
    """What a sleep must free at least: a share of the weights and the KV cache that were told at load.

    Where the load told nothing, or more than it holds, the share is that of all that it holds.
    """
    told = load.get("weights", 0) + load.get("kv_cache", 0)
    return Bytes(int(SHARE_FREED * (min(told, held.size) or held.size)))


def question(kind: ModelKind | None) -> tuple[str, dict[str, Any]] | None:
    """The path and the fields of the smallest request that a model of this kind answers; None where none is known."""
    if kind in {ModelKind.RERANKER, ModelKind.SPEECH}:
        return None
    if kind is ModelKind.EMBEDDING:
        return "/embeddings", {"input": _QUESTION}
    one_token = {"max_tokens": 1, "temperature": 0, "stream": False}
    if kind is ModelKind.BASE:
        # It may have no chat template.
        return "/completions", {"prompt": _QUESTION, **one_token}
    return "/chat/completions", {"messages": [{"role": "user", "content": _QUESTION}], **one_token}


class Sleeper:
    """Puts the engines of one instance to sleep and wakes them; the arguments are those of the instance."""

    def __init__(
        self, adapter: EngineAdapter, gpu_memory: GpuMemory | None, clock: Clock, gpus_used: GpusUsed | None = None
    ) -> None:
        self._adapter = adapter
        self._gpu_memory = gpu_memory
        self._clock = clock
        self._gpus_used = gpus_used

    def calls(self, run: Run) -> SleepCalls:
        """How the engine of `run` sleeps.

        Raises:
            NotSupportedError: it cannot; why, and what would change that.
        """
        title = self._adapter.traits.title
        if not isinstance(self._adapter, CanSleep):
            raise NotSupportedError(
                text("{engine} cannot sleep; set models.{model}.ttl, and it is stopped when nobody uses it.",
                     engine=title, model=run.placement.model)
            )  # fmt: skip
        found = self._adapter.sleep_calls(run.placement)
        if isinstance(found, NotUsable):
            raise NotSupportedError(
                text("{engine} cannot sleep: {reason}; {fix}", engine=title, reason=found.reason, fix=found.how_to_fix)
            )  # fmt: skip
        return found

    def level(self, run: Run, level: int | None) -> int:
        """The level to sleep at: the one asked for, else the first that the engine has.

        Raises:
            NotSupportedError: it has no such level, or cannot sleep.
        """
        levels = self.calls(run).levels
        if level is not None and level not in levels:
            raise NotSupportedError(
                text("{engine} has no sleep level {level}; it has {levels}.", engine=self._adapter.traits.title,
                     level=level, levels=", ".join(map(str, levels)))
            )  # fmt: skip
        return levels[0] if level is None else level

    async def held(self, run: Run) -> Held | None:
        """What the engine holds now; None where nobody can tell.

        In a container a driver may not know its processes; then what is in use on the whole GPUs is compared. RAM tells
        nothing of an engine on GPUs: level 1 moves its weights there.
        """
        for where in Where:
            size = await asyncio.to_thread(self._ask, run, where)
            if size:
                return Held(size, where)
        return None

    def _ask(self, run: Run, where: Where) -> Bytes | None:
        gpus = run.placement.gpus
        if where is Where.PROCESS_ON_GPUS:
            return self._gpu_memory(run.process.identity.pid) if self._gpu_memory is not None else None
        if where is Where.GPUS:
            return self._gpus_used(run.placement.vendor, gpus) if self._gpus_used is not None and gpus else None
        return None if gpus else run.process.memory()

    async def sleep(self, run: Run, level: int, load: Mapping[str, Bytes], loras: LoraCalls | None = None) -> Asleep:
        """Put an engine that nobody uses to sleep. `load` is memory at load by part.

        Raises:
            NotAsleepError: it refused, or its memory did not come back; the message has the figures.
            NotSupportedError: it cannot sleep.
        """
        calls = self.calls(run)
        try:
            said = await self._one_token(run, loras)
        except EngineError as failure:
            raise NotAsleepError(
                text("it did not answer before it was to sleep: {reason}", reason=failure.message)
            ) from failure
        before = await self.held(run)
        if before is None:
            raise NotAsleepError(text("nobody can tell its memory, so nobody could tell whether it sleeps"))
        try:
            await send(run.endpoint, calls.sleep(level), patience=_CALL_PATIENCE)
        except EngineError as failure:
            raise NotAsleepError(failure.message) from failure
        freed, wanted = await self._freed(run, before, wanted_bytes(before, load))
        if freed < wanted:
            raise NotAsleepError(
                text("it says that it sleeps, but freed {freed} of {held} ({wanted} at least were expected)",
                     freed=format_bytes(freed), held=format_bytes(before.size), wanted=format_bytes(wanted))
            )  # fmt: skip
        return Asleep(level, freed, said)

    async def wake(self, run: Run, asleep: Asleep, loras: LoraCalls | None = None) -> None:
        """Wake an engine, and let it answer what it answered before it slept.

        Raises:
            NotAwakeError: it refused, does not answer, or answers something else.
        """
        await self.call_awake(run, asleep.level)
        try:
            said = await self._one_token(run, loras)
        except EngineError as failure:
            raise NotAwakeError(text("it woke but does not answer: {reason}", reason=failure.message)) from failure
        if said != asleep.said:
            raise NotAwakeError(text("it woke but answers something else than before, so its weights are damaged"))

    async def roused(self, run: Run, loras: LoraCalls | None = None) -> bool:
        """Wake an engine that sleeps and nobody knows at which level; returns whether it slept.

        Raises:
            NotAwakeError: it refused, or does not answer.
        """
        try:
            calls = self.calls(run)
            asleep = calls.read_asleep(await send(run.endpoint, calls.ask(), patience=_ASK_PATIENCE))
        except (NotSupportedError, EngineError):
            return False
        if not asleep:
            return False
        # What is called after the deepest sleep brings everything back, also what a lighter one kept.
        await self.call_awake(run, max(calls.levels))
        try:
            await self._one_token(run, loras)
        except EngineError as failure:
            raise NotAwakeError(text("it woke but does not answer: {reason}", reason=failure.message)) from failure
        return True

    async def call_awake(self, run: Run, level: int) -> None:
        """Call what wakes it from `level`, without a look at what it answers then.

        Raises:
            NotAwakeError: it refused.
        """
        try:
            for call in self.calls(run).wake(level):
                await send(run.endpoint, call, patience=_CALL_PATIENCE)
        except EngineError as failure:
            raise NotAwakeError(text("it could not be woken: {reason}", reason=failure.message)) from failure

    async def _freed(self, run: Run, before: Held, wanted: Bytes) -> tuple[Bytes, Bytes]:
        freed = Bytes(0)
        for look in range(_LOOKS):
            if look:
                await self._clock.sleep(_LOOK_PAUSE)
            now = await self._still_held(run, before)
            freed = Bytes(max(0, before.size - now))
            if freed >= wanted:
                break
        return freed, wanted

    async def _still_held(self, run: Run, before: Held) -> int:
        size = await asyncio.to_thread(self._ask, run, before.where)
        # What nobody tells any more did not come back as far as anybody knows.
        return before.size if size is None else size

    async def _one_token(self, run: Run, loras: LoraCalls | None) -> str:
        """What it answers to a fixed question, the likeliest token only; for an embedding model the vector's length.

        Raises:
            EngineError: it does not answer, or with something else than an answer.
        """
        endpoint = run.endpoint
        asked = question(run.placement.kind)
        if asked is None:
            return ""
        path, fields = asked
        under = "/v1" if endpoint.base_url.endswith("/v1") else ""
        call = EngineCall(under + path, {"model": endpoint.name or run.placement.model, **fields})
        said = _read(await send(endpoint, call, patience=_WARM_PATIENCE, loras=loras))
        if said is None:
            raise EngineError(text("the engine's answer to {path} is not what was expected", path=path))
        return said


def _read(answer: bytes) -> str | None:
    """The token of a completion, or the length of an embedding; None for anything else."""
    try:
        found: dict[str, Any] = json.loads(answer)
        if "choices" in found:
            choice = found["choices"][0]
            said = choice.get("message", choice)
            return json.dumps([said.get(field) for field in ("content", "text", "reasoning_content", "reasoning")])
        vector = found["data"][0]["embedding"]
        return str(len(vector)) if all(isinstance(one, float) for one in vector) else None
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
