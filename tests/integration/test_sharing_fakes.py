"""Requests asked together of engines that cannot do what llama.cpp does, or pretend to: fakes, as real processes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest

from ansambl.dialects.openai_chat import parse_request
from ansambl.domain.engine import EngineOptions
from ansambl.domain.errors import EngineError
from ansambl.domain.plan import Attachment, Placement
from ansambl.engines.registry import get_engine
from ansambl.foundation.clock import RealClock
from ansambl.roles.ensembles.events import Sharing
from ansambl.roles.sharing import SharedEngines
from ansambl.runtime.attached_instance import AttachedInstance
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.discovery import LLAMA_SERVER, VLLM
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.state_files import StateFolders
from ansambl.runtime.upstream import Upstream
from ansambl.testing.fake_engine import fake_engine_command, running_fake_engine

ROLES = ("coder", "poet", "brief")
DOCUMENT = "a fact of the shared document " * 120


class Stage:
    def __init__(self, instance, events):
        self.events = events
        self.coordinator = Coordinator([instance], Upstream(), RealClock(), events)
        self.engines = SharedEngines(self.coordinator)

    async def together(self, *, roles=ROLES, content=DOCUMENT):
        requests = [request_for(content + one) for one in roles]
        async with self.engines.ask_together("m", requests) as found:
            answers = await asyncio.gather(*(read(one) for one in found.streams))
        return found, answers

    def said(self, kind):
        return [one.message.render() for one in self.events.recent() if one.kind == kind]


def request_for(content):
    return parse_request(b"{}").changed(
        {"model": "m", "messages": [{"role": "user", "content": content}], "stream": True, "max_tokens": 5,
         "stream_options": {"include_usage": True}}
    )  # fmt: skip


def left_in(folder):
    return list(folder.iterdir())


async def read(stream):
    usage, deltas = None, 0
    async with aclosing(stream) as found:
        async for delta in found:
            deltas += bool(delta.content)
            usage = delta.usage or usage
    return usage


@pytest.fixture
def started(tmp_path):
    """A stage around a fake that we run, with the gap for states in its command."""

    @asynccontextmanager
    async def start(script="", *, parallel=3, gap=True):
        command = fake_engine_command("{port}", script=script, slots=parallel, prefill_per_second=5000)
        words = [*command, *(["--slot-save-path", "{state_folder}"] if gap else [])]
        placement = Placement(
            model="m", engine="command", checkpoint=None, context=8192, parallel=parallel,
            options=EngineOptions(command=" ".join(words[:3]), arguments=tuple(words[3:])),
        )  # fmt: skip
        events, memory = EventLog(), tmp_path / "memory"
        memory.mkdir(exist_ok=True)
        instance = EngineInstance(
            placement, get_engine("command"), launcher=LocalLauncher(), store=None, events=events,
            log_folder=tmp_path / "logs", states=StateFolders(tmp_path, (memory,)),
        )  # fmt: skip
        stage = Stage(instance, events)
        yield stage
        await stage.coordinator.stop()
        assert left_in(memory) == []

    return start


async def test_a_command_with_the_gap_is_copied(started):
    async with started() as stage:
        found, answers = await stage.together()
        assert found.sharing is Sharing.CLONED
        assert {one.cached_tokens for one in answers} == {found.usage.prompt_tokens}
        assert stage.said("no_copies") == []


async def test_a_build_that_restores_nothing_is_found_out_and_told_once(started):
    async with started("restores-nothing") as stage:
        found, answers = await stage.together()
        assert found.sharing is Sharing.CLONED
        assert sorted(one.cached_tokens for one in answers)[:2] == [0, 0]
        (said,) = stage.said("no_copies")
        assert "kept 0" in said
        found, answers = await stage.together()
        assert found.sharing is Sharing.IN_TURN
        assert all(one.cached_tokens > 256 for one in answers), "each goes on where the one before it was"
        assert len(stage.said("no_copies")) == 1


async def test_a_build_that_saves_nothing_takes_turns(started):
    async with started("saves-nothing") as stage:
        for _ in range(2):
            found, answers = await stage.together()
            assert found.sharing is Sharing.IN_TURN
            assert all(one.cached_tokens > 256 for one in answers[1:])
        assert len(stage.said("no_copies")) == 1


async def test_without_a_rendered_template_the_first_request_prefills(started):
    async with started("no-template") as stage:
        found, answers = await stage.together()
        assert found.sharing is Sharing.IN_TURN
        assert found.usage is None
        assert [one.cached_tokens > 256 for one in answers].count(False) == 1
        assert stage.said("no_copies") == []


async def test_images_are_not_copied(started):
    async with started() as stage:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
        requests = [request_for(DOCUMENT + one) for one in ROLES]
        requests[1] = requests[1].changed({"messages": [{"role": "user", "content": [image]}]})
        async with stage.engines.ask_together("m", requests) as found:
            assert found.sharing is Sharing.IN_TURN
            assert "image" in found.reason.render()


async def test_a_command_that_nobody_knows_is_taken_for_one_with_a_prefix_cache(started):
    async with started(gap=False) as stage:
        found, answers = await stage.together()
        assert found.sharing is Sharing.CACHED
        assert len(answers) == len(ROLES)


async def test_what_is_attached_shares_by_its_own_cache_after_the_first_has_begun():
    async with running_fake_engine(slots=3, tokens_per_second=100) as engine:
        events = EventLog()
        stage = Stage(AttachedInstance(Attachment("m", engine.address, "fake"), events=events), events)
        requests = [request_for(DOCUMENT + one) for one in ROLES]
        async with stage.engines.ask_together("m", requests) as found:
            assert found.sharing is Sharing.CACHED
            first, *others = [asyncio.create_task(read(one)) for one in found.streams]
            came = await engine.wait_for(lambda all_: len(all_) >= 1)
            assert len(came) == 1, "the others wait until the beginning was read"
            await asyncio.gather(first, *others)
        assert len(await engine.requests()) == len(ROLES)
        await stage.coordinator.stop()


async def test_the_next_one_leads_when_the_first_fails():
    async with running_fake_engine(slots=3, script="error-500") as engine:
        events = EventLog()
        stage = Stage(AttachedInstance(Attachment("m", engine.address, "fake"), events=events), events)
        async with stage.engines.ask_together("m", [request_for(DOCUMENT + one) for one in ROLES]) as found:
            ends = await asyncio.gather(*(read(one) for one in found.streams), return_exceptions=True)
        assert [type(one) for one in ends] == [EngineError] * len(ROLES)
        assert len(await engine.requests()) == len(ROLES), "each was tried by itself"
        await stage.coordinator.stop()


async def test_a_stream_that_is_never_read_holds_nobody_up(started):
    async with started(parallel=1) as stage:
        requests = [request_for(DOCUMENT + one) for one in ROLES]
        async with stage.engines.ask_together("m", requests) as found:
            assert found.sharing is Sharing.IN_TURN
            await read(found.streams[2])
            await found.streams[1].aclose()
            await read(found.streams[0])
        (status,) = stage.coordinator.statuses()
        assert (status.running, status.waiting) == (0, 0)


async def test_one_request_is_simply_asked(started):
    async with started() as stage:
        found, (usage,) = await stage.together(roles=("coder",))
        assert found.sharing is Sharing.NONE
        assert usage.prompt_tokens > 256


@pytest.mark.parametrize(
    ("server", "sharing"),
    [(VLLM, Sharing.CACHED), (LLAMA_SERVER, Sharing.IN_TURN), (None, Sharing.CACHED)],
)
async def test_a_server_that_was_found_is_asked_as_it_shares(server, sharing):
    await asked_as(Attachment("m", "http://127.0.0.1:9/v1", "x", server=server), sharing)


@pytest.mark.parametrize(
    ("engine", "sharing"),
    [("sglang", Sharing.CACHED), ("exllamav3", Sharing.CACHED), ("llama.cpp", Sharing.IN_TURN),
     ("llama.cpp-bundled", Sharing.IN_TURN)],
)  # fmt: skip
async def test_a_server_whose_engine_was_named_is_asked_as_that_shares(engine, sharing):
    """Also against what a list of models says: its owner knows better."""
    await asked_as(Attachment("m", "http://127.0.0.1:9/v1", "x", engine=engine), sharing)


async def asked_as(attachment, sharing):
    events = EventLog()
    stage = Stage(AttachedInstance(attachment, events=events), events)
    assert stage.coordinator.statuses()[0].engine == attachment.engine
    async with stage.engines.ask_together("m", [request_for(DOCUMENT + one) for one in ROLES]) as found:
        assert found.sharing is sharing
    await stage.coordinator.stop()
