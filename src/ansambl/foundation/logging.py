"""Structured logs: one line per event, in a file. Contents of conversations are never logged, secrets are masked.

Also what libraries log (uvicorn, aiohttp, asyncio) goes there, tracebacks included, and through the same mask. A line
that is written while a request is answered says which one.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from contextvars import ContextVar
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, cast

import structlog

from ansambl.foundation.paths import PRIVATE_FILE
from ansambl.foundation.redaction import redact, redacted_field
from ansambl.foundation.terminals import harmless

_MAX_FILE, _KEPT_FILES = 5_000_000, 3


class RunningRequest:
    """The id of the request that the current task works for; `over` is set when it is answered.

    Tasks that a request began (a load, say) inherit it and may go on for days: what they log afterwards is not its own.
    """

    __slots__ = ("id", "over")

    def __init__(self, request_id: str) -> None:
        self.id = request_id
        self.over = False


_RUNNING: ContextVar[RunningRequest | None] = ContextVar("ansambl_request", default=None)


def begin_request(request_id: str) -> RunningRequest:
    """From now on what this task logs says that it is about this request. Set `over` at its end."""
    running = RunningRequest(request_id)
    _RUNNING.set(running)
    return running


def _with_request(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    running = _RUNNING.get()
    if running is not None and not running.over:
        event.setdefault("request", running.id)
    return event


def _masked(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask before the fields are written: a line's own quoting must not hide a secret from the mask."""
    return {name: redacted_field(name, value) for name, value in event.items()}


class _Masking(logging.Formatter):
    """The last look at every line, whoever wrote it, with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        # People read logs with `cat` and `tail`, too, and anybody can write a Host into them.
        return harmless(redact(super().format(record)))


class _PrivateFile(RotatingFileHandler):
    """A log that its owner alone reads, like those of the engines."""

    def _open(self) -> Any:
        stream = super()._open()
        Path(self.baseFilename).chmod(PRIVATE_FILE)
        return stream

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """A full disk loses log lines; it must not fill the terminal with a traceback for each of them."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def configure(file: Path) -> None:
    """Send logs to `file`, which is rotated; mode 0600."""
    handler = _PrivateFile(file, maxBytes=_MAX_FILE, backupCount=_KEPT_FILES, encoding="utf-8")
    handler.setFormatter(_Masking("%(message)s"))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    # The HTTP client writes one line per health probe at INFO.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _with_request,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _masked,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> Any:
    """A logger that takes an event name and fields: ``log.info("instance_ready", model="big")``."""
    return cast("Any", structlog.get_logger(name))
