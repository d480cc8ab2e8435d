"""Reading bodies within their limit, noticing a client that leaves."""

import asyncio

import pytest

from ansambl.domain.errors import BodyTooLargeError, RequestError, UnavailableError
from ansambl.domain.text import text
from ansambl.gateway import asgi
from ansambl.gateway.asgi import ClientGoneError, Room, cancelled_when_client_leaves, header, read_body

GONE = {"type": "http.disconnect"}


def part(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


class Client:
    """Gives its messages one by one, then nothing more."""

    def __init__(self, *messages):
        self.messages = list(messages)

    async def __call__(self):
        if not self.messages:
            await asyncio.get_running_loop().create_future()
        return self.messages.pop(0)


def scope(length=None):
    return {"headers": [] if length is None else [(b"content-length", length)]}


@pytest.mark.parametrize("length", [None, b"4", b"0004", b"0"])
@pytest.mark.parametrize(
    "messages",
    [
        [part(b"abcd")],
        [part(b"ab", more=True), part(b"cd")],
        [part(b"", more=True), part(b"abcd", more=True), part(b"")],
    ],
)
async def test_a_body_up_to_the_limit_is_read(length, messages):
    assert await read_body(scope(length), Client(*messages), 4) == b"abcd"


async def test_no_body_is_empty():
    assert await read_body(scope(), Client({"type": "http.request"}), 4) == b""


@pytest.mark.parametrize("length", [None, b"5", b"9" * 30, b"9" * 5000])
@pytest.mark.parametrize("messages", [[part(b"abcde")], [part(b"abcd", more=True), part(b"e", more=True), part(b"f")]])
async def test_a_body_over_the_limit_is_read_to_its_end_and_refused(length, messages):
    client = Client(*messages)
    with pytest.raises(BodyTooLargeError) as raised:
        await read_body(scope(length), client, 4)
    assert client.messages == []
    assert "4 B" in str(raised.value)
    assert asgi.headers_of_error(raised.value) == [(b"connection", b"close")]


@pytest.mark.parametrize("length", [b"-1", b"+5", b"", b" 4", b"4 ", b"4, 4", b"0x4", b"1_0", b"1.0", b"four", b"\xff"])
async def test_a_length_that_is_no_number_is_a_request_error(length):
    with pytest.raises(RequestError) as raised:
        await read_body(scope(length), Client(part(b"abcd")), 4)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    ("length", "messages"),
    [(None, []), (None, [part(b"a", more=True)]), (b"9", []), (b"9", [part(b"a", more=True)]),
     (None, [part(b"abcde", more=True)])],
)  # fmt: skip
async def test_a_client_that_leaves_in_the_middle(length, messages):
    with pytest.raises(ClientGoneError):
        await read_body(scope(length), Client(*messages, GONE), 4)


async def test_a_body_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(asgi, "_DISCARD_LIMIT", 1000)
    sent = 0

    async def endless():
        nonlocal sent
        sent += 100
        return part(b"x" * 100, more=True)

    with pytest.raises(BodyTooLargeError):
        await read_body(scope(), endless, 4)
    assert sent < 2000


@pytest.mark.parametrize("patience", ["_DISCARD_PATIENCE", "_DISCARD_PAUSE"])
async def test_a_client_that_stalls_while_being_refused_is_given_up(monkeypatch, patience):
    monkeypatch.setattr(asgi, patience, 0.01)
    with pytest.raises(BodyTooLargeError):
        await read_body(scope(b"100"), Client(part(b"x", more=True)), 4)


def test_the_first_header_of_a_name_counts():
    found = {"headers": [(b"a", b"1"), (b"b", b"2"), (b"b", b"3")]}
    assert header(found, b"b") == b"2"
    assert header(found, b"c") is None


async def test_work_is_cancelled_when_the_client_leaves():
    cancelled = asyncio.Event()

    async def work():
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    with pytest.raises(ClientGoneError):
        async with cancelled_when_client_leaves(Client(part(b"late"), GONE)):
            await work()
    assert cancelled.is_set()
    assert asyncio.current_task().cancelling() == 0


async def test_work_that_ends_leaves_no_watcher():
    before = len(asyncio.all_tasks())
    async with cancelled_when_client_leaves(Client()):
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == before


async def test_errors_of_the_work_pass_through():
    with pytest.raises(KeyError):
        async with cancelled_when_client_leaves(Client()):
            raise KeyError


async def test_a_cancellation_from_elsewhere_is_not_a_client_that_left():
    async def work():
        async with cancelled_when_client_leaves(Client()):
            await asyncio.get_running_loop().create_future()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_headers_of_errors():
    assert asgi.headers_of_error(UnavailableError(text("x"), retry_after=7)) == [(b"retry-after", b"7")]
    assert asgi.headers_of_error(RequestError(text("x"))) == []
    assert asgi.MethodError("PUT", "POST").status == 405
    assert asgi.headers_of_error(asgi.MethodError("PUT", "POST")) == [(b"allow", b"POST")]
    assert asgi.route_error("GET", "/" + "x" * 9999).status == 404
    assert len(str(asgi.route_error("GET", "/" + "x" * 9999))) < 400
    assert RequestError.status == 400, "the class keeps its own status"


async def test_bodies_that_are_being_received_have_room_for_all_of_them_together():
    room, first = Room(10), Client(part(b"", more=True), part(b"x" * 6, more=True))
    reading = asyncio.create_task(read_body(scope(), first, 10, room))
    for _ in range(5):
        await asyncio.sleep(0)
    assert room.taken == 6
    with pytest.raises(UnavailableError) as raised:
        await read_body(scope(), Client(part(b"", more=True), part(b"y" * 6)), 10, room)
    assert (raised.value.status, raised.value.code) == (503, "too_many_bodies")
    # What fits is read beside it, and whoever leaves gives its room back.
    assert await read_body(scope(), Client(part(b"", more=True), part(b"y" * 4)), 10, room) == b"yyyy"
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert room.taken == 0
    assert await read_body(scope(), Client(part(b"", more=True), part(b"y" * 10)), 10, room) == b"y" * 10
