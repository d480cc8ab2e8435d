"""The client towards engines on real sockets: connections used again, closed at once, and never mixed up."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from ansambl.domain.instance import Endpoint
from ansambl.runtime.upstream import ConnectionLostError, Upstream

WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


class Engine:
    """Writes `pieces` for each request, a turn of the loop apart; `then` is what it does after them."""

    def __init__(self, *pieces, then="stay"):
        self.pieces, self.then = pieces, then
        self.heads, self.bodies = [], []
        self.connections = 0
        self.tasks = []
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    def connected(self, reader, writer):
        self.tasks.append(asyncio.get_running_loop().create_task(self.serve(reader, writer)))

    async def stop(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        try:
            await self.answer(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def answer(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                self.bodies.append(await reader.readexactly(length))
                self.asked.set()
                for piece in self.pieces:
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.002)
                if self.then == "close":
                    break
        self.left.set()


class Closing(Upstream):
    """Closed by `contextlib.aclosing`."""

    aclose = Upstream.close


@pytest.fixture
async def begin():
    servers, engines, upstream = [], [], Upstream()

    async def start(engine):
        server = await asyncio.start_server(engine.connected, "127.0.0.1", 0)
        servers.append(server)
        engines.append(engine)
        return upstream, Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", key="secret")

    yield start
    await upstream.close()
    for server, engine in zip(servers, engines, strict=True):
        server.close()
        await engine.stop()


async def ask(upstream, endpoint, body=b"{}"):
    async with upstream.post(endpoint, "/chat/completions", body) as answer:
        return answer.status, answer.content_type, await answer.body()


async def test_a_request_is_written_plainly(begin):
    engine = Engine(WHOLE)
    upstream, endpoint = await begin(engine)
    assert await ask(upstream, endpoint, b'{"a":1}') == (200, "application/json", b"{}")
    line, *headers = engine.heads[0].decode().strip().split("\r\n")
    assert line == "POST /v1/chat/completions HTTP/1.1"
    assert sorted(one.lower() for one in headers) == [
        "accept: */*", "authorization: bearer secret", "content-length: 7", "content-type: application/json",
        f"host: {endpoint.base_url[7:-3]}", "user-agent: ansambl",
    ]  # fmt: skip
    assert engine.bodies == [b'{"a":1}']


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([WHOLE], b"{}"),
        ([WHOLE[:9], WHOLE[9:40], WHOLE[40:-1], WHOLE[-1:]], b"{}"),
        (
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3\r\nabc\r", b"\n2;x=y\r\nde\r\n0\r\n\r\n"],
            b"abcde",
        ),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", WHOLE], b"{}"),
        ([b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\ncontent-type: x\r\n\r\n" + WHOLE], b"{}"),
        ([b"HTTP/1.1 204 No\r\n\r\n"], b""),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"], b""),
    ],
)
async def test_answers_in_every_framing_leave_the_connection_for_the_next(begin, pieces, body):
    engine = Engine(*pieces)
    upstream, endpoint = await begin(engine)
    for _ in range(3):
        assert (await ask(upstream, endpoint))[2] == body
    assert engine.connections == 1


async def test_what_is_sent_anew_takes_no_connection_that_is_kept(begin):
    """When an engine has closed one idle connection, it may have closed the others, too."""
    engine = Engine(WHOLE)
    upstream, endpoint = await begin(engine)
    await ask(upstream, endpoint)
    for count in (2, 3):
        async with upstream.post(endpoint, "/chat/completions", b"{}", anew=True) as answer:
            assert await answer.body() == b"{}"
        assert engine.connections == count
    await ask(upstream, endpoint)
    assert engine.connections == 3


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"],
        [b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}"],
        [WHOLE + WHOLE],
        [WHOLE, b"late"],
    ],
)
async def test_a_connection_that_cannot_be_trusted_is_not_used_again(begin, pieces):
    engine = Engine(*pieces)
    upstream, endpoint = await begin(engine)
    for _ in range(3):
        assert (await ask(upstream, endpoint))[2] == b"{}"
        await asyncio.sleep(0.02)
    assert engine.connections == 3


async def test_a_body_that_ends_with_the_connection(begin):
    engine = Engine(b"HTTP/1.1 200 OK\r\n\r\n", b"ab", b"cd", then="close")
    upstream, endpoint = await begin(engine)
    for _ in range(2):
        assert (await ask(upstream, endpoint))[2] == b"abcd"


@pytest.mark.parametrize(
    ("pieces", "answered"),
    [
        ([], False), ([b"HTTP/1.1 200"], False), ([b"\x16\x03\x01\x00"], False), ([b"nonsense\r\n\r\n"], False),
        ([b"HTTP/1.1 100 Continue\r\n\r\n"], False), ([b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000], False),
        ([b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"], False), ([WHOLE[:-1]], True),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"5\r\nabc"], True),
        ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"3\r\nabc\r\n"], True),
    ],
)  # fmt: skip
async def test_broken_answers(begin, pieces, answered):
    engine = Engine(*pieces, then="close")
    upstream, endpoint = await begin(engine)
    async with asyncio.timeout(10):
        with pytest.raises(ConnectionLostError) as raised:
            await ask(upstream, endpoint)
    assert raised.value.answered is answered
    assert "secret" not in str(raised.value)
    # The words of the HTTP client about its framing are nothing for people.
    assert "<" not in str(raised.value)
    assert "Error" not in str(raised.value)


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"])
async def test_a_cancelled_request_closes_its_connection_at_once(begin, head):
    engine = Engine(head)
    upstream, endpoint = await begin(engine)
    task = asyncio.create_task(ask(upstream, endpoint))
    async with asyncio.timeout(10):
        await engine.asked.wait()
        await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.left.wait()
    engine.pieces = [WHOLE]
    assert (await ask(upstream, endpoint))[2] == b"{}"
    assert engine.connections == 2


async def test_an_answer_left_unread_closes_its_connection(begin):
    engine = Engine(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}")
    upstream, endpoint = await begin(engine)
    async with upstream.post(endpoint, "/x", b"") as answer:
        assert answer.status == 200
    async with asyncio.timeout(10):
        await engine.left.wait()


async def test_an_answer_over_the_limit_is_refused(begin):
    upstream, endpoint = await begin(Engine(WHOLE))
    async with upstream.post(endpoint, "/x", b"") as answer:
        with pytest.raises(ConnectionLostError, match="over 1 bytes"):
            await answer.body(limit=1)


async def test_an_engine_that_closed_an_idle_connection_gets_a_new_one(begin):
    engine = Engine(WHOLE, then="close")
    upstream, endpoint = await begin(engine)
    for _ in range(5):
        assert (await ask(upstream, endpoint))[2] == b"{}"
        await asyncio.sleep(0.02)
    assert engine.connections == 5


async def test_requests_at_once_have_connections_of_their_own(begin):
    engine = Engine(WHOLE)
    upstream, endpoint = await begin(engine)
    for _ in range(2):
        assert {one[2] for one in await asyncio.gather(*(ask(upstream, endpoint) for _ in range(20)))} == {b"{}"}
    assert engine.connections == 20


@pytest.mark.parametrize(
    ("base_url", "key"),
    [
        ("http://127.0.0.1:1/v1", "a\r\nx: y"), ("http://127.0.0.1:1/v1", "ключ"), ("http://127.0.0.1:1/a b", None),
        ("http://127.0.0.1:1/\u0444", None), ("ftp://127.0.0.1/v1", None), ("127.0.0.1:1", None), ("", None),
        ("http://127.0.0.1:99999/v1", None),
    ],
)  # fmt: skip
async def test_what_http_cannot_carry_is_an_error_without_the_key(base_url, key):
    async with contextlib.aclosing(Closing()) as upstream:
        with pytest.raises(ConnectionLostError) as raised:
            await ask(upstream, Endpoint(base_url, key=key))
    assert "ключ" not in str(raised.value)


async def test_an_engine_that_is_not_there(begin):
    engine = Engine()
    upstream, endpoint = await begin(engine)
    gone = Endpoint("http://127.0.0.1:1/v1")
    with pytest.raises(ConnectionLostError, match="refused"):
        await ask(upstream, gone)
    await upstream.close()
    engine.pieces = [WHOLE]
    with pytest.raises(ConnectionLostError, match="stopping"):
        await ask(upstream, endpoint)


async def test_an_answer_before_the_body_was_read_leaves_no_connection_to_others():
    connections = 0

    async def connected(reader, writer):
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while b"content-length: 2\r\n" in (await reader.readuntil(b"\r\n\r\n")).lower():
                await reader.readexactly(2)
                writer.write(WHOLE)
            writer.write(WHOLE)
            await done.wait()
        writer.close()

    done = asyncio.Event()
    # Far more than the two ends of a connection keep for each other.
    large = b"x" * (64 * 2**20)
    server = await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**12)
    upstream = Upstream()
    endpoint = Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    try:
        for body in (large, b"{}", [large], b"{}"):
            async with asyncio.timeout(20), upstream.post(endpoint, "/x", body) as answer:
                assert await answer.body() == b"{}"
        # A small one came after each large one, over a connection of its own; the second large one used that again.
        assert connections == 3
    finally:
        done.set()
        await upstream.close()
        server.close()
