"""Requests asked together on the real llama.cpp: prefilled once, copied into the other slots, answered at once."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from contextlib import aclosing
from pathlib import Path

import pytest

from ansambl.dialects.openai_chat import ChatRequest, parse_request
from ansambl.domain.engine import EngineOptions
from ansambl.domain.errors import AnsamblError
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.engines.registry import get_engine
from ansambl.foundation.clock import RealClock
from ansambl.model_catalog.embedded import find
from ansambl.roles.ensembles.events import Sharing, Together
from ansambl.roles.sharing import WORTH_COPYING, SharedEngines
from ansambl.runtime import state_files
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.state_files import StateFolders
from ansambl.runtime.upstream import Upstream

pytestmark = pytest.mark.engine

ROLES = ("You are a coder.", "Answer in verses.", "Answer in one word.", "You are a mathematician.")


class Stage:
    """An instance of the embedded model with its coordinator, and the folders that its states go to."""

    def __init__(self, models: Path, folder: Path, parallel: int = 4) -> None:
        self.events = EventLog()
        self.memory = folder / "memory"
        self.memory.mkdir()
        placement = Placement(
            model="tiny", engine="auto", checkpoint=find(models), context=2048, parallel=parallel, threads=2,
            options=EngineOptions(arguments=("--no-warmup",)),
        )  # fmt: skip
        self.instance = EngineInstance(
            placement, get_engine("auto"), launcher=LocalLauncher(), store=None, events=self.events,
            log_folder=folder / "logs", states=StateFolders(folder, (self.memory,)),
        )  # fmt: skip
        self.coordinator = Coordinator([self.instance], Upstream(), RealClock(), self.events)
        self.engines = SharedEngines(self.coordinator)

    def files(self) -> list[Path]:
        return [one for one in self.memory.rglob("*") if one.is_file()]

    def kinds(self) -> list[str]:
        return [one.kind for one in self.events.recent()]


@pytest.fixture
async def stage(embedded_model_folder, tmp_path):
    found = Stage(embedded_model_folder, tmp_path)
    yield found
    await found.coordinator.stop()
    assert list(found.memory.iterdir()) == [], "the folder of the run is gone with it"


def request_for(role: str, *, tokens: int = 12, facts: int = 40) -> ChatRequest:
    document = " ".join(f"Fact {number}: the number {number * 7 % 13} follows {number}." for number in range(facts))
    return parse_request(b"{}").changed(
        {"model": "tiny", "messages": [{"role": "user", "content": f"{document}\n\n{role}"}], "stream": True,
         "stream_options": {"include_usage": True}, "max_tokens": tokens, "temperature": 0}
    )  # fmt: skip


async def read(stream):
    said, usage = "", None
    async with aclosing(stream) as deltas:
        async for delta in deltas:
            said += delta.content
            usage = delta.usage or usage
    return said, usage


async def read_all(together: Together):
    return await asyncio.gather(*(read(one) for one in together.streams))


async def test_the_beginning_is_read_once_and_every_branch_has_it(stage):
    requests = [request_for(one) for one in ROLES]
    async with stage.engines.ask_together("tiny", requests) as together:
        assert together.sharing is Sharing.CLONED
        assert stage.files() == [], "the state is gone as soon as it was restored"
        answers = await read_all(together)
    prefix = together.usage.prompt_tokens
    assert prefix > 2 * WORTH_COPYING
    assert together.usage.cached_tokens == 0
    assert {usage.cached_tokens for _, usage in answers} == {prefix}
    assert all(usage.prompt_tokens - prefix < 20 for _, usage in answers)
    # The engine still holds all of it: a second time nothing is read but the ends.
    async with stage.engines.ask_together("tiny", requests) as together:
        assert together.usage.prompt_tokens - together.usage.cached_tokens <= 1
        assert {usage.cached_tokens for _, usage in await read_all(together)} == {prefix}


async def test_answers_from_copies_are_those_asked_one_by_one(stage, monkeypatch):
    requests = [request_for(one) for one in ROLES]
    with monkeypatch.context() as changed:
        changed.setattr(state_files, "_free", lambda _folder: Bytes(0))
        async with stage.engines.ask_together("tiny", requests) as together:
            assert together.sharing is Sharing.IN_TURN
            alone = [(await read(one))[0] for one in together.streams]
    await stage.instance.stop()
    async with stage.engines.ask_together("tiny", requests) as together:
        assert together.sharing is Sharing.CLONED
        # One after another here, too: sums of a batch are rounded otherwise than those of one request.
        copied = [(await read(one))[0] for one in together.streams]
    assert copied == alone
    assert len(set(alone)) > 1


async def test_more_requests_than_slots(embedded_model_folder, tmp_path):
    stage = Stage(embedded_model_folder, tmp_path, parallel=2)
    try:
        requests = [request_for(one) for one in ROLES]
        async with stage.engines.ask_together("tiny", requests) as together:
            assert together.sharing is Sharing.CLONED
            (file,) = stage.files()
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            answers = await read_all(together)
            assert stage.files() == []
        assert {usage.cached_tokens for _, usage in answers} == {together.usage.prompt_tokens}
    finally:
        await stage.coordinator.stop()


async def test_one_slot_takes_turns_on_what_the_one_before_left(embedded_model_folder, tmp_path):
    stage = Stage(embedded_model_folder, tmp_path, parallel=1)
    try:
        async with stage.engines.ask_together("tiny", [request_for(one) for one in ROLES]) as together:
            assert together.sharing is Sharing.IN_TURN
            assert together.usage is None
            answers = await read_all(together)
        cached = sorted(usage.cached_tokens for _, usage in answers)
        assert cached[0] == 0
        assert cached[1] > 2 * WORTH_COPYING
    finally:
        await stage.coordinator.stop()


async def test_without_room_they_take_turns(stage, monkeypatch):
    monkeypatch.setattr(state_files, "_free", lambda _folder: Bytes(1000))
    async with stage.engines.ask_together("tiny", [request_for(one) for one in ROLES[:2]]) as together:
        assert together.sharing is Sharing.IN_TURN
        assert "room" in together.reason.render()
        first, second = sorted(usage.cached_tokens for _, usage in await read_all(together))
    assert first > 2 * WORTH_COPYING, "it was prefilled before anybody knew that there is no room"
    assert second > 2 * WORTH_COPYING
    assert "no_copies" not in stage.kinds(), "there may be room another time"


async def test_too_little_in_common_is_not_copied(stage):
    async with stage.engines.ask_together("tiny", [request_for(one, facts=2) for one in ROLES]) as together:
        assert together.sharing is Sharing.NONE
        assert len(await read_all(together)) == len(ROLES)


async def test_leaving_ends_all_of_it_at_once(stage):
    async with stage.engines.ask_together("tiny", [request_for(one, tokens=1000) for one in ROLES]) as together:
        assert together.sharing is Sharing.CLONED
        readers = [asyncio.create_task(read(one)) for one in together.streams]
        await asyncio.wait(readers, timeout=0.5)
        for one in readers:
            one.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
    (status,) = stage.coordinator.statuses()
    assert (status.running, status.waiting) == (0, 0)
    async with asyncio.timeout(30):
        said, usage = await read(stage.engines.ask("tiny", request_for(ROLES[2])))
    assert said
    assert usage.cached_tokens > 2 * WORTH_COPYING, "it went to a slot that holds the conversation"


async def test_an_engine_that_dies_fails_what_it_held_and_the_next_request_works(stage):
    async with stage.engines.ask_together("tiny", [request_for(one, tokens=1000) for one in ROLES]) as together:
        readers = [asyncio.create_task(read(one)) for one in together.streams]
        await asyncio.wait(readers, timeout=0.5)
        os.kill(stage.instance.status().pid, signal.SIGKILL)
        ends = await asyncio.gather(*readers, return_exceptions=True)
        failed = [one for one in ends if not isinstance(one, tuple)]
        assert failed, "an answer of 1000 tokens takes longer"
        assert all(isinstance(one, AnsamblError) for one in failed)
    async with asyncio.timeout(60):
        said, _ = await read(stage.engines.ask("tiny", request_for(ROLES[0])))
        assert said
        async with stage.engines.ask_together("tiny", [request_for(one) for one in ROLES]) as together:
            assert together.sharing is Sharing.CLONED
            assert len(await read_all(together)) == len(ROLES)


async def test_a_client_cannot_choose_a_slot(stage):
    body = request_for(ROLES[0]).changed({"id_slot": 99})
    said, _ = await read(stage.engines.ask("tiny", body))
    assert said
