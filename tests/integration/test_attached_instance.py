"""Servers that somebody else runs, told apart by what they answer."""

import asyncio

import pytest

from ansambl.domain.errors import UnavailableError
from ansambl.domain.instance import InstanceState
from ansambl.domain.plan import Attachment
from ansambl.foundation.network import free_port
from ansambl.runtime import attached_instance
from ansambl.runtime.attached_instance import AttachedInstance
from ansambl.runtime.events import EventLog
from ansambl.testing.fake_engine import running_fake_engine


@pytest.fixture
def events():
    return EventLog()


@pytest.fixture
async def attach(events):
    made = []

    def instance(address, **options):
        one = AttachedInstance(
            Attachment(model="remote", address=address, name=options.pop("name", "fake"), **options), events=events
        )
        made.append(one)
        return one

    yield instance
    for one in made:
        await one.stop()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.01)


async def test_it_answers_without_asking_first_and_looks_behind(attach):
    async with running_fake_engine() as engine:
        instance = attach(engine.address + "/", parallel=3, key="k")
        assert instance.status().state is InstanceState.STARTING
        endpoint = await instance.ensure_ready()
        assert (endpoint.base_url, endpoint.key, endpoint.name, endpoint.slots) == (engine.address, "k", "fake", 3)
        await until(lambda: instance.status().state is InstanceState.READY)
        assert instance.status().attached
        assert instance.status().message is None
        assert instance.log_tail() == []


async def test_a_server_that_goes_away_and_comes_back(attach, events):
    async with running_fake_engine() as engine:
        instance = attach(engine.address)
        await instance.ensure_ready()
        port = engine.port
    instance.suspect()
    with pytest.raises(UnavailableError, match=f"http://127.0.0.1:{port}/v1 does not answer"):
        await instance.ensure_ready()
    assert instance.status().state is InstanceState.UNREACHABLE
    with pytest.raises(UnavailableError):
        await instance.ensure_ready()
    async with running_fake_engine(port=port):
        await instance.ensure_ready()
        assert instance.status().state is InstanceState.READY
    assert [one.kind for one in events.recent()] == ["unreachable", "reachable"]


@pytest.mark.parametrize(("key", "words"), [("wrong", "refuses the key; correct models.remote.key"),
                                            (None, "asks for a key; set models.remote.key")])  # fmt: skip
async def test_a_refused_key_is_told(attach, key, words):
    async with running_fake_engine(script="needs-key:right") as engine:
        instance = attach(engine.address, key=key)
        instance.suspect()
        with pytest.raises(UnavailableError, match=words):
            await instance.ensure_ready()
        right = attach(engine.address, key="right")
        right.suspect()
        assert (await right.ensure_ready()).key == "right"


async def test_a_name_that_the_server_does_not_list_is_a_note(attach):
    async with running_fake_engine(model="m2") as engine:
        instance = attach(engine.address, name="other")
        instance.suspect()
        await instance.ensure_ready()
        status = instance.status()
    assert status.state is InstanceState.READY
    assert "does not list a model 'other'; it lists m2" in status.message.render()


async def test_a_server_that_loads_is_not_ready_yet(attach):
    async with running_fake_engine(script="slow-start:60") as engine:
        instance = attach(engine.address)
        instance.suspect()
        with pytest.raises(UnavailableError, match="answers with status 503"):
            await instance.ensure_ready()


async def test_an_address_that_is_none_is_told(attach):
    instance = attach("http://[bad/v1")
    instance.suspect()
    with pytest.raises(UnavailableError, match="correct the address"):
        await instance.ensure_ready()


async def test_it_stops_looking_when_nobody_uses_it(attach, monkeypatch):
    monkeypatch.setattr(attached_instance, "IN_USE", 0.05)
    monkeypatch.setattr(attached_instance, "CHECK_EVERY", 0.02)
    instance = attach(f"http://127.0.0.1:{free_port()}/v1")
    await instance.ensure_ready()
    await until(instance._look.done)
    assert instance.status().state is InstanceState.UNREACHABLE


async def test_callers_share_one_look(attach, monkeypatch):
    instance = attach(f"http://127.0.0.1:{free_port()}/v1")
    looks = []
    real = AttachedInstance._ask

    async def counted(self):
        looks.append(1)
        await real(self)

    monkeypatch.setattr(AttachedInstance, "_ask", counted)
    instance.suspect()
    results = await asyncio.gather(*(instance.ensure_ready() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(one, UnavailableError) for one in results)
    assert len(looks) == 1
