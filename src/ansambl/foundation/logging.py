"""Structured logs: one line per event, in a file. Contents of conversations are never logged."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any, cast

import structlog

from ansambl.foundation.paths import PRIVATE_FILE

_MAX_FILE, _KEPT_FILES = 5_000_000, 3


class _PrivateFile(RotatingFileHandler):
    """A log that its owner alone reads, like those of the engines."""

    def _open(self) -> Any:
        stream = super()._open()
        Path(self.baseFilename).chmod(PRIVATE_FILE)
        return stream


def configure(file: Path) -> None:
    """Send logs to `file`, which is rotated; mode 0600."""
    handler = _PrivateFile(file, maxBytes=_MAX_FILE, backupCount=_KEPT_FILES, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
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
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], bool_as_flag=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str) -> Any:
    """A logger that takes an event name and fields: ``log.info("instance_ready", model="big")``."""
    return cast("Any", structlog.get_logger(name))
