"""An instance that somebody else runs: Ansambl starts nothing and stops nothing, it only looks whether it answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace

import httpx

from ansambl.domain.errors import NotSupportedError, UnavailableError
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.plan import Attachment, Placement
from ansambl.domain.serving import Serving
from ansambl.domain.text import Text, text
from ansambl.engines.adapter import ConversationCalls, KeepsConversations, LoraCalls, SaltsCache, SharesPrefixes
from ansambl.engines.registry import get_engine
from ansambl.engines.serving import serving_elsewhere
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.redaction import register_secret
from ansambl.runtime.discovery import LLAMA_SERVER, SGLANG, VLLM
from ansambl.runtime.events import EventLog
from ansambl.runtime.flight import Flight
from ansambl.runtime.instance import InstanceListener
from ansambl.runtime.kept_states import SlotKeeper

CHECK_EVERY = 15.0
"""Seconds between two looks at a server that is in use."""
IN_USE = 60.0
"""Seconds after the last request for which it counts as in use."""
_PATIENCE = 5.0
_PREFIX_CACHES = {"vllm": True, "sglang": True, "tabbyapi": True, "llamacpp": False}
"""Whether requests share prefixes at once, by the owner that a server's list of models names."""


class AttachedInstance:
    """A model at an address that speaks OpenAI.

    A request is let through without asking first; only a server that was found unreachable is asked again before.
    """

    def __init__(self, attachment: Attachment, *, events: EventLog, clock: Clock | None = None) -> None:
        self.model = attachment.model
        self._attachment = attachment
        if attachment.key:
            register_secret(attachment.key, lasting=True)
        self._events = events
        self._clock = clock or RealClock()
        self._endpoint = Endpoint(
            base_url=attachment.address.rstrip("/"), key=attachment.key, name=attachment.name,
            slots=attachment.parallel,
        )  # fmt: skip
        self.flight = Flight()
        # Asked once: whether an object follows a protocol takes longer than all that is done with the answer.
        adapter = get_engine(attachment.engine)
        self._salts = adapter if isinstance(adapter, SaltsCache) else None
        self._trouble: Text | None = None
        self._note: Text | None = None
        self._known = False
        self._shares = {VLLM: True, SGLANG: True, LLAMA_SERVER: False}.get(attachment.server or "")
        self._named = _shares_as_named(attachment)
        self._used = float("-inf")
        self._check: asyncio.Task[None] | None = None
        self._look: asyncio.Task[None] | None = None
        self._suspected = asyncio.Event()

    async def ensure_ready(self) -> Endpoint:
        """Return the address.

        Raises:
            UnavailableError: it does not answer, or refuses the key; the message says so.
        """
        self._used = self._clock.monotonic()
        if self._trouble is not None or self._suspected.is_set():
            await self._checked()
        if self._trouble is not None:
            raise UnavailableError(
                text("'{model}' is not available: {reason}", model=self.model, reason=self._trouble),
                code="engine_unreachable",
            )
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_after(), name=f"attached {self.model}")
        return self._endpoint

    def endpoint(self) -> Endpoint | None:
        """Where it answers, as far as is known."""
        return None if self._trouble is not None else self._endpoint

    def suspect(self) -> None:
        """Tell that a request just failed at the connection: the next one waits for a check."""
        self._suspected.set()

    def garbled(self) -> None:
        """Nothing: whoever runs the server looks after it."""

    def proven(self) -> None:
        """Nothing: whoever runs the server counts its failures."""

    async def stop(self) -> None:
        """Stop looking; the server itself is not ours."""
        for task in (self._look, self._check):
            if task is not None and not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._look = self._check = None

    def conversations(self) -> ConversationCalls | None:
        """None: a state that a foreign server saved could not be removed there, and it chooses its slots itself."""
        return None

    def shares_prefixes(self) -> bool | None:
        """As the engine does that its owner named, else as the server's list of models tells.

        None before the first look, and where neither tells.
        """
        return self._shares if self._named is None else self._named

    def serves(self) -> Serving:
        """As the engine that its owner named may; which version of it runs there nobody knows.

        So in no dialect but the chat's own it is believed to hear whose a request is.
        """
        return replace(serving_elsewhere(get_engine(self._attachment.engine)), salted=frozenset())

    def salted(self, body: bytes, salt: str) -> bytes:
        """Where its owner named an engine whose requests can carry one."""
        return body if self._salts is None else self._salts.salted(body, salt)

    def begin_use(self) -> None:
        """Nothing: whoever runs the server decides when it rests."""

    def end_use(self) -> None:
        """Nothing."""

    async def sleep(self, level: int | None = None) -> None:  # noqa: ARG002 - it never can
        """Refused: the server is not ours.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(
            text("'{model}' runs at {address}, which is not Ansambl's; whoever runs that server can put it to sleep.",
                 model=self.model, address=self._attachment.address)
        )  # fmt: skip

    def keep_slots(self, keeper: SlotKeeper) -> None:
        """Nothing: its slots are not ours."""

    def loras(self) -> LoraCalls | None:
        """None: which LoRA adapters the server has is not ours to say."""
        return None

    def check_lora(self, name: str) -> LoraAdapter:
        """Refused: the server is not ours.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(
            text("'{model}' runs at {address}, which is not Ansambl's, so it cannot use the LoRA adapter '{name}'; "
                 "load it into that server and name it there as a model.", model=self.model,
                 address=self._attachment.address, name=name)
        )  # fmt: skip

    async def use_lora(self, name: str) -> None:
        """Refused, as `check_lora`."""
        self.check_lora(name)

    def end_lora(self, name: str) -> None:
        """Nothing."""

    def set_loras(self, adapters: Sequence[LoraAdapter]) -> bool:  # noqa: ARG002 - they cannot be used here
        """Nothing; False."""
        return False

    def listen(self, listener: InstanceListener) -> None:
        """Nothing: what the server holds is not memory that we give."""

    def state_identity(self) -> str | None:
        """None: its states are not ours."""
        return None

    def status(self) -> InstanceStatus:
        """A snapshot for people; STARTING until it was first looked at."""
        ready = InstanceState.READY if self._known else InstanceState.STARTING
        return InstanceStatus(
            model=self.model,
            engine=self._attachment.engine,
            state=InstanceState.UNREACHABLE if self._trouble else ready,
            address=self._attachment.address,
            attached=True,
            parallel=self._attachment.parallel,
            message=self._trouble or self._note,
            server=self._attachment.server,
        )

    def log_tail(self, lines: int = 200) -> list[str]:  # noqa: ARG002 - the log is not ours
        """Empty: the log is not ours."""
        return []

    async def _look_after(self) -> None:
        while self._clock.monotonic() - self._used < IN_USE:
            await self._checked()
            pause = asyncio.ensure_future(self._clock.sleep(CHECK_EVERY))
            suspected = asyncio.ensure_future(self._suspected.wait())
            try:
                await asyncio.wait([pause, suspected], return_when=asyncio.FIRST_COMPLETED)
            finally:
                pause.cancel()
                suspected.cancel()

    async def _checked(self) -> None:
        """Look once; callers at the same time share one look."""
        if self._check is None or self._check.done():
            self._check = asyncio.create_task(self._ask())
        await asyncio.shield(self._check)

    async def _ask(self) -> None:
        self._suspected.clear()
        headers = {"Authorization": f"Bearer {self._attachment.key}"} if self._attachment.key else {}
        trouble: Text | None = None
        try:
            # No proxy: the request path uses none either.
            async with httpx.AsyncClient(timeout=_PATIENCE, trust_env=False) as client:
                answer = await client.get(f"{self._endpoint.base_url}/models", headers=headers)
            trouble = self._judge(answer)
        except (httpx.HTTPError, httpx.InvalidURL) as failure:
            reason = str(failure) or type(failure).__name__
            trouble = text("{address} does not answer ({reason}); start the server there, or correct the address",
                           address=self._attachment.address, reason=reason)  # fmt: skip
        before, self._trouble = self._trouble, trouble
        if trouble is not None and (before is None or before.template != trouble.template):
            self._events.add(self.model, "unreachable", trouble)
        elif trouble is None and before is not None:
            self._events.add(self.model, "reachable", text("{address} answers again", address=self._attachment.address))
        self._known = True

    def _judge(self, answer: httpx.Response) -> Text | None:
        address, model = self._attachment.address, self.model
        if answer.status_code in (401, 403):
            if self._attachment.key:
                return text("{address} refuses the key; correct models.{model}.key", address=address, model=model)
            return text("{address} asks for a key; set models.{model}.key", address=address, model=model)
        if answer.status_code >= 500:
            return text("{address} answers with status {status}; look at the server there", address=address,
                        status=answer.status_code)  # fmt: skip
        self._note = None
        listed = _listed(answer)
        names = set(listed)
        self._shares = next((_PREFIX_CACHES[one] for one in listed.values() if one in _PREFIX_CACHES), self._shares)
        if names and self._attachment.name not in names:
            self._note = text(
                "{address} does not list a model '{name}'; it lists {names}", address=address,
                name=self._attachment.name, names=", ".join(sorted(names)[:5]),
            )  # fmt: skip
        return None


def _shares_as_named(attachment: Attachment) -> bool | None:
    """What the adapter of the named engine says of it; an engine with slots of its own shares nothing by itself."""
    adapter = get_engine(attachment.engine)
    if isinstance(adapter, SharesPrefixes):
        return adapter.shares_prefixes(Placement(attachment.model, attachment.engine, None, 0, 1))
    return False if isinstance(adapter, KeepsConversations) else None


def _listed(answer: httpx.Response) -> dict[str, str]:
    """The models that it lists, each with who owns it, which is how servers name themselves."""
    try:
        listed = answer.json()["data"] if answer.status_code == 200 else []
        return {str(one["id"]): str(one.get("owned_by", "")).lower() for one in listed}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
