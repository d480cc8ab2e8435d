"""What the fake engine does instead of answering: the faults of its chat requests, and how they are asked for.

Each may have a number: that many requests meet it, those after them are answered. Without one all do.

* ``garbage``: streams what is no event stream, and answers with what is no JSON
* ``not-http``: answers with what is no HTTP, and closes the connection
* ``close-after-head``: closes the connection after the head of an answer, before its first bytes
* ``hang-after-head``: sends the head of an answer and nothing more
* ``hang-pinging``: likewise, but for comments that say that it lives
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from ansambl.testing.fake_http import Reader, send_chunk, send_head

PING_EVERY = 0.05
"""Seconds between two comments of ``hang-pinging``."""

_FAULTS = ("garbage", "not-http", "close-after-head", "hang-after-head", "hang-pinging")
_NEEDS_VALUE = frozenset({"slow-start", "crash-mid-stream", "hang-mid-stream", "needs-key", "tokens"})
_PLAIN = frozenset({"crash-at-start", "out-of-memory", "hang", "hang-everything", "error-500", "restores-nothing",
                    "saves-nothing", "no-template", "sleep-keeps", "wake-fails", "wake-rubbish"})  # fmt: skip


class Faults:
    """The faults of one engine; `script` as `parse_script` gives it."""

    def __init__(self, script: Mapping[str, str]) -> None:
        self._name = next((name for name in _FAULTS if name in script), None)
        number = script.get(self._name, "") if self._name is not None else ""
        self._left = float(number) if number else float("inf")

    def left(self) -> bool:
        """Whether the next request meets one."""
        return self._name is not None and self._left > 0

    async def answer(self, reader: Reader, writer: asyncio.StreamWriter, *, stream: bool) -> None:
        """Answer with the fault.

        Raises:
            ConnectionResetError: the connection is to be closed.
        """
        self._left -= 1
        if self._name == "garbage":
            _send_garbage(writer, stream=stream)
            return
        if self._name == "not-http":
            writer.write(b"what do you want?\r\n\r\n")
        elif stream:
            send_head(writer, 200, "text/event-stream", "Transfer-Encoding: chunked")
        else:
            send_head(writer, 200, "application/json", "Content-Length: 100")
        await writer.drain()
        while self._name == "hang-pinging" and stream and not reader.gone.is_set():
            send_chunk(writer, b": ping\n\n")
            await asyncio.sleep(PING_EVERY)
        if self._name not in {"not-http", "close-after-head"}:
            await reader.gone.wait()
        raise ConnectionResetError


def _send_garbage(writer: asyncio.StreamWriter, *, stream: bool) -> None:
    if stream:
        send_head(writer, 200, "text/event-stream", "Transfer-Encoding: chunked")
        send_chunk(writer, b'data: {"choices": [{"delta": \n\n')
        send_chunk(writer, b"\xff\xfe\x00 nothing that anybody can read\n\n")
        send_chunk(writer, b"")
        return
    body = b'{"choices": [{"message": '
    send_head(writer, 200, "application/json", f"Content-Length: {len(body)}")
    writer.write(body)


def parse_script(words: str) -> dict[str, str]:
    """``"slow-start:2,hang"`` as a mapping; a script without a value maps to "".

    Raises:
        ValueError: a script is unknown, or lacks its value.
    """
    script = {}
    for word in filter(None, words.split(",")):
        name, _, value = word.partition(":")
        known = name in _PLAIN | _NEEDS_VALUE or name in _FAULTS
        wrong = (
            bool(value) if name in _PLAIN else not value if name in _NEEDS_VALUE else bool(value.strip("0123456789"))
        )
        if not known or wrong:
            message = f"unknown script, or a value is missing or too many: {word}"
            raise ValueError(message)
        script[name] = value
    return script
