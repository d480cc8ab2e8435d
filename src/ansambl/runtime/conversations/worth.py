"""Which saved conversations are worth their bytes, and which are worth a restore. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

HALF_LIFE = 2 * 86400.0
"""Seconds after which a conversation that nobody went on with is worth half as much."""

UNKNOWN_SPEED = 1000.0
"""Tokens per second of prefill where none was measured: what it is decides nothing while it is the same for all."""

_MOVED = 500e6
"""Bytes per second at which a state is checked and copied: slow for memory, usual for a good disk."""

_ADVANTAGE = 2.0
"""How many times what a restore costs it must save, because neither is known well beforehand."""


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved conversation. `seconds` is what reading it again would take, `used` and `saved_at` since the epoch.

    `owner` is the mark of its key in hexadecimal digits, `length` the bytes of its hint. `identity` is what
    `ansambl.runtime.conversations.identity.state_identity` gave.
    """

    name: str
    owner: str
    identity: str
    model: str
    tokens: int
    size: int
    seconds: float
    saved_at: float
    used: float
    checksum: bytes
    length: int
    fingerprint: bytes

    def worth(self, now: float) -> float:
        """Seconds of prefill that each of its bytes saves, halved for every `HALF_LIFE` since its last use."""
        age = max(0.0, now - self.used)
        return float(self.seconds / max(1, self.size) * 0.5 ** (age / HALF_LIFE))


def make_room(
    kept: Iterable[Saved], new: Saved, budget: int, now: float, *, spare: Collection[str] = ()
) -> list[Saved] | None:
    """The least valuable of `kept` that must go so that `new` fits into `budget` bytes.

    None when it does not fit, or only in place of more valuable ones. Those named in `spare` stay.
    """
    kept = list(kept)
    lacking = sum(one.size for one in kept) + new.size - budget
    if new.size > budget:
        return None
    going: list[Saved] = []
    for one in sorted(kept, key=lambda one: (one.worth(now), one.name)):
        if lacking <= 0:
            break
        if one.name in spare:
            continue
        if one.worth(now) > new.worth(now):
            return None
        going.append(one)
        lacking -= one.size
    return going if lacking <= 0 else None


def is_worth_restoring(saved: Saved, common: int, held: int) -> bool:
    """Whether a state of which a prompt begins with `common` bytes is better than a slot with `held` bytes of it."""
    gained = saved.seconds * (common - held) / max(1, saved.length)
    return gained > _ADVANTAGE * saved.size / _MOVED
