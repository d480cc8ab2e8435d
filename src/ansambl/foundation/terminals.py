"""The terminal that a process belongs to."""

from __future__ import annotations

import os


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
