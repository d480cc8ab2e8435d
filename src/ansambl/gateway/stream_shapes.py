"""How a stream looks on the wire: its content type, where its events end, and what is sent while nothing is to say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

EVENT_STREAM = b"text/event-stream; charset=utf-8"
JSON_LINES = b"application/x-ndjson"


def sse_comment(words: str) -> bytes:
    """A line of a stream of server-sent events that every client passes over."""
    line = "".join(one for one in " ".join(words.split()) if one.isprintable())
    return b": %b\n\n" % line.encode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class StreamShape:
    """One way to stream.

    `ends` are the bytes with one of which an event ends; `silence` makes what keeps a waiting client patient, out of
    words for those who can read them.
    """

    content_type: bytes = EVENT_STREAM
    ends: tuple[bytes, ...] = (b"\n\n", b"\r\n\r\n")
    silence: Callable[[str], bytes] = sse_comment


SERVER_SENT_EVENTS = StreamShape()
