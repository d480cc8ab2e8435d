"""As much of HTTP/1.1 as the fake engine speaks: requests with a length, answers with a length or in chunks."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

MAX_HEAD, MAX_BODY = 65_536, 64_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """A request; header names are in small letters. `last` tells whether its connection is closed after it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: str = ""
    last: bool = False


class Reader(asyncio.StreamReader):
    """Tells when the client went away, also while nothing is read."""

    def __init__(self, *, limit: int, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=limit, loop=loop)
        self.gone = asyncio.Event()

    def feed_eof(self) -> None:
        """The client closed its side."""
        super().feed_eof()
        self.gone.set()

    def set_exception(self, exc: Exception) -> None:
        """The connection broke."""
        super().set_exception(exc)
        self.gone.set()


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """The next request of a connection; None when the client closed it.

    Raises:
        ValueError: its body is too long or in chunks, or it is no HTTP.
        asyncio.IncompleteReadError: the connection ended in the middle of it.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return None
        raise
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, version = first.split(" ", 2)
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    length = int(headers.get("content-length", "0"))
    if "transfer-encoding" in headers or not 0 <= length <= MAX_BODY:
        raise ValueError(length)
    path, _, query = path.partition("?")
    return Request(method, path, headers, await reader.readexactly(length), query, version == "HTTP/1.0")


def send_head(writer: asyncio.StreamWriter, status: int, kind: str, length: str) -> None:
    """Write the head of an answer; `length` is the header that tells where its body ends."""
    phrase = HTTPStatus(status).phrase
    writer.write(f"HTTP/1.1 {status} {phrase}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n".encode("latin-1"))


def send(writer: asyncio.StreamWriter, status: int, content: Any) -> None:
    """Write a whole answer: a string as it is, anything else as JSON."""
    plain = isinstance(content, str)
    body = content.encode() if plain else json.dumps(content).encode()
    send_head(writer, status, "text/plain" if plain else "application/json", f"Content-Length: {len(body)}")
    writer.write(body)


def send_chunk(writer: asyncio.StreamWriter, content: bytes) -> None:
    """Write one chunk; an empty one ends the body."""
    writer.write(b"%x\r\n%b\r\n" % (len(content), content))
