"""A load generator with a bounded count, in a process of its own, so that its work is never counted as the proxy's.

Run as a program with one JSON argument on the command line; prints one JSON document:

* ``{"kind": "json", "port", "model", "count", "connections"}`` gives ``{"requests", "seconds"}``;
* ``{"kind": "stream", "port", "model", "count"}``, all at once, gives ``{"streams", "chunks", "seconds"}``;
* ``{"kind": "hold", "port", "model", "count", "ramp"}`` begins `count` streams within `ramp` seconds and reads each to
  its end: ``{"streams", "chunks", "errors", "seconds"}``, and errors are counted, not raised;
* ``{"kind": "get", "port", "path", "count"}`` gives ``{"seconds": […]}``;
* ``{"kind": "latency", "targets": [[port, model], …], "count"}`` asks the targets by turns and gives
  ``{"seconds": [[…] for each target]}``.

An answer that is not as expected ends it with an error.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

KEY = "BENCHMARK_KEY"
"""The environment variable with the API key to send."""
_TEXT = "Please read this paragraph and tell me in two sentences what it is about. " * 17
"""Makes a body of about 1.5 kB."""


def request(port: int, model: str, *, stream: bool) -> bytes:
    """One chat request as bytes; with the key of the environment, where there is one."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": _TEXT}],
        "temperature": 0.2,
        "max_tokens": 128,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {os.environ.get(KEY, 'none')}\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


@dataclass(slots=True)
class Connection:
    """A connection that is kept alive."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect on loopback."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**20))

    async def ask(self, content: bytes) -> bytes:
        """Send a request and return the raw body of its answer, in its transfer encoding.

        Raises:
            RuntimeError: the answer has another status than 200.
        """
        self.writer.write(content)
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        _, named, value = head.partition(b"content-length:")
        if named:
            body = await self.reader.readexactly(int(value.split(b"\r\n", 1)[0]))
        else:
            received = bytearray()
            while not received.endswith(b"0\r\n\r\n"):
                piece = await self.reader.read(2**16)
                if not piece:
                    break
                received += piece
            body = bytes(received)
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"answer {head[:40]!r}: {body[:300]!r}")
        return body


async def run_json(port: int, model: str, count: int, connections: int) -> dict[str, Any]:
    """Ask `count` times over some connections."""
    content = request(port, model, stream=False)
    opened = [await Connection.open(port) for _ in range(connections)]
    left = iter(range(count))

    async def work(connection: Connection) -> int:
        done = 0
        for _ in left:
            if b"A fixed answer" not in await connection.ask(content):
                raise RuntimeError("an answer without its content")
            done += 1
        return done

    start = time.perf_counter()
    done = sum(await asyncio.gather(*map(work, opened)))
    return {"requests": done, "seconds": time.perf_counter() - start}


async def run_stream(port: int, model: str, count: int) -> dict[str, Any]:
    """Ask for `count` streams at once and count the chunks of content that came."""
    content = request(port, model, stream=True)
    opened = [await Connection.open(port) for _ in range(count)]
    start = time.perf_counter()
    bodies = await asyncio.gather(*(connection.ask(content) for connection in opened))
    seconds = time.perf_counter() - start
    chunks = [body.count(b'"delta":{"content"') for body in bodies]
    if len(set(chunks)) != 1 or not all(b"[DONE]" in body for body in bodies):
        raise RuntimeError(f"streams of different lengths, or without an end: {sorted(set(chunks))} chunks")
    return {"streams": len(bodies), "chunks": sum(chunks), "seconds": seconds}


class Held(asyncio.Protocol):
    """One stream that is read to its end; nothing of it is kept."""

    def __init__(self, content: bytes, over: asyncio.Future[str | None]) -> None:
        self.chunks = 0
        self._content = content
        self._over = over
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._content)

    def data_received(self, data: bytes) -> None:
        """Count."""
        self.chunks += data.count(b'"delta":{"content"')
        self._tail = (self._tail + data)[-64:]
        if self._tail.endswith(b"0\r\n\r\n"):
            self._finish(None if b"[DONE]" in self._tail else "no end mark")

    def connection_lost(self, exc: Exception | None) -> None:
        """It should not be."""
        self._finish(f"lost: {exc}")

    def _finish(self, error: str | None) -> None:
        if not self._over.done():
            self._over.set_result(error)
            self._transport.close()


async def run_hold(port: int, model: str, count: int, ramp: float) -> dict[str, Any]:
    """Begin `count` streams within `ramp` seconds, read each to its end, and count what went wrong."""
    loop, content, start = asyncio.get_running_loop(), request(port, model, stream=True), time.perf_counter()
    streams: list[Held] = []
    ends: list[asyncio.Future[str | None]] = []
    errors: Counter[str] = Counter()
    for number in range(count):
        await asyncio.sleep(max(0.0, start + ramp * number / count - time.perf_counter()))
        over: asyncio.Future[str | None] = loop.create_future()
        try:
            _, stream = await loop.create_connection(partial(Held, content, over), "127.0.0.1", port)
        except OSError as error:
            errors[str(error)] += 1
        else:
            streams.append(stream)
            ends.append(over)
    errors.update(one for one in await asyncio.gather(*ends) if one is not None)
    chunks = [one.chunks for one in streams]
    if chunks and min(chunks) != max(chunks):
        errors["streams of different lengths"] += 1
    return {"streams": count, "chunks": sum(chunks), "errors": dict(errors), "seconds": time.perf_counter() - start}


async def run_get(port: int, path: str, count: int) -> dict[str, Any]:
    """Ask for a path, `count` times one after another, and time each answer."""
    connection = await Connection.open(port)
    content = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer none\r\n\r\n".encode()
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        await connection.ask(content)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}


async def run_latency(targets: list[tuple[int, str]], count: int) -> dict[str, Any]:
    """Ask each target once, `count` times over, and time each answer."""
    ready = [(await Connection.open(port), request(port, model, stream=False)) for port, model in targets]
    seconds: list[list[float]] = [[] for _ in targets]
    for _ in range(count):
        for index, (connection, content) in enumerate(ready):
            start = time.perf_counter()
            await connection.ask(content)
            seconds[index].append(time.perf_counter() - start)
    return {"seconds": seconds}


def _run(work: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def main() -> None:
    """Do the work that the command line asks for."""
    work = json.loads(sys.argv[1])
    kinds: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]]
    kinds = {"json": run_json, "stream": run_stream, "latency": run_latency, "hold": run_hold, "get": run_get}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(_run(kinds[work.pop("kind")](**work))))


if __name__ == "__main__":
    main()
