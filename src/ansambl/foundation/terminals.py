"""The terminal that a process belongs to."""

from __future__ import annotations

import os
from collections.abc import Iterable


def has_terminal() -> bool:
    """Whether this process has a controlling terminal that is still there.

    A closed terminal takes itself away from every process of its session before it sends them SIGHUP, so this tells
    such a SIGHUP from one that a person or a script sent.
    """
    try:
        descriptor = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    os.close(descriptor)
    return True


def terminal_streams() -> tuple[int, ...]:
    """Which of standard input, output and error (0, 1, 2) are a terminal."""
    return tuple(one for one in (0, 1, 2) if os.isatty(one))


def silence(streams: Iterable[int]) -> None:
    """Point streams at nothing: writing to a terminal that is gone would fail."""
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for one in streams:
        os.dup2(nothing, one)
    os.close(nothing)
