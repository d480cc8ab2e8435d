"""Python's collector of reference cycles, set for a process that serves for weeks.

Each request makes some thousand small objects. With Python's own settings the collector ran every few requests and
looked again and again at all that the start had made (about 150,000 objects): a fifth of the CPU time of a request.
"""

from __future__ import annotations

import gc

_STARTING = 100_000
_YOUNG = 20_000
"""Objects that may be made, and not yet freed, before the young ones are looked at: some MB of garbage at most."""


def begin() -> None:
    """Collect seldom while the program is put together: nearly all that is made then stays. `settle` ends it."""
    gc.set_threshold(_STARTING, 10, 10)


def settle() -> None:
    """Leave what exists now out of all later collections, and collect what comes later less often.

    Called once, when all parts stand. What was made before is still freed when nothing refers to it any more; only
    cycles among it stay.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
