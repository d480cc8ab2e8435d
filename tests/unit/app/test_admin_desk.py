"""Long work for the admin API: a few at a time, none queued without end, nothing begun for who has gone."""

from __future__ import annotations

import asyncio
import threading

import pytest

from ansambl.app.admin.desk import Desk
from ansambl.domain.errors import UnavailableError


@pytest.fixture
def gate():
    found = threading.Event()
    yield found
    found.set()


@pytest.fixture
def desk():
    found = Desk(at_once=1, waiting=1, longest=5)
    yield found
    found.close()


async def test_work_is_done_in_a_thread_and_its_errors_come_through(desk):
    assert await desk.answer(lambda: threading.current_thread().name.startswith("desk"))
    with pytest.raises(ZeroDivisionError):
        await desk.answer(lambda: 1 / 0)


async def test_one_too_many_is_sent_away_and_there_is_room_again_afterwards(desk, gate):
    first = asyncio.create_task(desk.answer(gate.wait))
    second = asyncio.create_task(desk.answer(lambda: "second"))
    await asyncio.sleep(0)
    with pytest.raises(UnavailableError) as refused:
        await desk.answer(lambda: "third")
    assert (refused.value.code, refused.value.retry_after) == ("busy", 5)
    gate.set()
    assert (await first, await second) == (True, "second")
    assert await desk.answer(lambda: "fourth") == "fourth"


async def test_what_was_not_begun_is_not_begun_for_who_has_gone(desk, gate):
    first, begun = asyncio.create_task(desk.answer(gate.wait)), []
    second = asyncio.create_task(desk.answer(lambda: begun.append("second")))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await first
    await desk.answer(lambda: begun.append("third"))
    assert begun == ["third"]


async def test_what_takes_too_long_is_given_up_and_keeps_its_place_until_it_ends(gate):
    desk = Desk(at_once=1, waiting=0, longest=0.01)
    try:
        with pytest.raises(UnavailableError) as late:
            await desk.answer(gate.wait)
        assert (late.value.code, late.value.retry_after) == ("too_long", None)
        with pytest.raises(UnavailableError) as busy:
            await desk.answer(lambda: None)
        assert busy.value.code == "busy"
    finally:
        desk.close()


async def test_a_time_out_of_the_work_itself_is_told_as_one(desk):
    def work():
        raise TimeoutError("of its own")

    with pytest.raises(TimeoutError, match="of its own"):
        await desk.answer(work)
