"""How much reading and fetching may take: sizes, counts, time and memory. What goes beyond is refused in words."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20


@dataclass(frozen=True, slots=True)
class ReadingLimits:
    """Sizes are in bytes, times in seconds.

    A file of `max_file` bytes at most is read, within `seconds` of processor time plus `seconds_per_mib` for each MiB,
    while the child process holds at most `memory` bytes. One document has at most `max_text` characters.

    For archives, and for formats that are archives: at most `max_members` files, `max_unpacked` bytes in all, `ratio`
    times their packed size (beyond the first MiB), `depth` archives inside each other. A table has at most `max_rows`
    rows. `frame` is the largest record that the child may send. A child is replaced after `files` files.
    """

    max_file: int = 512 * MIB
    seconds: float = 60.0
    seconds_per_mib: float = 20.0
    memory: int = 2048 * MIB
    max_text: int = 20_000_000
    max_members: int = 10_000
    max_unpacked: int = 1024 * MIB
    ratio: int = 200
    depth: int = 2
    max_rows: int = 100_000
    frame: int = 512 * MIB
    files: int = 500
    children: int = 2

    def time_for(self, size: int) -> float:
        """Seconds that a file of this size may take."""
        return self.seconds + self.seconds_per_mib * size / MIB


DEFAULT_LIMITS = ReadingLimits()
"""Fits a personal computer."""


@dataclass(frozen=True, slots=True)
class WebLimits:
    """`size` is in bytes, unpacked; `seconds` is for all of it, redirects included.

    `private` allows addresses that are not public (this machine, the local network) and any port.
    """

    size: int = 32 * MIB
    seconds: float = 30.0
    redirects: int = 5
    ports: tuple[int, ...] = (80, 443, 8080, 8443)
    private: bool = False


DEFAULT_WEB_LIMITS = WebLimits()
"""Public pages of usual size."""
