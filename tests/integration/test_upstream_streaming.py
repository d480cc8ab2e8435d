"""Bytes of an engine are handed on when they arrive, not when the answer is whole."""

from __future__ import annotations

import asyncio

from ansambl.domain.instance import Endpoint
from ansambl.runtime.upstream import Upstream

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_each_chunk_arrives_before_the_next_is_sent():
    """The engine sends a chunk only after the one before was seen here: reading ahead would wait for ever."""
    seen = asyncio.Semaphore(0)

    async def engine(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_HEAD)
        for number in range(5):
            await seen.acquire()
            writer.write(b"8\r\ndata: %d\n\r\n" % number)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(engine, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    upstream = Upstream()
    try:
        async with asyncio.timeout(20):
            async with upstream.post(Endpoint(f"http://127.0.0.1:{port}/v1"), "/chat/completions", b"{}") as answer:
                assert answer.status == 200
                for number in range(5):
                    seen.release()
                    assert await answer.chunk() == b"data: %d\n" % number
                assert await answer.chunk() is None
    finally:
        await upstream.close()
        server.close()
        await server.wait_closed()
