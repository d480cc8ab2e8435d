"""One line for each finished request, without its contents, in a file of its own; and the ids of requests.

The newest requests are in memory, too: `recent_requests`. The file is apart from Ansambl's own log, because many
requests would rotate everything else away there. Nothing in a line is a secret or a content: `key` is the id of an API
key, never the key; what a client wrote (its id, a path that does not exist) is looked at before it becomes part of a
line.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from os import getpid
from pathlib import Path

import msgspec

from ansambl.foundation.line_file import LineFile
from ansambl.foundation.redaction import redact
from ansambl.gateway.asgi import Scope, header
from ansambl.gateway.observing.recent_requests import RequestRecord

REQUESTS_FILE = "requests.log"
"""The file in the folder of logs: JSON, one line a request."""

_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:=+@/-]{0,127}")
_LONGEST_PATH = 200


class RequestLine(msgspec.Struct, gc=False):
    """One line of the file: a finished request. Times are in milliseconds, `time` is when it came.

    `path` is without what follows a question mark. `name` is the role, ensemble or model that was asked for, by its own
    name ("unresolved" where there is none such, "-" where none was asked for), `model` the one whose instance answered,
    "" where none did. `key` is the id of the API key, "local" for the owner. `status` is what the client got; 499
    means that it left before its answer was whole. `code` is that of the error, also of one that ended a stream that
    had begun. `first_token_ms` is null where nothing was streamed; tokens are null where no usage is known. `swaps` are
    the models that went for it, `bytes` those of the answer's body.
    """

    time: datetime
    id: str
    method: str
    path: str
    name: str
    model: str
    key: str
    request_class: str = msgspec.field(name="class")
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
    bytes: int


def line_of(record: RequestRecord) -> RequestLine:
    """What the file says of a finished request."""
    return RequestLine(
        datetime.fromtimestamp(round(record.time, 3), UTC), record.id, record.method, record.path, record.name,
        record.model, record.key, record.request_class, record.status or 0, record.code,
        _milliseconds(record.seconds or 0.0), _milliseconds(record.queued),
        None if record.first is None else _milliseconds(record.first), record.prompt_tokens, record.cached_tokens,
        record.output_tokens, record.streamed, record.left, record.swaps, record.sent,
    )  # fmt: skip


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


def _encode(record: RequestRecord) -> bytes:
    return msgspec.json.encode(line_of(record))


class RequestLog:
    """The file of finished requests. Adding one takes less than a microsecond; a thread writes.

    Args:
        folder: the folder of logs; None writes nothing.
        writes: whether lines are written; may be changed at any time.
    """

    def __init__(self, folder: Path | None = None, *, writes: bool = True) -> None:
        self._file = LineFile[RequestRecord](folder / REQUESTS_FILE, _encode) if folder is not None else None
        self.writes = writes

    def write(self, record: RequestRecord) -> None:
        """Have the line of a finished request written."""
        if self.writes and self._file is not None:
            self._file.put(record)

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
