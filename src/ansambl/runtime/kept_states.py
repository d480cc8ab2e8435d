"""The states of an engine's slots over a restart of it, so that conversations need not be read again."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ansambl.domain.instance import Endpoint
from ansambl.engines.adapter import ConversationCalls, LoraCalls
from ansambl.runtime import state_files
from ansambl.runtime.slot_states import restore_slot, save_slot
from ansambl.runtime.state_files import StateFolders

_PATIENCE = 120.0
"""Seconds for one call: a state of some GiB is written in a few."""


class SlotKeeper(Protocol):
    """Who knows what the slots of an instance hold."""

    def slots(self) -> Sequence[int]:
        """The slots whose states are worth keeping: what they hold was read without a LoRA adapter."""
        ...

    def moved(self, engine: Endpoint, slots: Sequence[int]) -> None:
        """These slots of another run of the engine hold what they held before; all others are empty."""
        ...


@dataclass(frozen=True, slots=True)
class _Kept:
    slot: int
    file: str
    tokens: int


class KeptStates:
    """Saves slots of one run and restores them into the next, through a folder of its own in between."""

    def __init__(self, states: StateFolders | None) -> None:
        self._states = states
        self._folder: Path | None = None
        self._kept: list[_Kept] = []

    async def save(
        self, endpoint: Endpoint, calls: ConversationCalls | None, slots: Sequence[int], *, context: int
    ) -> None:  # fmt: skip
        """Save what can be saved; a slot that cannot is read again later, which is no error.

        `context` is how many tokens a slot may hold: where there is no room for all of them, it is left.
        """
        await self.drop()
        if self._states is None or calls is None or not calls.can_copy or endpoint.state_folder is None or not slots:
            return
        try:
            self._folder = await asyncio.to_thread(self._states.make)
        except OSError:
            return
        size = (endpoint.state_bytes_per_token or 0.0) * context
        for slot in slots:
            if not await asyncio.to_thread(state_files.has_room, endpoint.state_folder, size):
                return
            saved = await save_slot(endpoint, calls, slot, patience=_PATIENCE)
            if saved is not None:
                file, state = saved
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(shutil.move, Path(endpoint.state_folder, file), self._folder / file)
                    self._kept.append(_Kept(slot, file, state.tokens))

    async def restore(
        self, endpoint: Endpoint, calls: ConversationCalls | None, loras: LoraCalls | None
    ) -> tuple[int, ...]:
        """Restore what was saved, and return the slots that hold it now."""
        folder, into, found = self._folder, endpoint.state_folder, []
        if calls is None or folder is None or into is None:
            return ()
        for one in self._kept:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(shutil.move, folder / one.file, Path(into, one.file))
                if await restore_slot(endpoint, calls, loras, one.slot, one.file, patience=_PATIENCE) >= one.tokens:
                    found.append(one.slot)
        await self.drop()
        return tuple(found)

    async def drop(self) -> None:
        """Keep nothing."""
        folder, self._folder, self._kept = self._folder, None, []
        await asyncio.to_thread(state_files.remove_folder, str(folder) if folder is not None else None)
