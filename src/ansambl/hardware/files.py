"""Reading the small files in which Linux tells about hardware: bounded, and silent when a file is not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

_LIMIT = 4 * 2**20
"""Far above any real file here: the cpuinfo of a machine with 512 threads is about 1 MB."""
_DIGITS = 19


def read_text(path: Path) -> str | None:
    """The text of `path`, undecodable bytes replaced; None when it cannot be read."""
    try:
        # The open may block on what is no plain file, for example a named pipe.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
        with os.fdopen(descriptor, "rb") as file:
            return (file.read(_LIMIT) or b"").decode("utf-8", "replace")
    except (OSError, ValueError):
        return None


def read_number(path: Path) -> int | None:
    """The whole number that a file holds; None when it holds none."""
    return whole_number(read_text(path))


def whole_number(text: str | None, base: int = 10) -> int | None:
    """`text` as a number of at most 19 digits (what 64 bits hold); None when it is none. Base 16 may carry ``0x``."""
    word = (text or "").strip()
    if not word.isascii() or len(word.removeprefix("-").removeprefix("0x")) > _DIGITS:
        return None
    try:
        return int(word, base)
    except ValueError:
        return None


def entries(folder: Path) -> Iterator[Path]:
    """What lies in `folder`, in the order of names with numbers counted (card2 before card10); none when unreadable."""
    try:
        names = [one.name for one in folder.iterdir()]
    except (OSError, ValueError):
        return
    for name in sorted(names, key=lambda one: (one.rstrip("0123456789"), len(one), one)):
        yield folder / name


def key_values(text: str | None, separator: str) -> dict[str, str]:
    """Lines such as ``KEY=value`` as a mapping; lines without the separator are left out, the first of a name wins."""
    found: dict[str, str] = {}
    for line in (text or "").splitlines():
        name, mark, value = line.partition(separator)
        if mark and name.strip():
            found.setdefault(name.strip(), value.strip())
    return found


def parse_ranges(text: str | None) -> frozenset[int] | None:
    """A kernel list such as ``0-3,8``; None when it is not one."""
    numbers: set[int] = set()
    for part in (text or "").strip().split(","):
        low, mark, high = part.partition("-")
        first, last = whole_number(low), whole_number(high if mark else low)
        # The kernel's own limit is 8192 CPUs; whatever is above is not a list of CPUs.
        if first is None or last is None or not 0 <= first <= last < 65536:
            return None
        numbers.update(range(first, last + 1))
    return frozenset(numbers)
