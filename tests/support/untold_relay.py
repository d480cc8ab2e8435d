"""A browser of old in front of the product: what passes through loses the headers by which browsers tell of pages."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

_TAKEN = (b"sec-fetch-", b"connection:")


@contextmanager
def relay(port: int) -> Iterator[int]:
    """Listen on loopback and hand each request on to `port` without ``Sec-Fetch-*``; yields where it listens.

    In a thread of its own, since Playwright's loop runs in that of the test.
    """
    listens: Future[tuple[int, Callable[[], None]]] = Future()
    thread = threading.Thread(target=lambda: asyncio.run(_serve(port, listens)))
    thread.start()
    own, end = listens.result(20)
    try:
        yield own
    finally:
        end()
        thread.join()


async def _serve(port: int, listens: Future[tuple[int, Callable[[], None]]]) -> None:
    over = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _hand_on(reader, writer, port)

    def end() -> None:
        loop.call_soon_threadsafe(over.set)

    server = await asyncio.start_server(hand_on, "127.0.0.1", 0)
    listens.set_result((server.sockets[0].getsockname()[1], end))
    await over.wait()
    server.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for one in others:
        one.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _hand_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
    """One connection is one request: it is closed behind its answer, so that no other comes by it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        kept = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(_TAKEN)]
        source, target = await asyncio.open_connection("127.0.0.1", port)
        target.write(b"\r\n".join([*kept, b"Connection: close", b"", b""]))
        await asyncio.gather(_pass(reader, target), _pass(source, writer))
    except (asyncio.IncompleteReadError, OSError):
        pass
    finally:
        writer.close()


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        while found := await source.read(65536):
            target.write(found)
            await target.drain()
    except OSError:
        pass
    finally:
        target.close()
