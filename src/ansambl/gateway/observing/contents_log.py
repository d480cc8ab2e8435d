"""What was asked and answered, word for word, in a private file of its own: only where the owner asks for it.

``[gateway] log_contents`` is off unless somebody sets it; a start and ``ansambl doctor`` warn while it is on. The file
is for its owner alone (mode 0600), rotated at `LIMIT` bytes, and `KEPT` older ones stay. Secrets are masked there, too.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ansambl.foundation.line_file import LineFile
from ansambl.foundation.redaction import redact
from ansambl.gateway.asgi import Receive, Send

CONTENTS_FILE = "contents.log"
"""The file in the folder of logs: JSON, one line a request."""
LIMIT, KEPT = 20_000_000, 2
MOST_BYTES = 2**20
"""Bytes of a request, and of an answer, that are kept; what is beyond them is cut off, and the line says so."""
_MOST_WAITING = 50
"""Lines that wait for the disk: a hundred MiB of contents at the most."""


class Overheard:
    """What goes in and out for one request. `receive` and `send` stand in the place of the server's own."""

    __slots__ = ("_answer", "_asked", "_began", "_receive", "_send", "_sizes")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._asked: list[bytes] = []
        self._answer: list[bytes] = []
        self._sizes = [0, 0]
        self._began = time.time()

    async def receive(self) -> Any:
        """What the client sends."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._keep(self._asked, 0, message.get("body", b""))
        return message

    async def send(self, message: Any) -> None:
        """What the client is sent."""
        if message["type"] == "http.response.body":
            self._keep(self._answer, 1, message.get("body", b""))
        await self._send(message)

    def _keep(self, parts: list[bytes], which: int, piece: bytes) -> None:
        if self._sizes[which] < MOST_BYTES:
            parts.append(piece[: MOST_BYTES - self._sizes[which]])
        self._sizes[which] += len(piece)

    def line(self, about: dict[str, Any]) -> dict[str, Any]:
        """The line about it; `about` is what else it says."""
        return {
            "time": datetime.fromtimestamp(round(self._began, 3), UTC), **about,
            "asked": b"".join(self._asked), "answer": b"".join(self._answer),
            "cut": max(self._sizes) > MOST_BYTES,
        }  # fmt: skip


class ContentsLog:
    """The file of contents. It is written by a thread.

    Args:
        folder: the folder of logs; None writes nothing.
        writes: whether contents are written; may be changed at any time.
    """

    def __init__(self, folder: Path | None = None, *, writes: bool = False) -> None:
        self._file: LineFile[dict[str, Any]] | None = None
        if folder is not None:
            self._file = LineFile(folder / CONTENTS_FILE, _encode, limit=LIMIT, kept=KEPT, most=_MOST_WAITING)
        self.writes = writes and folder is not None

    def write(self, overheard: Overheard, about: dict[str, Any]) -> None:
        """Have a line written."""
        if self._file is not None and self.writes:
            self._file.put(overheard.line(about))

    def close(self) -> None:
        """Write what waits. Blocks for a moment."""
        if self._file is not None:
            self._file.close()


def _encode(line: dict[str, Any]) -> bytes:
    shown = {name: redact(one.decode("utf-8", "replace")) if isinstance(one, bytes) else one
             for name, one in line.items()}  # fmt: skip
    return msgspec.json.encode(shown)
