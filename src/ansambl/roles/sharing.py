"""How ensembles reach engines: one request, or several at once that share the beginning of their prompts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from ansambl.dialects.openai_chat import ChatRequest, Delta
from ansambl.domain.text import text
from ansambl.roles.asking import ask_engine
from ansambl.roles.ensembles.events import Sharing, Together
from ansambl.runtime.coordinator import Coordinator


class SharedEngines:
    """The `Engines` of one coordinator.

    What the streams of `ask_together` promise their reader: nothing of a request is sent before its stream is first
    read, so read all of them at the same time, each in a task of its own. Where they take turns, the turn goes to the
    stream that was read first and ends with its end, its failure or its ``aclose``. A stream that is never read holds
    nobody up. Leaving the context closes all of them and with them the engine's connections.
    """

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator

    def ask(self, model: str, request: ChatRequest) -> AsyncGenerator[Delta, None]:
        """As `Engines.ask`."""
        return ask_engine(self._coordinator, model, request)

    @asynccontextmanager
    async def ask_together(self, model: str, requests: Sequence[ChatRequest]) -> AsyncIterator[Together]:
        """As `Engines.ask_together`."""
        turn = asyncio.Lock()
        streams = tuple(self._in_turn(model, one, turn) for one in requests)
        try:
            yield Together(
                streams,
                Sharing.IN_TURN if len(streams) > 1 else Sharing.NONE,
                text("one after another, each on what the one before it left in the engine"),
            )
        finally:
            for one in streams:
                await one.aclose()

    async def _in_turn(self, model: str, request: ChatRequest, turn: asyncio.Lock) -> AsyncGenerator[Delta, None]:
        async with turn, aclosing(self.ask(model, request)) as deltas:
            async for delta in deltas:
                yield delta
