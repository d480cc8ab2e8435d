"""The RAM's bandwidth, measured: which modules are in and how they are set, no operating system tells reliably."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psutil

from ansambl.domain.units import GIB, MIB

_BLOCK = 64 * MIB
_LEAST_ROUNDS, _LEAST_SECONDS = 4, 0.25
_LEAST_FREE = GIB


def measure_ram_bandwidth(threads: int) -> float | None:
    """Bytes a second that `threads` threads together copy in RAM, read and written bytes counted; takes some 0.3 s.

    The best of a few rounds, since other programs only ever slow it down. None when less than 1 GiB is free.
    """
    threads = max(1, threads)
    blocks = min(threads, max(1, int(psutil.virtual_memory().available / 4 / (2 * _BLOCK))))
    if psutil.virtual_memory().available < _LEAST_FREE:
        return None
    import numpy as np

    # Larger than any cache in sum; numpy lets other threads run while it copies.
    pairs = [(np.ones(_BLOCK, np.uint8), np.zeros(_BLOCK, np.uint8)) for _ in range(blocks)]
    best = 0.0
    with ThreadPoolExecutor(blocks) as pool:
        begun = time.perf_counter()
        rounds = 0
        while rounds < _LEAST_ROUNDS or time.perf_counter() - begun < _LEAST_SECONDS:
            rounds += 1
            start = time.perf_counter()
            list(pool.map(lambda pair: np.copyto(pair[1], pair[0]), pairs))
            best = max(best, 2 * _BLOCK * blocks / (time.perf_counter() - start))
    return best
