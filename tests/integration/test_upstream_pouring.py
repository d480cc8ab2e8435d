"""Bodies of engines that are handed over while they arrive, on real sockets."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager

import pytest

from ansambl.domain.instance import Endpoint
from ansambl.runtime import upstream as module
from ansambl.runtime.upstream import ConnectionLostError, Upstream
from ansambl.runtime.upstream_connections import Pouring

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMIT = 20.0


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def engine(script):
    """An answer of an engine that runs `script(reader, writer)` after the head of a request."""
    tasks = []

    async def serve(reader, writer):
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(HEAD)
                await script(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def connected(reader, writer):
        tasks.append(asyncio.get_running_loop().create_task(serve(reader, writer)))

    server, upstream = await asyncio.start_server(connected, "127.0.0.1", 0), Upstream()
    endpoint = Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        async with asyncio.timeout(LIMIT), upstream.post(endpoint, "/chat/completions", b"") as answer:
            yield answer
    finally:
        await upstream.close()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def poured(answer, *, most=None):
    """All pieces; `most` of them at a time."""
    found, room = [], most

    def take(piece):
        nonlocal room
        found.append(piece)
        room = None if room is None else room - 1
        return room is None or room > 0

    times = 1
    while not await answer.pour(take):
        times, room = times + 1, most
    return b"".join(found), times


@pytest.fixture(params=["called back", "by a task"])
def way(request, monkeypatch):
    """Both ways; the second is that of connections which aiohttp made otherwise."""
    if request.param == "by a task":
        monkeypatch.setattr(module, "EngineConnection", type("Other", (), {}))
    return request.param


@pytest.mark.parametrize("most", [None, 1, 3])
@pytest.mark.parametrize("settles", [False, True])
async def test_every_byte_is_handed_over_once_and_in_order(way, most, settles):
    pieces = [b"data: %d%b\n\n" % (number, b"x" * (number * 997 % 5000)) for number in range(200)]

    async def script(_reader, writer):
        for number, piece in enumerate(pieces):
            writer.write(chunk(piece))
            if number % 7 == 0:
                await writer.drain()
                await asyncio.sleep(0)
        writer.write(b"0\r\n\r\n")

    async with engine(script) as answer:
        if settles:
            await answer.settle()
        body, times = await poured(answer, most=most)
        assert body == b"".join(pieces)
        assert answer.ended
        assert times > 1 or most is None
        # It is over, and stays so.
        assert await answer.pour(lambda _: False)


async def test_who_takes_no_more_holds_the_engine_back(way):
    sent, gone_on = 0, asyncio.Event()

    async def script(_reader, writer):
        nonlocal sent
        piece = chunk(b"x" * 65536)
        for _ in range(800):
            writer.write(piece)
            await writer.drain()
            sent += 65536
        writer.write(b"0\r\n\r\n")
        gone_on.set()

    async with engine(script) as answer:
        assert not await answer.pour(lambda _: False)
        last = -1
        while sent != last:
            last = sent
            await asyncio.sleep(0.2)
        assert not gone_on.is_set()
        # Megabytes lie in the buffers of the system's sockets.
        assert sent < 40_000_000
        rest = 0

        def take(piece):
            nonlocal rest
            rest += len(piece)
            return True

        assert await answer.pour(take)
        assert rest + 65536 * 4 > 800 * 65536


async def test_an_engine_that_dies_meanwhile_is_a_lost_connection(way):
    async def script(_reader, writer):
        writer.write(chunk(b"data: 1\n\n"))
        await writer.drain()

    seen = []
    async with engine(script) as answer:
        with pytest.raises(ConnectionLostError) as caught:
            await answer.pour(lambda piece: seen.append(piece) or True)
    assert caught.value.answered
    assert b"".join(seen) in {b"", b"data: 1\n\n"}


async def test_silence_is_counted_from_the_last_piece(way, monkeypatch):
    monkeypatch.setattr(module, "_SILENCE_LIMIT", 0.5)

    async def script(reader, writer):
        for _ in range(8):
            writer.write(chunk(b": still here\n\n"))
            await writer.drain()
            await asyncio.sleep(0.15)
        await reader.read()

    seen = []
    async with engine(script) as answer:
        with pytest.raises(ConnectionLostError) as caught:
            await answer.pour(lambda piece: seen.append(piece) or True)
    assert caught.value.answered
    assert b"".join(seen) == b": still here\n\n" * 8


async def test_who_gives_up_meanwhile_closes_the_connection(way):
    left = asyncio.Event()

    async def script(reader, writer):
        writer.write(chunk(b"data: 1\n\n"))
        await writer.drain()
        await reader.read()
        left.set()

    begun = asyncio.Event()
    async with engine(script) as answer:
        task = asyncio.create_task(answer.pour(lambda _: begun.set() or True))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await answer.__aexit__(None, None, None)
        await asyncio.wait_for(left.wait(), LIMIT)


async def test_what_fails_in_taking_is_told(way):
    async def script(reader, writer):
        writer.write(chunk(b"data: 1\n\n"))
        await reader.read()

    async with engine(script) as answer:
        with pytest.raises(KeyError):
            await answer.pour(lambda _: {}["nothing"])


async def test_pieces_come_by_the_short_way(monkeypatch):
    """A later aiohttp may make its connections in another way, and nothing but this would tell."""
    looks = []
    look = Pouring.look
    monkeypatch.setattr(Pouring, "look", lambda self: looks.append(len(self.pieces)) or look(self))
    go = asyncio.Event()

    async def script(_reader, writer):
        await go.wait()
        for _ in range(3):
            writer.write(chunk(b"data: 1\n\n"))
            await writer.drain()
            await asyncio.sleep(0.01)
        writer.write(b"0\r\n\r\n")

    async with engine(script) as answer:
        task = asyncio.create_task(poured(answer))
        await asyncio.sleep(0)
        go.set()
        assert (await task)[0] == b"data: 1\n\n" * 3
    assert sum(looks) >= 3
