"""The terminal that a process belongs to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

_TAKEN_AS_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def harmless(words: str) -> str:
    """`words` as a terminal can be given them: what it would take as commands is written as in JSON (`u001b`).

    Names, paths and sentences come from requests, files and engines, and a terminal that gets their escape codes
    hides lines, shows others that nobody wrote or changes its title. So it goes for the control characters of both
    sets but line feeds and tabs, and for those that turn the direction of a line. JSON stays JSON of the same meaning.
    """
    return _TAKEN_AS_COMMANDS.sub(lambda found: f"\\u{ord(found[0]):04x}", words)


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
