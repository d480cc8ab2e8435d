"""A bad line between a browser and the product: it cuts event streams in the midst of an event, is down, is slow."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass

_TURNS = 5


@dataclass
class Line:
    """What the line does, changed by the test while it is in use.

    `cuts` is how many event streams are still to be cut, each in the midst of what comes next; `down` refuses every new
    connection; `late` are the seconds by which what a stream brings is late. `cut` counts the streams that were cut.
    """

    port: int = 0
    cuts: int = 0
    down: bool = False
    late: float = 0.0
    cut: int = 0


@contextmanager
def bad_line(port: int) -> Iterator[Line]:
    """Listen on loopback and hand on to `port`; yields the line. In a thread of its own, as Playwright has a loop."""
    line = Line()
    listens: Future[Callable[[], None]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(port, line, listens)))
    thread.start()
    end = listens.result(20)
    try:
        yield line
    finally:
        end()
        thread.join()


async def _serve(port: int, line: Line, listens: Future[Callable[[], None]]) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A server would complain of a connection that is cancelled at the end.
        with suppress(asyncio.CancelledError):
            await _hand_on(reader, writer, port, line)

    server = await asyncio.start_server(hand_on, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    listens.set_result(lambda: loop.call_soon_threadsafe(over.set))
    await over.wait()
    server.close()
    # A connection that was taken just before gets its task some turns of the loop later.
    quiet = 0
    while quiet < _TURNS:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        quiet = 0 if others else quiet + 1
        for one in others:
            one.cancel()
        if others:
            await asyncio.wait(others, timeout=5)
        await asyncio.sleep(0)


async def _closed(writer: asyncio.StreamWriter) -> None:
    """Close a connection and wait until it is: its transport must not outlive the loop."""
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int, line: Line) -> None:
    """One connection is one request, so that what comes back is one answer."""
    try:
        if line.down:
            return
        head = await reader.readuntil(b"\r\n\r\n")
        kept = [one for one in head[:-4].split(b"\r\n") if not one.lower().startswith(b"connection:")]
        source, target = await asyncio.open_connection("127.0.0.1", port)
        target.write(b"\r\n".join([*kept, b"Connection: close", b"", b""]))
        asking = asyncio.create_task(_pass(reader, target))
        try:
            answer = await source.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await (_stream(source, writer, line) if b"text/event-stream" in answer.lower() else _pass(source, writer))
        finally:
            asking.cancel()
            await _closed(target)
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        await _closed(writer)


async def _stream(source: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Line) -> None:
    while found := await source.read(65536):
        if line.late:
            await asyncio.sleep(line.late)
        # What keeps a stream open is too short to hold an event.
        if line.cuts and b"data:" in found:
            line.cuts -= 1
            writer.write(found[: found.index(b"data:") + 9])
            await writer.drain()
            line.cut += 1
            return
        writer.write(found)
        await writer.drain()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while found := await source.read(65536):
        target.write(found)
        await target.drain()
