"""Ensembles whose members run on two models of which one can be in use: nobody holds one and waits for the other."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager

import pytest
from gateway_stage import until

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.engine import EngineOptions
from ansambl.domain.plan import Placement
from ansambl.domain.role import ModelName
from ansambl.domain.scheduling import RequestClass, Standing
from ansambl.engines.registry import get_engine
from ansambl.roles.catalog import build_catalog
from ansambl.roles.ensembles.events import BranchState, Finished
from ansambl.roles.ensembles.run import run
from ansambl.roles.service import RoleService
from ansambl.roles.sharing import SharedEngines
from ansambl.roles.turns import TurnMemory
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.state_files import StateFolders
from ansambl.runtime.upstream import Upstream
from ansambl.testing.fake_engine import fake_engine_command

PATIENCE = 40.0
"""Seconds after which something hangs."""

ROLES = {name: {"instruction": f"Be {name}.", "model": model} for name, model in (
    ("one", "left"), ("two", "right"), ("three", "left"), ("four", "right"))}  # fmt: skip
ENSEMBLES = {
    "hall": {"pattern": "council", "roles": ["one", "two", "three", "four"], "conductor": "two"},
    "mirror": {"pattern": "council", "roles": ["four", "three", "two", "one"], "conductor": "one"},
    "steps": {"pattern": "chain", "roles": ["one", "two"], "rounds": 1},
    "dispute": {"pattern": "debate", "roles": ["one", "two"], "conductor": "two", "rounds": 1},
    "nest": {"pattern": "council", "roles": ["mirror", "two"], "conductor": "one"},
}


class Exclusive(EngineInstance):
    """In use only while none of `others` is: as if there were room for one of them."""

    others: tuple[Exclusive, ...] = ()
    held = 0
    turns = 0

    async def ensure_ready(self):
        while True:
            await until(lambda: not any(one.held for one in self.others), "the other model is free", PATIENCE)
            endpoint = await super().ensure_ready()
            if not any(one.held for one in self.others):
                return endpoint

    def begin_use(self):
        assert not any(one.held for one in self.others)
        self.held += 1
        self.turns += self.held == 1
        super().begin_use()

    def end_use(self):
        self.held -= 1
        super().end_use()


class Watched(Coordinator):
    """Notes the standing of every request for places."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.standings = []

    @asynccontextmanager
    async def lease_group(self, model, count, hint=b"", *, lora=None, standing):
        self.standings.append(standing)
        async with super().lease_group(model, count, hint, lora=lora, standing=standing) as group:
            yield group


@asynccontextmanager
async def stage(folder, places):
    events, memory = EventLog(), folder / "memory"
    memory.mkdir()
    instances = []
    for model in ("left", "right"):
        command = fake_engine_command("{port}", slots=places, prefill_per_second=20_000)
        words = [*command, "--slot-save-path", "{state_folder}"]
        placement = Placement(
            model=model, engine="command", checkpoint=None, context=8192, parallel=places,
            options=EngineOptions(command=" ".join(words[:3]), arguments=tuple(words[3:])),
        )  # fmt: skip
        instances.append(
            Exclusive(
                placement, get_engine("command"), launcher=LocalLauncher(), store=None, events=events,
                log_folder=folder / "logs", states=StateFolders(folder, (memory,)),
            )
        )  # fmt: skip
    left, right = instances
    left.others, right.others = (right,), (left,)
    coordinator = Watched(instances, Upstream())
    catalog = build_catalog(ROLES, ENSEMBLES, [ModelName("left"), ModelName("right")])
    try:
        yield coordinator, RoleService(catalog, TurnMemory()), instances
    finally:
        await coordinator.stop()


async def answered(service, coordinator, name, words="A long question. " * 200):
    asking = ChatRequest({}, standing=Standing(RequestClass.BATCH, "k")).changed(
        {"model": name, "messages": [{"role": "user", "content": words}], "max_tokens": 8}
    )
    ensemble = service.catalog.ensembles[name]
    events = run(ensemble, asking, service=service, engines=SharedEngines(coordinator), key="k")
    async with asyncio.timeout(PATIENCE), aclosing(events) as found:
        last = [one async for one in found][-1]
    assert isinstance(last, Finished)
    return last


@pytest.mark.parametrize("places", [1, 3])
async def test_every_pattern_gets_through(tmp_path, places):
    async with stage(tmp_path, places) as (coordinator, service, instances):
        for name in ENSEMBLES:
            last = await answered(service, coordinator, name)
            assert {one.state for one in last.branches} <= {BranchState.ANSWERED, BranchState.CUT}, name
            assert {one.model for one in last.branches if one.model} == {"left", "right"}
        assert all(one.turns > len(ENSEMBLES) // 2 and one.held == 0 for one in instances)
        assert set(coordinator.standings) == {Standing(RequestClass.BATCH, "k")}


@pytest.mark.parametrize("places", [1, 3])
async def test_ensembles_that_meet_in_opposite_order_get_through(tmp_path, places):
    async with stage(tmp_path, places) as (coordinator, service, instances):
        names = ["hall", "mirror", "nest", "steps"]
        ended = await asyncio.gather(*(answered(service, coordinator, one) for one in names))
        for last in ended:
            assert {one.state for one in last.branches} <= {BranchState.ANSWERED, BranchState.CUT}
        assert [one.held for one in instances] == [0, 0]
        assert all(one.running == one.waiting == 0 for one in coordinator.statuses())
