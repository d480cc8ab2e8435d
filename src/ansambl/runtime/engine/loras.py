"""The LoRA adapters of one instance: which there are, which its engine has loaded, and who uses them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeAlias

from ansambl.domain.engine import NotUsable
from ansambl.domain.errors import EngineError, NotSupportedError, UnavailableError, UnknownNameError
from ansambl.domain.instance import Endpoint
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text, text
from ansambl.engines.adapter import EngineAdapter, LoraCalls, SwapsLora
from ansambl.runtime.engine_calls import send

LoraSource: TypeAlias = Callable[[str], tuple[LoraAdapter, ...]]
"""The LoRA adapters that were added for a model, by its name."""

MOST_LOADED = 8
"""LoRA adapters that an engine holds at once where its settings name no number; the least recently used one goes."""

_PATIENCE = 120.0
"""Seconds for loading one: some hundred MiB from a disk."""


class EngineLoras:
    """Keeps the books of the adapters of `placement` with the engine of `adapter`.

    An engine has them from its start (those of its placement), or loads each when it is first used; which of the two,
    its `LoraCalls` say.
    """

    def __init__(self, adapter: EngineAdapter, placement: Placement) -> None:
        self._adapter = adapter
        self._placement = placement
        self._wanted = self._usable(placement.loras)
        self._run: Placement | None = None
        self._calls = self._calls_of(self._planned())
        # By name, the least recently used first; None stands for one that is loaded, and nobody knows which it is.
        self._loaded: dict[str, LoraAdapter | None] = {}
        # What was refused unasked is tried again only when a request asks for it.
        self._refused: set[str] = set()
        self._uses: Counter[str] = Counter()
        self._lock = asyncio.Lock()
        self._freed = asyncio.Event()

    @property
    def wanted(self) -> tuple[LoraAdapter, ...]:
        """The adapters that requests may name, as far as the engine reads their formats."""
        return tuple(self._wanted.values())

    @property
    def loaded(self) -> tuple[str, ...]:
        """The names of those that the running engine has loaded."""
        return tuple(sorted(self._loaded))

    @property
    def calls(self) -> LoraCalls | None:
        """How requests to the engine say which adapter they mean; None where there is nothing to say."""
        return None if isinstance(self._calls, NotUsable) else self._calls

    def begin(self, placement: Placement, *, adopted: bool) -> None:
        """A run began that was started from `placement`."""
        self._run = placement
        self._refused = set()
        self._calls = self._calls_of(placement)
        calls = self.calls
        at_start = calls is not None and calls.at_start
        self._loaded = {one.name: one for one in placement.loras} if at_start else {}
        if adopted and calls is not None and calls.can_load:
            # An earlier Ansambl may have loaded any of them.
            self._loaded |= dict.fromkeys((one for one in self._wanted if one not in self._loaded), None)

    def end(self) -> None:
        """The run ended."""
        self._run = None
        self._loaded = {}
        self._calls = self._calls_of(self._planned())

    def doubt(self) -> None:
        """The engine dropped its memory: each adapter is loaded anew before its next use."""
        if (calls := self.calls) is not None and calls.can_load:
            self._loaded = dict.fromkeys(self._loaded, None)

    def check(self, name: str) -> LoraAdapter:
        """The adapter of that name, when requests may use it.

        Raises:
            UnknownNameError: there is none for this model.
            NotSupportedError: the engine cannot use it; the message says why and what to do.
        """
        title, model = self._adapter.traits.title, self._placement.model
        found = self._wanted.get(name)
        if found is None:
            if any(one.name == name for one in self._placement.loras):
                raise NotSupportedError(
                    text("{engine} cannot read the LoRA adapter '{name}': it needs the format {formats}.", engine=title,
                         name=name, formats=" / ".join(sorted(self._adapter.traits.lora_formats)) or "–")
                )  # fmt: skip
            raise UnknownNameError(
                text("'{model}' has no LoRA adapter '{name}'; `ansambl lora list` shows those that there are.",
                     model=model, name=name)
            )  # fmt: skip
        # What the running engine cannot may be possible after its restart, which is told by `use`.
        calls = self._calls_of(self._planned())
        if isinstance(calls, NotUsable):
            raise NotSupportedError(
                text("'{model}' cannot use the LoRA adapter '{name}': {reason}; {fix}", model=model, name=name,
                     reason=calls.reason, fix=calls.how_to_fix)
            )  # fmt: skip
        if calls is None:
            raise NotSupportedError(
                text("{engine} cannot use a LoRA adapter by request ('{name}' of '{model}'); choose another engine for "
                     "the model.", engine=title, name=name, model=model)
            )  # fmt: skip
        return found

    async def use(self, name: str, endpoint: Endpoint) -> None:
        """Have the engine at `endpoint` hold the adapter until `end_use`; load it when that is needed.

        Raises:
            UnknownNameError, NotSupportedError: as `check`.
            UnavailableError: it can be there only after a restart, or all places for adapters are in use.
            EngineError: the engine refused to load it.
        """
        while True:
            self._freed.clear()
            async with self._lock:
                adapter = self.check(name)
                if self._holds(adapter) or await self._load(adapter, endpoint):
                    self._loaded[name] = self._loaded.pop(name)
                    self._uses[name] += 1
                    return
            # All places are in use.
            await self._freed.wait()

    def end_use(self, name: str) -> None:
        """One user less."""
        self._uses[name] -= 1
        if self._uses[name] <= 0:
            del self._uses[name]
            self._freed.set()

    def replace(self, adapters: Iterable[LoraAdapter]) -> None:
        """Requests may name these adapters from now on; `tidy` makes a running engine follow."""
        self._placement = replace(self._placement, loras=tuple(adapters))
        self._wanted = self._usable(self._placement.loras)
        if self._run is None:
            self._calls = self._calls_of(self._planned())

    def needs_restart(self) -> bool:
        """Whether a running engine can follow `replace` only by being started again."""
        if self._run is None or not isinstance(self._adapter, SwapsLora):
            return False
        if (calls := self.calls) is not None and calls.can_load:
            planned = self._calls_of(self._planned())
            return any(not _has_room(calls, one) and _has_room(planned, one) for one in self.wanted)
        identities = {(one.name, one.identity) for one in self._run.loras}
        return identities != {(one.name, one.identity) for one in self.wanted}

    async def tidy(self, endpoint: Endpoint) -> Text | None:
        """Unload what is not wanted any more and not used; load what is new, as far as there is room.

        Returns why the engine refused, told once for each adapter.
        """
        calls = self.calls
        if calls is None or not calls.can_load or not self._untidy():
            return None
        trouble: Text | None = None
        async with self._lock:
            for name in [one for one in self._loaded if one not in self._wanted and not self._uses[one]]:
                try:
                    await self._unload(name, endpoint)
                except EngineError as failure:
                    trouble = failure.message
            for adapter in self._missing():
                if len(self._loaded) >= self._most():
                    break
                try:
                    await self._load(adapter, endpoint)
                except EngineError as failure:
                    self._refused.add(adapter.identity)
                    trouble = failure.message
        return trouble

    def _untidy(self) -> bool:
        if any(name not in self._wanted and not self._uses[name] for name in self._loaded):
            return True
        if len(self._loaded) >= self._most():
            return False
        return bool(self._missing())

    def _missing(self) -> list[LoraAdapter]:
        """What the running engine could hold, does not hold, and has not refused."""
        return [
            one for one in self.wanted
            if not self._holds(one) and one.identity not in self._refused and _has_room(self.calls, one)
        ]  # fmt: skip

    async def _load(self, adapter: LoraAdapter, endpoint: Endpoint) -> bool:
        """Load it; False when all places are in use. The lock is held."""
        calls = self.calls
        if calls is None or not calls.can_load or not _has_room(calls, adapter):
            raise UnavailableError(
                text("The LoRA adapter '{name}' can be used as soon as the engine of '{model}' was restarted, which "
                     "happens when nobody uses it.", name=adapter.name, model=self._placement.model),
                retry_after=5, code="lora_needs_restart",
            )  # fmt: skip
        if adapter.name in self._loaded:
            if self._uses[adapter.name] and self._loaded[adapter.name] is not None:
                return False
            await self._unload(adapter.name, endpoint)
        while len(self._loaded) >= self._most():
            idle = next((one for one in self._loaded if not self._uses[one]), None)
            if idle is None:
                return False
            await self._unload(idle, endpoint)
        # A call that is broken off may have been heard, so what it leaves is unknown.
        self._loaded[adapter.name] = None
        await send(endpoint, calls.load(adapter), patience=_PATIENCE)
        self._loaded[adapter.name] = adapter
        return True

    async def _unload(self, name: str, endpoint: Endpoint) -> None:
        calls, held = self.calls, self._loaded[name]
        known = held or self._wanted.get(name)
        self._loaded[name] = None
        if calls is not None and known is not None:
            try:
                await send(endpoint, calls.unload(known), patience=_PATIENCE)
            except EngineError:
                # What nobody knows of may be missing.
                if held is not None:
                    raise
        del self._loaded[name]

    def _holds(self, adapter: LoraAdapter) -> bool:
        held = self._loaded.get(adapter.name)
        return held is not None and held.identity == adapter.identity

    def _most(self) -> int:
        settings = self._placement.settings
        return max(1, int(settings.get("max_cpu_loras") or settings.get("max_loras") or MOST_LOADED))

    def _planned(self) -> Placement:
        """What would be started now."""
        return replace(self._placement, loras=self.wanted)

    def _usable(self, adapters: Iterable[LoraAdapter]) -> dict[str, LoraAdapter]:
        """Those that the engine reads: one of another format would keep it from starting at all."""
        formats = self._adapter.traits.lora_formats
        return {one.name: one for one in adapters if formats & set(one.files)}

    def _calls_of(self, placement: Placement) -> LoraCalls | NotUsable | None:
        return self._adapter.lora_calls(placement) if isinstance(self._adapter, SwapsLora) else None


def _has_room(calls: LoraCalls | NotUsable | None, adapter: LoraAdapter) -> bool:
    """Whether an engine that is used by these calls was started for adapters of this rank."""
    if calls is None or isinstance(calls, NotUsable):
        return False
    return calls.max_rank is None or adapter.rank <= calls.max_rank
