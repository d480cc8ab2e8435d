"""Is what an engine answered an answer at all? Judged by its first bytes, once a request, before any is handed on."""

from __future__ import annotations

import json
from collections.abc import Sequence

_SHOWN = 100
_DATA = b"data:"
_OPENS, _CLOSES = frozenset({b"{", b"[", b'"'}), frozenset({b"}", b"]", b'"'})


def is_answer(content_type: str, pieces: Sequence[bytes], *, whole: bool = True) -> bool:
    """Whether an answer with status 200 that begins with `pieces` (of JSON: is made of them) can be one.

    Without `whole` more of it comes, so that only its beginning is judged. What is neither JSON, nor a stream of
    events, nor a web page is not judged: it may be sound or an image.
    """
    if content_type.startswith("text/event-stream"):
        return _begins_as_stream(pieces[0]) if pieces else True
    if content_type.startswith("application/json"):
        # Not parsed: that is done once, by whoever reads it, and takes long for many embeddings.
        # Servers that write down speech answer with a bare string where plain text is asked for.
        return (
            bool(pieces) and pieces[0].lstrip()[:1] in _OPENS and (not whole or pieces[-1].rstrip()[-1:] in _CLOSES)
        )  # fmt: skip
    return not content_type.startswith("text/html")


def beginning(pieces: Sequence[bytes]) -> str:
    """The first bytes for people."""
    return b"".join(pieces[:4])[:_SHOWN].decode("utf-8", "replace")


def _begins_as_stream(start: bytes) -> bool:
    lines = start.lstrip(b"\xef\xbb\xbf").split(b"\n")
    # The last line may be a part of one.
    for line in lines[:-1]:
        field = line.strip()
        if not field:
            continue
        if not (field[:1].isalpha() or field.startswith(b":")):
            return False
        if field.startswith(_DATA):
            return _is_event(field.removeprefix(_DATA).strip())
    return True


def _is_event(data: bytes) -> bool:
    if data == b"[DONE]":
        return True
    try:
        json.loads(data)
    except (ValueError, RecursionError):
        return False
    return True
