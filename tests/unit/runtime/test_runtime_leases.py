"""Leases of slots: requests are pinned, several slots are granted at once, and every place comes back."""

from __future__ import annotations

import asyncio
import json

import pytest
from instance_defaults import InstanceDefaults

from ansambl.domain.errors import EngineError, UnavailableError
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.text import text
from ansambl.engines.adapter import EngineCall
from ansambl.engines.shared.llama_slots import LlamaSlots
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.upstream import ConnectionLostError


class Instance(InstanceDefaults):
    """An instance whose engine is always ready, in its `run`."""

    model = "m"

    def __init__(self, parallel, calls=None):
        self.parallel, self.calls, self.run = parallel, calls, 1
        self.trouble = None
        self.suspected, self.dies = 0, True

    async def ensure_ready(self):
        if self.trouble is not None:
            raise self.trouble
        return Endpoint(f"http://127.0.0.1:{self.run}/v1", key="k")

    def conversations(self):
        return self.calls

    def shares_prefixes(self):
        return None

    def suspect(self):
        self.suspected += 1
        self.run += self.dies

    def proven(self):
        pass

    async def stop(self):
        pass

    def status(self):
        return InstanceStatus("m", "fake", InstanceState.READY, parallel=self.parallel)

    def log_tail(self, lines=200):
        return []


class Answer:
    content_type, ended = "application/json", False

    def __init__(self, upstream):
        self.upstream, self.status = upstream, upstream.status

    async def __aenter__(self):
        if self.upstream.failures:
            raise self.upstream.failures.pop(0)
        return self

    async def __aexit__(self, *_args):
        pass

    async def settle(self):
        return [b"{}"]

    async def body(self):
        return b'{"tokens": [1]}'


class Sent:
    """An upstream that keeps what was sent."""

    def __init__(self):
        self.sent, self.failures, self.status = [], [], 200

    def post(self, endpoint, path, body, *, anew=False, content_type="application/json"):
        self.sent.append((endpoint.base_url + path, json.loads(body)))
        return Answer(self)


@pytest.fixture
def upstream():
    return Sent()


@pytest.fixture
def coordinator(upstream):
    return Coordinator([Instance(4, LlamaSlots(can_copy=True))], upstream)


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def load(coordinator):
    (status,) = coordinator.statuses()
    return status.running, status.waiting


async def ask(coordinator, prompt):
    async with coordinator.lease("m", prompt) as lease, coordinator.open(lease, "/chat/completions", b'{"model":"m"}'):
        return lease.slot


async def test_a_request_is_pinned_to_the_slot_that_holds_its_beginning(coordinator, upstream):
    first = await ask(coordinator, b"a" * 100)
    second = await ask(coordinator, b"b" * 100)
    assert first != second
    assert await ask(coordinator, b"a" * 120) == first
    assert [body["id_slot"] for _, body in upstream.sent] == [first, second, first]


async def test_a_lease_that_sent_nothing_changes_no_slot(coordinator):
    home = await ask(coordinator, b"a" * 100)
    for _ in range(8):
        async with coordinator.lease("m", b"b" * 100):
            pass
    assert await ask(coordinator, b"a" * 110) == home


async def test_an_engine_without_slots_of_ours_chooses_itself(upstream):
    coordinator = Coordinator([Instance(2)], upstream)
    assert await ask(coordinator, b"a" * 100) is None
    assert "id_slot" not in upstream.sent[0][1]


async def test_a_restarted_engine_holds_nothing(coordinator, upstream):
    home = await ask(coordinator, b"a" * 100)
    upstream.failures.append(ConnectionLostError("reset", answered=False))
    other = await ask(coordinator, b"b" * 100)
    assert other != home
    assert upstream.sent[-1][0].startswith("http://127.0.0.1:2/"), "sent again to the new engine, in the same slot"
    assert upstream.sent[-1][1]["id_slot"] == other
    assert await ask(coordinator, b"a" * 110) != home, "the slot that was idle longest is another one"


async def test_two_councils_and_a_single_request_never_wait_for_each_other(coordinator):
    order = []

    async def council(name):
        async with coordinator.lease_group("m", 3) as group:
            order.append((name, len({one.slot for one in group.leases})))
            await asyncio.sleep(0)

    async def single(name):
        async with coordinator.lease("m") as lease:
            order.append((name, lease.slot is not None))
            await asyncio.sleep(0)

    async with asyncio.timeout(5):
        await asyncio.gather(council("one"), council("two"), single("alone"), council("three"))
    assert sorted(order) == [("alone", True), ("one", 3), ("three", 3), ("two", 3)]
    assert load(coordinator) == (0, 0)


async def test_places_of_a_group_come_back_one_by_one(coordinator):
    async with coordinator.lease_group("m", 9) as group:
        assert load(coordinator) == (4, 0)
        group.release(group.leases[1])
        group.release(group.leases[1])
        assert load(coordinator) == (3, 0)
        async with coordinator.lease("m") as lease:
            assert lease.slot == group.leases[1].slot
    assert load(coordinator) == (0, 0)


async def test_a_group_that_is_cancelled_while_it_waits_holds_nobody_up(coordinator):
    release = asyncio.Event()

    async def hold():
        async with coordinator.lease("m"):
            await release.wait()

    async def council():
        async with coordinator.lease_group("m", 4):
            pass

    holder = asyncio.create_task(hold())
    await settle()
    waiting = asyncio.create_task(council())
    await settle()
    later = asyncio.create_task(hold())
    await settle()
    assert load(coordinator) == (1, 2), "three free slots are kept for the group"
    waiting.cancel()
    await settle()
    assert load(coordinator) == (2, 0)
    release.set()
    await asyncio.gather(holder, later)
    assert load(coordinator) == (0, 0)


async def test_a_group_whose_engine_is_not_ready_gives_its_places_back(upstream):
    instance = Instance(4, LlamaSlots(can_copy=True))
    instance.trouble = UnavailableError(text("not now"))
    coordinator = Coordinator([instance], upstream)
    with pytest.raises(UnavailableError):
        async with coordinator.lease_group("m", 4):
            pass
    assert load(coordinator) == (0, 0)


async def test_calls_of_slots_go_to_the_engines_root(coordinator, upstream):
    async with coordinator.lease("m") as lease:
        answer = await coordinator.call(lease, EngineCall("/slots/1?action=save", {"filename": "f"}))
        assert answer == b'{"tokens": [1]}'
        assert upstream.sent == [("http://127.0.0.1:1/slots/1?action=save", {"filename": "f"})]
        upstream.status = 501
        with pytest.raises(EngineError, match="status 501"):
            await coordinator.call(lease, EngineCall("/slots/1?action=save", {}))
        upstream.failures.append(ConnectionLostError("reset", answered=False))
        with pytest.raises(ConnectionLostError):
            await coordinator.call(lease, EngineCall("/slots/1?action=save", {}))
    assert coordinator.instance("m").suspected == 1


async def test_a_call_over_a_connection_that_the_engine_had_closed_is_sent_again(coordinator, upstream):
    coordinator.instance("m").dies = False
    call = EngineCall("/slots/1?action=restore", {"filename": "f"})
    async with coordinator.lease("m") as lease:
        upstream.failures.append(ConnectionLostError("closed", answered=False))
        assert await coordinator.call(lease, call) == b'{"tokens": [1]}'
        assert len(upstream.sent) == 2
        upstream.failures += [ConnectionLostError("closed", answered=False)] * 2
        with pytest.raises(ConnectionLostError):
            await coordinator.call(lease, call)
        assert len(upstream.sent) == 4, "once more, and not for ever"
        upstream.failures.append(ConnectionLostError("broke off", answered=True))
        with pytest.raises(ConnectionLostError):
            await coordinator.call(lease, call)
        assert len(upstream.sent) == 5
