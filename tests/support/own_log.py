"""Ansambl's own log in a file of the test, as the product writes it, in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from ansambl.foundation.logging import configure

Reader = Callable[[str], str]


@pytest.fixture
def own_log_of() -> Iterator[Callable[[Path], Reader]]:
    """Begins the log in a file; what it returns finds the newest line that holds a word, "" for none."""
    root = logging.getLogger()
    handlers, level, configured = list(root.handlers), root.level, structlog.get_config()
    root.handlers = []

    def begin(file: Path) -> Reader:
        configure(file)

        def find(word: str) -> str:
            for one in root.handlers:
                one.flush()
            found = [one for one in file.read_text(encoding="utf-8").splitlines() if word in one]
            return found[-1] if word else ""

        return find

    yield begin
    for one in root.handlers:
        one.close()
    root.handlers, root.level = handlers, level
    structlog.configure(**configured)
