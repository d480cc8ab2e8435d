"""One line for each finished request, without its contents: a ring of the newest in memory, and a file.

For the admin API: `Gateway.requests` is a `RequestLog`; its `newest(count, …)` gives the newest finished requests as
dicts ready for JSON (the fields of `RequestRecord`), newest first, from memory. Nothing in them is a secret or
a content: `key` is the id of an API key, never the key; what a client wrote (its id, a path that does not exist) is
looked at before it becomes part of a record.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from os import getpid
from pathlib import Path
from typing import Any

import msgspec

from ansambl.foundation.line_file import LineFile
from ansambl.foundation.redaction import redact
from ansambl.gateway.asgi import Scope, header

KEPT = 200
"""Finished requests that stay in memory."""
REQUESTS_FILE = "requests.log"
"""The file in the folder of logs: JSON, one line a request."""

_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:=+@/-]{0,127}")
_LONGEST_PATH = 200


class RequestRecord(msgspec.Struct, gc=False):
    """One finished request. Times are in milliseconds, `time` is when it came.

    `path` is without what follows a question mark. `name` is the role, ensemble or model that was asked for, by its own
    name ("unresolved" where there is none such), `model` the one whose instance answered, "" where none did. `key` is
    the id of the API key, "local" for the owner. `request_class` is how urgent it was. `status` is what the client got;
    499 means that it left before its answer was whole. `code` is that of the error, also of one that ended a stream
    that had begun. `first_token_ms` is None where nothing was streamed. Tokens are None where no usage is known.
    `swaps` are the models that went for it, `bytes_sent` those of the answer's body.
    """

    time: datetime
    id: str
    method: str
    path: str
    name: str
    model: str
    key: str
    request_class: str
    status: int
    code: str | None
    total_ms: float
    queued_ms: float
    first_token_ms: float | None
    prompt_tokens: int | None
    cached_tokens: int | None
    output_tokens: int | None
    streamed: bool
    client_left: bool
    swaps: int
    bytes_sent: int

    def as_json(self) -> dict[str, Any]:
        """The record ready for JSON; `time` as UTC in ISO 8601."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found


class RequestLog:
    """The finished requests of one gateway. Adding one takes about a microsecond; the file is written by a thread.

    Args:
        folder: the folder of logs; None writes no file.
        writes: whether the file is written; may be changed at any time.
    """

    def __init__(self, folder: Path | None = None, *, writes: bool = True) -> None:
        self._ring: deque[RequestRecord] = deque(maxlen=KEPT)
        self._file = (
            LineFile[RequestRecord](folder / REQUESTS_FILE, msgspec.json.encode) if folder is not None else None
        )
        self.writes = writes

    def add(self, record: RequestRecord) -> None:
        """Add a finished request."""
        self._ring.append(record)
        if self.writes and self._file is not None:
            self._file.put(record)

    def newest(self, count: int = KEPT, *, name: str | None = None, failed: bool = False) -> list[dict[str, Any]]:
        """The newest finished requests, newest first, ready for JSON.

        Args:
            count: at most so many.
            name: only those that asked for this role, ensemble or model.
            failed: only those that were answered with an error.
        """
        return [one.as_json() for one in islice(self._matching(name, failed=failed), max(count, 0))]

    def _matching(self, name: str | None, *, failed: bool) -> Iterator[RequestRecord]:
        for one in reversed(self._ring):
            if (name is None or one.name == name) and (not failed or one.code is not None):
                yield one

    @property
    def dropped(self) -> int:
        """Lines that were not written: too many came at once, or the disk did not take them."""
        return self._file.dropped if self._file is not None else 0

    def close(self) -> None:
        """Write what waits. Blocks for a moment."""
        if self._file is not None:
            self._file.close()


class RequestIds:
    """Makes ids: short, unique on this machine, and in the order of their making when they are sorted as text."""

    def __init__(self) -> None:
        self._last = 0
        self._own = f"{getpid() & 0xFFF:03x}"

    def make(self) -> str:
        """A new id: microseconds since the epoch as 13 hexadecimal digits, and three of this process."""
        now = time.time_ns() // 1000
        self._last = now if now > self._last else self._last + 1
        return f"req_{self._last:013x}{self._own}"


_IDS = RequestIds()


def request_id(scope: Scope) -> str:
    """The id of a request: its client's ``x-request-id`` when that is sane, else a new one.

    Sane are 1 to 128 letters, digits and ``._:=+@/-`` that do not look like a secret.
    """
    given = header(scope, b"x-request-id")
    if given is not None and _SANE.fullmatch(given):
        told = given.decode("ascii")
        if redact(told) == told:
            return told
    return _IDS.make()


def shown_path(path: str) -> str:
    """A path as it is logged: what is too long is cut, what looks like a secret is masked."""
    return redact(path[:_LONGEST_PATH])
