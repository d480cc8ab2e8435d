"""Scripted engines, a clock that tests move, and the ways to run an ensemble on them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

from ansambl.dialects.openai_chat import ChatRequest, Delta, Message, Usage
from ansambl.domain.errors import AnsamblError
from ansambl.domain.role import Ensemble, ModelName
from ansambl.domain.text import text
from ansambl.roles.catalog import build_catalog
from ansambl.roles.ensembles.events import (
    BranchFailed,
    Content,
    EnsembleEvent,
    Finished,
    Progress,
    Remark,
    Sharing,
    Together,
)
from ansambl.roles.ensembles.run import run
from ansambl.roles.records import NO_OPTIONS, RequestOptions
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory

Script = list[Any]
HISTORY: list[Message] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Good day."},
    {"role": "user", "content": "Is a heap a pile?"},
]
_NOTE = re.compile(r"\[Role: ([^\]]*)\]")


def words(*spoken: str, usage: Usage | None = None, finish_reason: str = "stop") -> Script:
    """What an engine says: pieces, the reason of its end, the usage."""
    return [
        *(Delta(content=one) for one in spoken),
        Delta(finish_reason=finish_reason),
        Delta(usage=usage or Usage(100, 10, 90)),
    ]


class ScriptedEngines:
    """Plays scripts by the role that is asked: deltas are said, errors raised, events waited for, functions called.

    A role's scripts are played one per call; the last one is played again. `entering` is waited for, or raised, on
    entering `ask_together`.
    """

    def __init__(self, **scripts: Script | list[Script]) -> None:
        self.scripts = {name: one if one and isinstance(one[0], list) else [one] for name, one in scripts.items()}
        self.asked: list[ChatRequest] = []
        self.models: list[str] = []
        self.together: list[tuple[str, int]] = []
        self.opened = 0
        self.closed = 0
        self.inside = 0
        self.sharing = Sharing.CLONED
        self.prefill: Usage | None = None
        self.entering: dict[str, asyncio.Event | AnsamblError] = {}

    async def ask(self, model: str, request: ChatRequest, /) -> AsyncGenerator[Delta, None]:
        self.opened += 1
        try:
            self.asked.append(request)
            self.models.append(model)
            scripts = self.scripts[role_of(request)]
            for step in scripts.pop(0) if len(scripts) > 1 else scripts[0]:
                # As a real engine: others may run between two of its events.
                await asyncio.sleep(0)
                if isinstance(step, AnsamblError):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif callable(step):
                    step()
                else:
                    yield step
        finally:
            self.closed += 1

    @asynccontextmanager
    async def ask_together(self, model: str, requests: Sequence[ChatRequest], /) -> AsyncIterator[Together]:
        self.inside += 1
        try:
            gate = self.entering.get(model)
            if isinstance(gate, AnsamblError):
                raise gate
            if gate is not None:
                await gate.wait()
            self.together.append((model, len(requests)))
            streams = tuple(self.ask(model, one) for one in requests)
            try:
                yield Together(streams, self.sharing, text("as the test wants it"), self.prefill)
            finally:
                for one in streams:
                    await one.aclose()
        finally:
            self.inside -= 1

    def requests_of(self, role: str) -> list[ChatRequest]:
        return [one for one in self.asked if role_of(one) == role]

    def note_of(self, role: str, call: int = -1) -> str:
        return str(self.requests_of(role)[call].messages()[-1]["content"])


def role_of(request: ChatRequest) -> str:
    """The role whose note a request carries: the last one, because earlier ones are of earlier turns."""
    for message in reversed(request.messages()):
        found = _NOTE.findall(str(message.get("content")))
        if message.get("role") in {"user", "system"} and found:
            return str(found[0])
    return ""


class Watch:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def to(self, time: float) -> Callable[[], None]:
        return lambda: setattr(self, "time", time)


def stage(
    roles: dict[str, dict[str, Any]] | None = None, *models: ModelName, **ensembles: dict[str, Any]
) -> RoleService:
    """A service whose catalog holds the shipped roles, `roles` and `ensembles`; the first model is the usual one."""
    return RoleService(build_catalog(roles or {}, ensembles, models or [ModelName("big")]), TurnMemory())


def request(messages: list[Message] | None = None, **fields: Any) -> ChatRequest:
    return ChatRequest({}).changed({"model": "x", "messages": messages or HISTORY, **fields})


def begin(
    service: RoleService,
    engines: ScriptedEngines,
    name: str,
    asked: ChatRequest | None = None,
    *,
    watch: Watch | None = None,
    options: RequestOptions = NO_OPTIONS,
    **changes: Any,
) -> AsyncGenerator[EnsembleEvent, None]:
    ensemble: Ensemble = replace(service.catalog.ensembles[name], **changes)
    return run(
        ensemble, asked or request(), service=service, engines=engines, key="k", options=options, clock=watch or Watch()
    )


async def hold(*arguments: Any, **options: Any) -> list[EnsembleEvent]:
    """All events of a run."""
    async with aclosing(begin(*arguments, **options)) as events:
        return [event async for event in events]


def content(events: list[EnsembleEvent]) -> str:
    return "".join(one.text for one in events if isinstance(one, Content))


def progress(events: list[EnsembleEvent]) -> str:
    return "".join(one.text for one in events if isinstance(one, Progress))


def said(events: list[EnsembleEvent]) -> list[str]:
    """What the ensemble itself said: failures and remarks."""
    return [str(one.message) for one in events if isinstance(one, (BranchFailed, Remark))]


def finished(events: list[EnsembleEvent]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    assert sum(isinstance(one, Finished) for one in events) == 1
    return last


def states(events: list[EnsembleEvent]) -> list[str]:
    return [f"{one.role} {one.state.value}" for one in finished(events).branches]
