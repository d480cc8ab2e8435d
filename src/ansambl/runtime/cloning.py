"""Copying the state of one slot into others: what several requests have in common is prefilled once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence

from ansambl.domain.errors import EngineError
from ansambl.domain.text import text
from ansambl.engines.adapter import ConversationCalls, EngineCall, PrefilledPrompt
from ansambl.runtime import state_files
from ansambl.runtime.carrying import Lease
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.slot_states import until_answered

_UNKNOWN_BYTES_PER_TOKEN = float(2**20)
"""Bytes of a token's state where nothing told: three times those of a dense model of 70 billion parameters."""


class NoRoomError(EngineError):
    """There is no room for a copy of the state."""


async def tokens_of(coordinator: Coordinator, lease: Lease, fields: Mapping[str, object]) -> list[int]:
    """The tokens that a chat request with these `fields` becomes in the leased engine.

    Raises:
        EngineError: the engine cannot tell.
    """
    calls = _calls(lease)
    prompt = calls.read_prompt(await coordinator.call(lease, calls.render(fields)))
    if prompt is None:
        raise _unreadable(calls.render(fields))
    tokens = calls.read_tokens(await coordinator.call(lease, calls.tokenize(prompt)))
    if not tokens:
        raise _unreadable(calls.tokenize(prompt))
    return tokens


def common_tokens(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all `prompts` begin with; each keeps at least one of its own, from which its answer begins."""
    shortest = min(len(one) for one in prompts) - 1
    first = prompts[0]
    return next(
        (place for place in range(shortest) if any(one[place] != first[place] for one in prompts)), max(0, shortest)
    )


class StateCopies:
    """The state of one leased slot as a file, from `saved` to `remove`; `bytes_per_token` is what it really took.

    Args:
        coordinator: carries the calls.
        source: the slot whose state is copied.
        tokens: what it holds.
        bytes_per_token: what earlier states of this run took, None when there was none.
    """

    def __init__(
        self, coordinator: Coordinator, source: Lease, tokens: Sequence[int], *, bytes_per_token: float | None = None
    ) -> None:
        self._coordinator = coordinator
        self._source = source
        self._tokens = tokens
        self._file = f"{secrets.token_hex(8)}.state"
        self._folder = source.endpoint.state_folder or ""
        self._saved = False
        self.bytes_per_token = bytes_per_token

    async def prefill(self) -> PrefilledPrompt:
        """Make the source hold the tokens.

        Raises:
            EngineError: the engine refused, or read less than it was told.
        """
        calls = _calls(self._source)
        self._coordinator.note(self._source)
        call = calls.prefill(self._tokens, self._slot(self._source))
        done = calls.read_prefilled(await self._coordinator.call(self._source, call))
        if done is None or done.tokens < len(self._tokens):
            raise _unreadable(call)
        return done

    async def save(self) -> None:
        """Save the source's state.

        Raises:
            NoRoomError: it would take too much of the memory or the disk.
            EngineError: the engine cannot do it.
        """
        calls = _calls(self._source)
        known = self.bytes_per_token or self._source.endpoint.state_bytes_per_token or _UNKNOWN_BYTES_PER_TOKEN
        size = known * len(self._tokens)
        if not self._folder or not await asyncio.to_thread(state_files.has_room, self._folder, size):
            raise NoRoomError(text("there is no room for the state of a conversation of {count} tokens",
                                   count=len(self._tokens)))  # fmt: skip
        call = calls.save(self._slot(self._source), self._file)
        # From now on: a call that is broken off may have written it already.
        self._saved = True
        state = calls.read_state(await until_answered(self._coordinator.call(self._source, call)))
        if state is None or state.tokens < len(self._tokens):
            raise _unreadable(call)
        self.bytes_per_token = state.size / max(1, state.tokens)
        try:
            await asyncio.to_thread(state_files.make_private, self._folder, self._file)
        except OSError:
            raise EngineError(text("the engine saved the state of a slot somewhere else than it was told")) from None

    async def restore(self, lease: Lease) -> None:
        """Make another leased slot hold the state.

        Raises:
            EngineError: the engine cannot do it, or restored less than was saved.
        """
        calls = _calls(lease)
        self._coordinator.note(lease)
        if self._coordinator.instance(lease.model).status().loras:
            # A slot drops its state when a request names another LoRA adapter than the one before; a request of one
            # token, which names that of the requests to come, tells the slot before it gets the state.
            await self._coordinator.call(lease, calls.prefill(self._tokens[:1], self._slot(lease)))
        call = calls.restore(self._slot(lease), self._file)
        state = calls.read_state(await self._coordinator.call(lease, call))
        if state is None or state.tokens < len(self._tokens):
            raise _unreadable(call)

    async def remove(self) -> None:
        """Remove the file, as soon as nobody needs it any more."""
        if self._saved:
            self._saved = False
            await asyncio.to_thread(state_files.remove_file, self._folder, self._file)

    @staticmethod
    def _slot(lease: Lease) -> int:
        assert lease.slot is not None  # noqa: S101 - for the type checker: who has calls has a slot
        return lease.slot


def _calls(lease: Lease) -> ConversationCalls:
    if lease.calls is None:
        raise EngineError(text("The engine of '{model}' has no slots that can be used.", model=lease.model))
    return lease.calls


def _unreadable(call: EngineCall) -> EngineError:
    return EngineError(text("the engine's answer to {path} is not what was expected", path=call.path))
