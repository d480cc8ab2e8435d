"""Connections on real sockets: broken and slow requests, limits, clients that leave or only stop sending."""

import asyncio
import contextlib
import functools
import inspect
import json
import socket

import pytest
import uvloop
from gateway_stage import (
    ANSWER,
    LAST,
    a_gateway,
    connection,
    error_of,
    event,
    post,
    raw,
    read_answer,
    read_head,
    reply,
    request,
    until,
)

from ansambl.gateway.front.connection_limits import Limits
from ansambl.gateway.front.connections import Connections

HOST = b"host: localhost"
HEALTH = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1"
BODY = request()
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
CHUNKED = b"transfer-encoding: chunked"
LENGTH = b"content-length: %d" % len(BODY)


def both_loops(test):
    """Run a test on both event loops: the product runs on uvloop, where it is there."""

    def run(loop_factory, **given):
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(test(**given))

    functools.update_wrapper(run, test)
    del run.__wrapped__
    own = inspect.signature(test)
    factory = inspect.Parameter("loop_factory", inspect.Parameter.KEYWORD_ONLY)
    run.__signature__ = own.replace(parameters=[*own.parameters.values(), factory])
    loops = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return pytest.mark.parametrize("loop_factory", loops.values(), ids=loops)(run)


def head(*lines):
    return b"\r\n".join([*lines, b"", b""])


async def answers(running, content, *, limit=5.0):
    """Send bytes, finish sending, and read all that comes until the other side closes."""
    async with connection(running) as (reader, writer):
        writer.write(content)
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(reader.read(), limit)
    return b""


async def closes(reader, limit=10.0):
    """Whether the other side closes, after whatever it still says."""
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(reader.read(), limit)
    return True


async def others_are_served(running):
    status, _, body = await raw(running, post(request()))
    assert (status, body) == (200, ANSWER)


NOT_HTTP = {
    "nothing readable": b"\x00\xff\xfe\x01 hello\r\n\r\n",
    "a TLS hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + b"x" * 100,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "a version of the future": head(b"GET /health HTTP/2.0", HOST),
    "a made-up version": head(b"GET /health HTTP/1.2", HOST),
    "another protocol": b"SSH-2.0-OpenSSH_9.9\r\n",
    "a method in lower case": head(b"get /health HTTP/1.1", HOST),
    "a tunnel": head(b"CONNECT evil.com:443 HTTP/1.1", HOST),
    "lines that end with LF": HEALTH.replace(b"\r\n", b"\n"),
    "lines that end with CR": HEALTH.replace(b"\r\n", b"\r"),
    "no host": head(b"GET /health HTTP/1.1"),
    "two hosts": head(b"GET /health HTTP/1.1", HOST, b"host: evil.com"),
    "a header without a colon": head(b"GET /health HTTP/1.1", HOST, b"nothing"),
    "a header without a name": head(b"GET /health HTTP/1.1", HOST, b": 1"),
    "a space in a header's name": head(b"GET /health HTTP/1.1", HOST, b"a b: 1"),
    "a NUL in a header": head(b"GET /health HTTP/1.1", HOST, b"a: b\x00c"),
    "a lone LF in a header": head(b"GET /health HTTP/1.1", HOST, b"a: b\nhost: evil.com"),
    "a lone CR in a header": head(b"GET /health HTTP/1.1", HOST, b"a: b\rhost: evil.com"),
    "a folded header": head(CHAT, HOST, b"a: b", b" c", LENGTH) + BODY,
    "a control character in the path": head(b"GET /he\x01alth HTTP/1.1", HOST),
    "bare UTF-8 in the path": head("GET /v1/é HTTP/1.1".encode(), HOST),
}
SMUGGLED = {
    "a length and chunks": head(CHAT, HOST, LENGTH, CHUNKED) + CHUNKS,
    "chunks and a length": head(CHAT, HOST, CHUNKED, LENGTH) + CHUNKS,
    "two equal lengths": head(CHAT, HOST, LENGTH, LENGTH) + BODY,
    "two lengths": head(CHAT, HOST, LENGTH, b"content-length: 3") + BODY,
    "a list of lengths": head(CHAT, HOST, b"content-length: 3, 3") + b"abc",
    "a length with a sign": head(CHAT, HOST, b"content-length: +5") + b"abcde",
    "a negative length": head(CHAT, HOST, b"content-length: -5") + b"abcde",
    "a length in hex": head(CHAT, HOST, b"content-length: 0x5") + b"abcde",
    "an empty length": head(CHAT, HOST, b"content-length: ") + b"abcde",
    "a length that no computer has": head(CHAT, HOST, b"content-length: " + b"9" * 40) + b"abcde",
    "an unknown coding": head(CHAT, HOST, b"transfer-encoding: xchunked") + CHUNKS,
    "chunks within another coding": head(CHAT, HOST, b"transfer-encoding: identity, chunked") + CHUNKS,
    "chunks that are not the last coding": head(CHAT, HOST, b"transfer-encoding: chunked, identity") + CHUNKS,
    "two codings": head(CHAT, HOST, CHUNKED, b"transfer-encoding: identity") + CHUNKS,
    "chunks in quotes": head(CHAT, HOST, b'transfer-encoding: "chunked"') + CHUNKS,
    "chunks behind a vertical tab": head(CHAT, HOST, b"transfer-encoding: \x0bchunked") + CHUNKS,
    "a space before the colon": head(CHAT, HOST, b"transfer-encoding : chunked") + CHUNKS,
    "a folded coding": head(CHAT, HOST, b"transfer-encoding:", b" chunked") + CHUNKS,
    "chunks in HTTP/1.0": head(b"POST /v1/chat/completions HTTP/1.0", HOST, CHUNKED) + CHUNKS,
    "a chunk without a size": head(CHAT, HOST, CHUNKED) + b"zz\r\nabc\r\n0\r\n\r\n",
    "a chunk of a negative size": head(CHAT, HOST, CHUNKED) + b"-1\r\nabc\r\n",
    "a chunk of an endless size": head(CHAT, HOST, CHUNKED) + b"f" * 17 + b"\r\n",
    "a size with a prefix": head(CHAT, HOST, CHUNKED) + b"0x3\r\nabc\r\n0\r\n\r\n",
    "a chunk longer than its size": head(CHAT, HOST, CHUNKED) + b"3\r\nabcXX0\r\n\r\n",
    "chunks with LF": head(CHAT, HOST, CHUNKED) + b"3\nabc\n0\n\n",
    "an extension with LF": head(CHAT, HOST, CHUNKED) + b"3;\nabc\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("table", [NOT_HTTP, SMUGGLED], ids=["no HTTP", "smuggled"])
async def test_what_two_readers_could_read_differently_is_refused(table):
    async with a_gateway() as running:
        # What stands behind it must never be read as a request of its own.
        found = await asyncio.gather(*(answers(running, content + HEALTH) for content in table.values()))
        for name, said in zip(table, found, strict=True):
            top, _, body = said.partition(b"\r\n\r\n")
            assert top.startswith(b"HTTP/1.1 400 Bad Request\r\n"), name
            assert b"connection: close" in top, name
            assert error_of(body)["code"] == "invalid_http", name
        assert not running.engine.calls
        await others_are_served(running)


@pytest.mark.parametrize(
    ("lines", "status", "code"),
    [
        ([b"GET /v1/" + b"a" * 20_000 + b" HTTP/1.1", HOST], 414, "url_too_long"),
        ([b"GET /v1/" + b"a" * 5_000_000 + b" HTTP/1.1", HOST], 414, "url_too_long"),
        ([b"GET /health HTTP/1.1", HOST, *(b"x-%d: 1" % one for one in range(300))], 431, "too_many_headers"),
        ([b"GET /health HTTP/1.1", HOST, *(b"x-%d: 1" % one for one in range(10_000))], 431, "headers_too_large"),
        ([b"GET /health HTTP/1.1", HOST, b"x: " + b"a" * 5_000_000], 431, "headers_too_large"),
    ],
    ids=["a long address", "an endless address", "300 headers", "10,000 headers", "an endless header"],
)
async def test_heads_have_a_limit_and_the_client_gets_to_read_it(lines, status, code):
    async with a_gateway() as running:
        said = await answers(running, head(*lines))
        assert int(said.split()[1]) == status
        assert error_of(said.partition(b"\r\n\r\n")[2])["code"] == code
        await others_are_served(running)


async def test_a_head_within_the_limits_is_taken():
    async with a_gateway() as running:
        lines = [b"GET /health HTTP/1.1", HOST, b"x: " + b"a" * 50_000, *(b"x-%d: 1" % one for one in range(150))]
        assert (await raw(running, head(*lines)))[0] == 200


async def test_errors_before_the_body_have_the_shape_of_the_dialect():
    async with a_gateway() as running:
        said = await answers(running, head(b"POST /v1/messages HTTP/1.1", HOST, b"x: " + b"a" * 100_000))
        assert json.loads(said.partition(b"\r\n\r\n")[2])["type"] == "error"


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"H2C"])
@pytest.mark.parametrize(("framing", "body"), [(LENGTH, BODY), (CHUNKED, CHUNKS)], ids=["length", "chunks"])
async def test_an_offer_of_another_protocol_is_passed_over_and_the_body_is_read(upgrade, framing, body):
    # Java's HTTP client offers HTTP/2 with every request.
    offered = [b"connection: Upgrade, HTTP2-Settings", b"Upgrade: " + upgrade, b"http2-settings: AAEAAEAAAAIAAAAB"]
    async with a_gateway() as running, connection(running) as (reader, writer):
        for _ in range(2):
            writer.write(head(CHAT, HOST, *offered, framing) + body)
            status, _, found = await read_answer(reader)
            assert (status, found) == (200, ANSWER)
        assert len(running.engine.calls) == 2
        assert json.loads(running.engine.calls[1].body)["messages"] == json.loads(BODY)["messages"]


@both_loops
async def test_fields_behind_a_body_are_none_of_the_head():
    """uvicorn adds them to those of the head: a Host or a key could come where a proxy before us does not look."""
    async with a_gateway() as running:
        chunks = CHUNKS.removesuffix(b"\r\n")
        foreign = head(CHAT, b"host: evil.example", CHUNKED) + chunks + b"host: localhost\r\n\r\n"
        assert (await raw(running, foreign))[0] == 403
        own = head(CHAT, HOST, CHUNKED) + chunks + b"host: evil.example\r\nx-ansambl-class: none\r\n\r\n"
        assert (await raw(running, own))[0] == 200
        # As many as one likes, and the connection goes on behind them.
        async with connection(running) as (reader, writer):
            writer.write(head(CHAT, HOST, CHUNKED) + chunks + b"a: b\r\n" * 5000 + b"\r\n" + HEALTH)
            assert (await read_answer(reader))[0] == 200
            assert (await read_answer(reader))[0] == 200


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET http://localhost/health HTTP/1.1", 200), (b"GET http://evil.com/health HTTP/1.1", 403),
        (b"GET http://user@localhost/health HTTP/1.1", 403), (b"GET //health HTTP/1.1", 404),
        (b"GET /v1/%00 HTTP/1.1", 404), (b"GET /v1/../admin/api/state HTTP/1.1", 404),
        (b"GET /v1/models/..%2f..%2fetc%2fpasswd HTTP/1.1", 404), (b"GET /v1/%ff%fe HTTP/1.1", 404),
        (b"GET /health%0d%0ax:y HTTP/1.1", 404), (b"TRACE /health HTTP/1.1", 405), (b"OPTIONS * HTTP/1.1", 404),
    ],
)  # fmt: skip
async def test_odd_addresses(line, status):
    async with a_gateway() as running:
        found, headers, body = await raw(running, head(line, HOST))
        assert found == status
        assert "x" not in headers
        assert status == 200 or error_of(body)


async def test_requests_sent_ahead_are_answered_in_order_and_garbage_after_them_spoils_none():
    async with a_gateway() as running:
        running.engine.script = running.engine.stream(event("a"), LAST)
        said = await answers(running, post(request(stream=True)) + HEALTH + b"\x00garbage", limit=10)
        first, _, second = said.partition(b"0\r\n\r\n")
        assert first.endswith(LAST + b"\r\n")
        # The one behind it is answered or dropped, but never mixed into it.
        assert not second or second.startswith(b"HTTP/1.1 200 OK")
        assert b"400" not in said


async def test_a_flood_of_requests_sent_ahead_is_cut_off():
    async with a_gateway() as running:
        said = await answers(running, post(request()) * 100)
        assert 1 <= said.count(b"HTTP/1.1 200 OK") <= 20
        assert len(running.engine.calls) <= 20
        await others_are_served(running)


async def test_a_client_is_asked_to_send_only_what_is_wanted():
    async with a_gateway() as running, connection(running) as (reader, writer):
        writer.write(head(CHAT, HOST, LENGTH, b"expect: 100-continue"))
        assert (await read_head(reader)).startswith("HTTP/1.1 100 ")
        writer.write(BODY)
        assert (await read_answer(reader))[0] == 200
        writer.write(head(CHAT, HOST, b"content-length: 999999999", b"expect: 100-continue"))
        assert (await read_answer(reader))[0] == 413


# Time


def impatient(**limits):
    return {"connections": Connections(Limits(**limits))}


@both_loops
async def test_a_head_that_comes_too_slowly_gets_408():
    async with a_gateway(**impatient(head_timeout=0.2)) as running, connection(running) as (reader, writer):
        writer.write(b"GET /health HTTP/1.1\r\nhost: localhost\r\n")

        async def drip():
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(b"x: 1\r\n")
                    await writer.drain()
                    await asyncio.sleep(0.02)

        dripping = asyncio.create_task(drip())
        status, headers, body = await read_answer(reader)
        dripping.cancel()
        assert (status, headers["connection"], error_of(body)["code"]) == (408, "close", "request_timeout")
        assert await closes(reader)


@both_loops
@pytest.mark.parametrize("framing", [b"content-length: 1000", CHUNKED], ids=["length", "chunks"])
async def test_a_body_that_comes_too_slowly_gets_408(framing):
    async with a_gateway(**impatient(body_timeout=0.2)) as running, connection(running) as (reader, writer):
        writer.write(head(CHAT, HOST, framing) + (b"3e8\r\n" if framing == CHUNKED else b""))

        async def drip():
            with contextlib.suppress(ConnectionError):
                while not writer.is_closing():
                    writer.write(b"{")
                    await writer.drain()
                    await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        status, _, body = await read_answer(reader)
        dripping.cancel()
        assert (status, error_of(body)["code"]) == (408, "request_timeout")
        assert running.gateway.answering.running == 0
        await others_are_served(running)


@both_loops
async def test_what_is_slow_but_moves_is_read():
    async with a_gateway(**impatient(body_timeout=0.1)) as running, connection(running) as (reader, writer):
        body = request(padding="x" * 20_000)
        writer.write(head(CHAT, HOST, b"content-length: %d" % len(body)))
        for at in range(0, len(body), 500):
            writer.write(body[at : at + 500])
            await asyncio.sleep(0.01)
        assert (await read_answer(reader))[0] == 200


@both_loops
async def test_connections_on_which_nothing_happens_are_closed():
    async with a_gateway(**impatient(keep_alive=0.2)) as running:
        async with connection(running) as (reader, _):
            assert await asyncio.wait_for(reader.read(), 10) == b""
        async with connection(running) as (reader, writer):
            writer.write(HEALTH)
            await read_answer(reader)
            assert await closes(reader)
        async with connection(running) as (reader, writer):
            # Empty lines are no request.
            writer.write(b"\r\n\r\n")
            assert await asyncio.wait_for(reader.read(), 10) == b""


@both_loops
async def test_an_answer_that_takes_long_is_no_idle_connection():
    async with a_gateway(**impatient(keep_alive=0.1, head_timeout=0.1, body_timeout=0.1)) as running:
        release = asyncio.Event()

        async def slowly(call, writer):
            await release.wait()
            writer.write(reply(ANSWER))
            await writer.drain()

        running.engine.script = slowly
        asyncio.get_running_loop().call_later(0.5, release.set)
        assert (await raw(running, post(request())))[0] == 200


def small_window():
    """A client that takes in little before it is full."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    return client


@both_loops
async def test_a_client_that_reads_nothing_is_cut_off_and_its_place_is_free_again():
    async with a_gateway(parallel=1, **impatient(write_timeout=0.3)) as running:
        sent = 0

        async def flood(call, writer):
            nonlocal sent
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            piece = event("x" * 10_000)
            while sent < 200 * 2**20:
                writer.write(piece)
                await writer.drain()
                sent += len(piece)

        running.engine.script = flood
        with small_window() as client:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", running.port))
            await loop.sock_sendall(client, post(request(stream=True)))
            await until(lambda: running.engine.calls, "the engine is asked")
            await asyncio.wait_for(running.engine.calls[0].left.wait(), 10)
            assert sent < 50 * 2**20
            running.engine.script = running.engine.answer_whole
            await others_are_served(running)


@both_loops
async def test_a_client_that_reads_nothing_of_a_whole_answer_is_cut_off_too():
    async with a_gateway(**impatient(write_timeout=0.3)) as running:
        large = json.dumps({**json.loads(ANSWER), "padding": "x" * 20_000_000}).encode()
        running.engine.script = running.engine.fixed(reply(large))
        with small_window() as client:
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", running.port))
            await loop.sock_sendall(client, post(request()))
            await until(lambda: running.engine.calls, "the engine is asked")
            await until(lambda: not len(running.connections), "it is cut")
        running.engine.script = running.engine.answer_whole
        await others_are_served(running)


# Clients that stop sending, and clients that are gone


@both_loops
@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_only_stops_sending_gets_its_answer(stream):
    async with a_gateway() as running:
        release = asyncio.Event()
        answer = running.engine.stream(event("a"), event("b"), LAST) if stream else running.engine.fixed(reply(ANSWER))

        async def later(call, writer):
            await release.wait()
            return await answer(call, writer)

        running.engine.script = later
        async with connection(running) as (reader, writer):
            writer.write(post(request(stream=stream)))
            writer.write_eof()
            await until(lambda: running.engine.calls, "the engine is asked")
            asyncio.get_running_loop().call_later(0.3, release.set)
            found = await asyncio.wait_for(reader.read(), 10)
        interim, _, rest = found.partition(b"HTTP/1.1 200 OK")
        assert interim in (b"", b"HTTP/1.1 100 Continue\r\n\r\n")
        assert rest.endswith(b"0\r\n\r\n" if stream else ANSWER)
        if stream:
            assert b"".join(pieces_of(rest.partition(b"\r\n\r\n")[2])) == event("a") + event("b") + LAST


@both_loops
async def test_a_client_that_stops_sending_in_the_middle_of_a_stream_gets_the_rest():
    async with a_gateway() as running:
        release = asyncio.Event()

        async def halves(call, writer):
            await running.engine.stream(event("a"), end=False)(call, writer)
            await release.wait()
            writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(LAST), LAST))
            await writer.drain()

        running.engine.script = halves
        async with connection(running) as (reader, writer):
            writer.write(post(request(stream=True)))
            found = await reader.readuntil(event("a") + b"\r\n")
            writer.write_eof()
            asyncio.get_running_loop().call_later(0.3, release.set)
            found += await asyncio.wait_for(reader.read(), 10)
        assert b"".join(pieces_of(found.partition(b"\r\n\r\n")[2])) == event("a") + LAST


def pieces_of(body):
    """The chunks of a body in chunked transfer encoding, which must end properly."""
    while True:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert body == b"\r\n"
            return
        yield body[:length]
        assert body[length : length + 2] == b"\r\n"
        body = body[length + 2 :]


@both_loops
@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_is_gone_is_noticed_at_once(begun):
    async with a_gateway() as running:

        async def silent(call, writer):
            if begun:
                await running.engine.stream(event("a"), end=False)(call, writer)
            await call.left.wait()

        running.engine.script = silent
        async with connection(running) as (reader, writer):
            writer.write(post(request(stream=True)))
            if begun:
                await reader.readuntil(event("a") + b"\r\n")
            await until(lambda: running.engine.calls, "the engine is asked")
        # Closed, so the system sends the same as for one that only stops sending.
        await asyncio.wait_for(running.engine.calls[0].left.wait(), 5)
        await until(lambda: running.gateway.answering.running == 0, "nothing is being answered")


@both_loops
async def test_a_client_that_leaves_after_sending_ahead_is_noticed_too():
    async with a_gateway() as running:

        async def silent(call, writer):
            await running.engine.stream(*[event("x" * 1000)] * 100, end=False)(call, writer)
            await call.left.wait()

        running.engine.script = silent
        async with connection(running) as (_, writer):
            writer.write(post(request(stream=True)) * 3)
            await until(lambda: running.engine.calls, "the engine is asked")
            writer.transport.abort()
        await asyncio.wait_for(running.engine.calls[0].left.wait(), 10)


@both_loops
async def test_a_request_that_ends_in_the_middle_is_told_so_and_goes_nowhere():
    async with a_gateway() as running:
        for content in (b"GET /hea", head(CHAT, HOST, LENGTH)[:-2], head(CHAT, HOST, LENGTH) + BODY[:5],
                        head(CHAT, HOST, CHUNKED) + CHUNKS[:-3]):  # fmt: skip
            async with connection(running) as (reader, writer):
                writer.write(content)
                writer.write_eof()
                status, _, answer = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n")
            assert status == b"HTTP/1.1 400 Bad Request"
            assert error_of(answer.partition(b"\r\n\r\n")[2])["code"] == "incomplete_request"
        async with connection(running) as (reader, writer):
            writer.write_eof()
            assert await asyncio.wait_for(reader.read(), 10) == b""
        assert not running.engine.calls
        await others_are_served(running)


# Many


async def test_a_thousand_idle_connections_disturb_nobody():
    async with a_gateway(**impatient(connections=1200)) as running, contextlib.AsyncExitStack() as stack:
        for _ in range(1000):
            await stack.enter_async_context(connection(running))
        await until(lambda: len(running.connections) == 1000, "all are held")
        await asyncio.wait_for(others_are_served(running), 5)


async def test_beyond_the_limit_the_longest_idle_make_room_and_busy_ones_stay():
    async with a_gateway(**impatient(connections=5)) as running, contextlib.AsyncExitStack() as stack:
        busy = asyncio.Event()

        async def until_told(call, writer):
            await busy.wait()
            return await running.engine.fixed(reply(ANSWER))(call, writer)

        running.engine.script = until_told
        working, sender = await stack.enter_async_context(connection(running))
        sender.write(post(request()))
        await until(lambda: running.engine.calls, "the engine is asked")
        idle = [await stack.enter_async_context(connection(running)) for _ in range(4)]
        await until(lambda: len(running.connections) == 5, "all are held")
        newest, writer = await stack.enter_async_context(connection(running))
        writer.write(HEALTH)
        assert (await read_answer(newest))[0] == 200
        assert await closes(idle[0][0])
        busy.set()
        assert (await read_answer(working))[0] == 200


async def test_where_none_is_idle_new_ones_are_told_why_they_are_refused():
    async with a_gateway(**impatient(connections=2)) as running, contextlib.AsyncExitStack() as stack:
        busy = asyncio.Event()

        async def until_told(call, writer):
            await busy.wait()
            return await running.engine.fixed(reply(ANSWER))(call, writer)

        running.engine.script = until_told
        working = [await stack.enter_async_context(connection(running)) for _ in range(2)]
        for _, writer in working:
            writer.write(post(request()))
        await until(lambda: len(running.engine.calls) == 2, "the engine is asked")
        async with connection(running) as (reader, _):
            status, headers, body = await read_answer(reader)
            assert (status, headers["retry-after"], error_of(body)["code"]) == (503, "1", "too_many_connections")
        busy.set()
        for reader, _ in working:
            assert (await read_answer(reader))[0] == 200


async def test_after_a_refusal_a_body_may_still_come_and_the_connection_goes_on():
    async with a_gateway() as running, connection(running) as (reader, writer):
        large = b"x" * 500_000
        writer.write(head(b"POST /v1/nothing HTTP/1.1", HOST, b"content-length: %d" % len(large)) + large + HEALTH)
        assert (await read_answer(reader))[0] == 404
        assert (await read_answer(reader))[0] == 200
