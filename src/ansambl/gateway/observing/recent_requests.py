"""The newest requests, without what was said in them: for the admin API, which lists them and tells of each."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

KEPT = 500
"""Requests that stay in memory, about 0.3 KB each."""


@dataclass(slots=True)
class RequestRecord:
    """One request to a model, role or ensemble. No contents, and of its key only the id.

    `number` counts up from 1 since the start. `time` is when it came, in seconds since the epoch. `name` is what was
    asked for by its own name, "" until that is known; `model` whose instance answered. `status` is None while it is
    being answered; 499 stands for a client that left. `queued` is the seconds until it got its place, `first` those
    until the first byte of a stream that a model said, `seconds` until the end. The tokens are as the engine counted
    them, None where it did not. `request_class` is how urgent it was, "" before that is known. `code` is that of the
    error that it ended with, also as the last event of a stream. `left` tells that its client left before the answer
    was whole; `sent` are the bytes of the answer's body that went out.
    """

    number: int
    path: str
    key: str
    time: float = field(default_factory=time.time)
    id: str = ""
    name: str = ""
    model: str = ""
    status: int | None = None
    seconds: float | None = None
    queued: float = 0.0
    first: float | None = None
    swaps: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    method: str = "POST"
    request_class: str = ""
    code: str | None = None
    streamed: bool = False
    left: bool = False
    sent: int = 0

    def use(self, prompt: int, cached: int | None, output: int) -> None:
        """Add what an answer cost; an ensemble asks several times. `cached` is None where the engine does not say."""
        self.prompt_tokens = (self.prompt_tokens or 0) + prompt
        self.output_tokens = (self.output_tokens or 0) + output
        if cached is not None:
            self.cached_tokens = (self.cached_tokens or 0) + cached


Watcher: TypeAlias = Callable[[RequestRecord], None]
"""Is told of a request when it begins and when it has ended (its `status` is set); must not block."""


class RecentRequests:
    """A ring of the newest requests. Used on one event loop; to note one takes about two microseconds."""

    def __init__(self, kept: int = KEPT) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=kept)
        self._numbers = count(1)
        self.watcher: Watcher | None = None

    def begin(self, path: str, key: str, request_id: str = "") -> RequestRecord:
        """Note a request whose body is about to be read; whoever began it fills the record and calls `end`."""
        record = RequestRecord(next(self._numbers), path, key, id=request_id)
        self._records.append(record)
        if self.watcher is not None:
            self.watcher(record)
        return record

    def end(self, record: RequestRecord) -> None:
        """The request has ended, and its record says how."""
        if self.watcher is not None:
            self.watcher(record)

    def newest(self, limit: int, *, key: str | None = None) -> Iterator[RequestRecord]:
        """The newest requests (of one key alone when it is given), the newest first."""
        found = (one for one in reversed(self._records) if key is None or one.key == key)
        return (one for _, one in zip(range(limit), found, strict=False))
