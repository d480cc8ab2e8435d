"""What an answer cost, read without building the answer: for those that are only handed on."""

from __future__ import annotations

from typing import Any

import msgspec

from ansambl.dialects.openai_chat.answers import Usage, read_event, read_usage, stream_data
from ansambl.dialects.openai_chat.reading import UNREADABLE


class _Whole(msgspec.Struct, gc=False):
    usage: Any = None


_decode = msgspec.json.Decoder(_Whole).decode
_NOTHING = (b'"usage":null', b'"usage": null')


def usage_of_answer(body: bytes) -> Usage | None:
    """The usage that a whole answer tells, as `read_answer` finds it; None where it tells none."""
    try:
        return read_usage(_decode(body).usage)
    except UNREADABLE:
        return None


def usage_of_stream(stream: bytes) -> Usage | None:
    """The usage that a stream tells, as `read_stream` finds it: the last one, else the engine's timings."""
    timed: Usage | None = None
    lines = stream.split(b"\n")
    lines.reverse()
    for data in stream_data(lines):
        usage = b'"usage"' in data and not any(one in data for one in _NOTHING)
        if not usage and b'"timings"' not in data:
            continue
        found = read_event(data)
        if found is not None and found.usage is not None:
            return found.usage
        timed = timed or (found.timed if found is not None else None)
    return timed
