"""The coordinator: places in order of arrival, given back on every path; one more try when a connection fails."""

import asyncio

import pytest
from instance_defaults import InstanceDefaults

from ansambl.domain.errors import UnavailableError, UnknownNameError
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.text import text
from ansambl.foundation.clock import VirtualClock
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.deferred_instance import DeferredInstance
from ansambl.runtime.scheduling.records import Rules
from ansambl.runtime.upstream import ConnectionLostError


class FakeInstance(InstanceDefaults):
    def __init__(self, model="big", parallel=1):
        self.model = model
        self.parallel = parallel
        self.calls = []
        self.port = 1000
        self.fails = 0
        self.gate = None
        self.calls_of_slots = None

    def conversations(self):
        return self.calls_of_slots

    def shares_prefixes(self):
        return None

    async def ensure_ready(self):
        self.calls.append("ready")
        if self.gate is not None:
            await self.gate.wait()
        if self.fails:
            self.fails -= 1
            raise UnavailableError(text("not now"))
        self.port += 1
        return Endpoint(f"http://127.0.0.1:{self.port}/v1")

    def suspect(self):
        self.calls.append("suspect")

    def proven(self):
        self.calls.append("proven")

    async def stop(self):
        self.calls.append("stop")

    def status(self):
        return InstanceStatus(self.model, "fake", InstanceState.READY, parallel=self.parallel)

    def log_tail(self, lines=200):
        return ["a", "b"][-lines:]


class FakeAnswer:
    content_type, ended = "application/json", False

    def __init__(self, upstream, endpoint, body):
        self.upstream, self.endpoint, self.body = upstream, endpoint, body
        self.exits = 0
        self.status = upstream.status

    async def __aenter__(self):
        self.upstream.tried.append((self.endpoint.base_url, self.body))
        if self.upstream.gate is not None:
            await self.upstream.gate.wait()
        if self.upstream.failures:
            raise self.upstream.failures.pop(0)
        self.upstream.opened.append(self)
        return self

    async def settle(self):
        answer = self.upstream.answers.pop(0) if self.upstream.answers else [b"{}"]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def __aexit__(self, *_args):
        self.exits += 1


class FakeUpstream:
    def __init__(self):
        self.failures, self.tried, self.opened, self.anew = [], [], [], []
        self.answers = []
        self.gate = None
        self.closed = 0
        self.status = 200

    def post(self, endpoint, path, body, *, anew=False, content_type="application/json"):
        self.anew.append(anew)
        return FakeAnswer(self, endpoint, body)

    async def close(self):
        self.closed += 1


def lost(*, answered=False):
    return ConnectionLostError("reset", answered=answered)


@pytest.fixture
def upstream():
    return FakeUpstream()


@pytest.fixture
def instance():
    return FakeInstance()


@pytest.fixture
def coordinator(instance, upstream):
    return Coordinator([instance], upstream)


def load(coordinator):
    (status,) = coordinator.statuses()
    return status.running, status.waiting


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


async def warm(coordinator, instance):
    """Have it loaded, and forget what that took."""
    await coordinator.wake("big")
    instance.calls.clear()
    instance.port = 1000


async def hold(coordinator, order, name, release):
    async with coordinator.lease("big"):
        order.append(name)
        await release.wait()


async def test_places_are_given_in_order_of_arrival(coordinator):
    order, releases = [], [asyncio.Event() for _ in range(5)]
    tasks = []
    for number, release in enumerate(releases):
        tasks.append(asyncio.create_task(hold(coordinator, order, number, release)))
        await settle()
    assert load(coordinator) == (1, 4)
    for number, release in enumerate(releases):
        assert order == list(range(number + 1))
        release.set()
        await settle()
    assert load(coordinator) == (0, 0)
    await asyncio.gather(*tasks)


async def test_nobody_overtakes_who_waits(coordinator):
    order, first, rest = [], asyncio.Event(), asyncio.Event()
    tasks = [asyncio.create_task(hold(coordinator, order, "first", first))]
    await settle()
    tasks.append(asyncio.create_task(hold(coordinator, order, "waits", rest)))
    await settle()
    first.set()
    # It asks in the very moment in which the place changes hands.
    tasks.append(asyncio.create_task(hold(coordinator, order, "late", rest)))
    await settle()
    assert order == ["first", "waits"]
    rest.set()
    await asyncio.gather(*tasks)
    assert order == ["first", "waits", "late"]


async def test_as_many_run_as_there_are_places(upstream):
    coordinator = Coordinator([FakeInstance(parallel=3)], upstream)
    order, release = [], asyncio.Event()
    tasks = [asyncio.create_task(hold(coordinator, order, number, release)) for number in range(5)]
    await settle()
    assert load(coordinator) == (3, 2)
    release.set()
    await asyncio.gather(*tasks)
    assert load(coordinator) == (0, 0)


async def test_without_a_known_number_of_places_nobody_waits(upstream):
    coordinator = Coordinator([FakeInstance(parallel=None)], upstream)
    order, release = [], asyncio.Event()
    await coordinator.wake("big")
    tasks = [asyncio.create_task(hold(coordinator, order, number, release)) for number in range(500)]
    await settle()
    assert load(coordinator) == (500, 0)
    release.set()
    await asyncio.gather(*tasks)


async def test_who_is_cancelled_while_waiting_leaves_the_queue(coordinator):
    order, releases = [], [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(hold(coordinator, order, n, release)) for n, release in enumerate(releases)]
    await settle()
    tasks[1].cancel()
    await settle()
    assert load(coordinator) == (1, 1)
    releases[0].set()
    await settle()
    assert order == [0, 2]
    releases[2].set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert load(coordinator) == (0, 0)


async def test_who_is_cancelled_just_when_the_turn_comes_hands_the_place_on(coordinator):
    order, releases = [], [asyncio.Event() for _ in range(3)]
    tasks = [asyncio.create_task(hold(coordinator, order, n, release)) for n, release in enumerate(releases)]
    await settle()
    releases[0].set()
    await asyncio.sleep(0)
    assert load(coordinator) == (1, 1), "the first has given its place to the second, which has not run yet"
    tasks[1].cancel()
    await settle()
    assert order == [0, 2]
    assert tasks[1].cancelled()
    releases[2].set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert load(coordinator) == (0, 0)


async def test_more_than_the_queue_holds_are_refused_with_a_time_to_return(instance, upstream):
    coordinator = Coordinator([instance], upstream, rules=Rules(longest_wait=1e9))
    release = asyncio.Event()
    tasks = [asyncio.create_task(hold(coordinator, [], 0, release))]
    await settle()
    tasks += [asyncio.create_task(hold(coordinator, [], n, release)) for n in range(Rules().queue_limit)]
    await settle()
    assert load(coordinator) == (1, Rules().queue_limit)
    with pytest.raises(UnavailableError) as raised:
        async with coordinator.lease("big"):
            pass
    assert (raised.value.code, raised.value.status) == ("queue_full", 503)
    assert raised.value.retry_after > 0
    release.set()
    await asyncio.gather(*tasks)
    async with coordinator.lease("big"):
        assert load(coordinator) == (1, 0)


async def test_the_place_comes_back_when_the_engine_cannot_be_made_ready(coordinator, instance):
    instance.fails = 1
    with pytest.raises(UnavailableError):
        async with coordinator.lease("big"):
            pass
    assert load(coordinator) == (0, 0)


async def test_the_place_comes_back_when_the_client_leaves_during_the_start(coordinator, instance):
    instance.gate = asyncio.Event()
    task = asyncio.create_task(hold(coordinator, [], 0, asyncio.Event()))
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert load(coordinator) == (0, 0)


async def test_the_wait_is_measured(instance, upstream):
    clock = VirtualClock()
    coordinator = Coordinator([instance], upstream, clock)
    seen, first = [], asyncio.Event()

    async def ask():
        async with coordinator.lease("big") as lease:
            seen.append(lease.queued)
            await first.wait()

    tasks = [asyncio.create_task(ask()) for _ in range(2)]
    await settle()
    await clock.advance(7)
    first.set()
    await asyncio.gather(*tasks)
    assert seen == [0.0, 7.0]


async def test_an_unknown_model(coordinator):
    with pytest.raises(UnknownNameError):
        async with coordinator.lease("small"):
            pass


async def test_an_answer_is_closed_when_it_was_read(coordinator, upstream, instance):
    await warm(coordinator, instance)
    async with coordinator.lease("big") as lease, coordinator.open(lease, "/x", b"body"):
        pass
    assert [one.exits for one in upstream.opened] == [1]
    assert instance.calls == ["ready", "proven"]


async def test_a_connection_that_fails_before_the_answer_is_tried_once_more(coordinator, upstream, instance):
    await warm(coordinator, instance)
    upstream.failures = [lost()]
    async with coordinator.lease("big") as lease, coordinator.open(lease, "/x", b"body") as answer:
        assert answer.endpoint.base_url == lease.endpoint.base_url == "http://127.0.0.1:1002/v1"
    assert upstream.tried == [("http://127.0.0.1:1001/v1", b"body"), ("http://127.0.0.1:1002/v1", b"body")]
    assert instance.calls == ["ready", "suspect", "ready", "proven"]
    assert load(coordinator) == (0, 0)
    # Not over another connection that the engine may have closed as well.
    assert upstream.anew == [False, True]


async def test_a_connection_that_fails_twice_is_an_error(coordinator, upstream, instance):
    await warm(coordinator, instance)
    upstream.failures = [lost(), lost()]
    with pytest.raises(ConnectionLostError):
        async with coordinator.lease("big") as lease, coordinator.open(lease, "/x", b""):
            pass
    assert len(upstream.tried) == 2
    assert instance.calls == ["ready", "suspect", "ready", "suspect"]
    assert load(coordinator) == (0, 0)


async def test_an_engine_that_does_not_come_back_is_an_error(coordinator, upstream, instance):
    upstream.failures = [lost()]
    async with coordinator.lease("big") as lease:
        instance.fails = 1
        with pytest.raises(UnavailableError):
            await coordinator.open(lease, "/x", b"").__aenter__()
    assert load(coordinator) == (0, 0)


async def test_a_connection_lost_in_the_middle_is_not_tried_again(coordinator, upstream, instance):
    await warm(coordinator, instance)
    with pytest.raises(ConnectionLostError):
        async with coordinator.lease("big") as lease, coordinator.open(lease, "/x", b""):
            raise lost(answered=True)
    assert len(upstream.tried) == 1
    assert instance.calls == ["ready", "suspect"]
    assert upstream.opened[0].exits == 1
    assert load(coordinator) == (0, 0)


async def test_a_client_that_leaves_closes_the_answer_and_gives_the_place_back(coordinator, upstream):
    async def ask():
        async with coordinator.lease("big") as lease, coordinator.open(lease, "/x", b""):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(ask())
    await settle()
    assert load(coordinator) == (1, 0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert upstream.opened[0].exits == 1
    assert load(coordinator) == (0, 0)


async def test_a_client_that_leaves_before_the_answer_gives_the_place_back(coordinator, upstream):
    upstream.gate = asyncio.Event()

    async def ask():
        async with coordinator.lease("big") as lease, coordinator.open(lease, "/x", b""):
            pass

    task = asyncio.create_task(ask())
    await settle()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert upstream.opened == []
    assert load(coordinator) == (0, 0)


async def test_stopping_stops_all_and_closes_the_connections_even_when_one_fails(upstream):
    class Stubborn(FakeInstance):
        async def stop(self):
            raise OSError

    instances = [Stubborn("a"), FakeInstance("b")]
    await Coordinator(instances, upstream).stop()
    assert instances[1].calls == ["stop"]
    assert upstream.closed == 1


# --- an instance that cannot be made yet -----------------------------------------------------------------------------


async def test_a_deferred_instance_tries_again_at_each_request():
    problems = [UnavailableError(text("no file")), UnavailableError(text("no engine"))]
    real = FakeInstance()

    def make():
        if problems:
            raise problems.pop(0)
        return real

    deferred = DeferredInstance("big", "fake", 2, make)
    assert (deferred.status().state, deferred.status().parallel) == (InstanceState.STOPPED, 2)
    assert deferred.log_tail() == []
    deferred.suspect()
    await deferred.stop()
    for words in ("no file", "no engine"):
        with pytest.raises(UnavailableError):
            await deferred.ensure_ready()
        assert (deferred.status().state, str(deferred.status().message)) == (InstanceState.FAILED, words)
    assert (await deferred.ensure_ready()).base_url == "http://127.0.0.1:1001/v1"
    assert deferred.status() == real.status()
    assert deferred.log_tail(1) == ["b"]
    deferred.suspect()
    await deferred.stop()
    assert deferred.prepare() is real
    assert real.calls == ["ready", "suspect", "stop"]


@pytest.mark.parametrize(("status", "told"), [(200, True), (400, True), (500, False), (503, False)])
async def test_an_instance_is_told_when_its_engine_answered(coordinator, instance, upstream, status, told):
    upstream.status = status
    async with coordinator.lease("big") as lease, coordinator.open(lease, "/x", b"{}"):
        assert "proven" not in instance.calls
    assert ("proven" in instance.calls) is told
