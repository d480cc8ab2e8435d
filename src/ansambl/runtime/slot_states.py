"""Saving the state of one slot as a file, and restoring it, whoever needs it: restarts, swaps."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Coroutine
from contextlib import suppress

from ansambl.domain.errors import EngineError
from ansambl.domain.instance import Endpoint
from ansambl.engines.adapter import ConversationCalls, LoraCalls, SlotState
from ansambl.runtime import state_files
from ansambl.runtime.engine_calls import send

_LAST_WORDS = 30.0
"""Seconds that a call which was broken off may take to end: a state of some GiB is written in a few."""


async def save_slot(
    endpoint: Endpoint, calls: ConversationCalls, slot: int, *, patience: float
) -> tuple[str, SlotState] | None:
    """Have the engine write the state of `slot` into its state folder; returns the file's name and what it holds.

    None, and no file, when the engine cannot do it in `patience` seconds.
    """
    if endpoint.state_folder is None or not calls.can_copy:
        return None
    file = f"{secrets.token_hex(8)}.state"
    state: SlotState | None = None
    try:
        with suppress(EngineError, OSError):
            state = calls.read_state(await until_answered(send(endpoint, calls.save(slot, file), patience=patience)))
            await asyncio.to_thread(state_files.make_private, endpoint.state_folder, file)
    finally:
        if state is None or state.tokens <= 0:
            await asyncio.to_thread(state_files.remove_file, endpoint.state_folder, file)
    return (file, state) if state is not None and state.tokens > 0 else None


async def restore_slot(
    endpoint: Endpoint, calls: ConversationCalls, loras: LoraCalls | None, slot: int, file: str, *, patience: float
) -> int:
    """Have the engine read `file` of its state folder into `slot`, and remove it; returns the tokens that it restored.

    0 when it refused; its slot is empty then. Who is cancelled meanwhile stays until it has answered: the state must
    not arrive in a slot that somebody else has got.
    """
    if endpoint.state_folder is None:
        return 0
    state: SlotState | None = None
    try:
        if loras is not None:
            # A slot drops its state when a request names other LoRA adapters than the one before; a request of one
            # token, which names them all, tells the slot before it gets the state.
            with suppress(EngineError):
                await send(endpoint, calls.prefill([0], slot), patience=patience, loras=loras)
        with suppress(EngineError, OSError):
            call = calls.restore(slot, file)
            state = calls.read_state(await until_answered(send(endpoint, call, patience=patience, loras=loras)))
    finally:
        await asyncio.to_thread(state_files.remove_file, endpoint.state_folder, file)
    return state.tokens if state is not None else 0


async def until_answered(sending: Coroutine[None, None, bytes]) -> bytes:
    """Send a call that concerns a state; who is cancelled meanwhile stays until it was answered, for a while.

    An engine goes on when nobody listens any more: a file that it writes after its removal would stay there, and a
    state would arrive in a slot that somebody else has got.
    """
    calling = asyncio.ensure_future(sending)
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await asyncio.gather(calling, return_exceptions=True)
        raise
