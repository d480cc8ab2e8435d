"""Trials: versions of roles and ensembles that nobody saved, to be asked for a few minutes by whoever made them.

They stand beside the catalog and never in it: no list names them, no other key finds them, and a restart forgets them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from ansambl.domain.access import Caller, Endpoint
from ansambl.domain.errors import UnknownNameError
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.foundation.clock import Clock, RealClock
from ansambl.roles.records import RoleCatalog, Target

PREFIX = "trial:"
"""What the name of every trial begins with."""

LASTS = Seconds(900.0)
"""How long a trial can be asked for: as long as somebody compares answers, and no longer than they remember it."""

MOST = 32
"""Trials at a time; one more takes the place of the oldest. Each holds a catalog with a draft of up to a megabyte."""

_RANDOM_BYTES = 12


@dataclass(frozen=True, slots=True)
class Trial:
    """A role or an ensemble as it would be.

    `name` is what its owner asks for, `shown` what logs and counters call it. `catalog` is all that there would be with
    it. `key` is the id of the API key that made it, `ends` a time in seconds since the epoch.
    """

    name: str
    shown: str
    target: Target
    catalog: RoleCatalog
    key: str
    ends: float


class Trials:
    """The trials of one Ansambl, in memory. `random` makes the part of a name that nobody guesses."""

    def __init__(
        self, clock: Clock | None = None, random: Callable[[], str] = lambda: secrets.token_urlsafe(_RANDOM_BYTES)
    ) -> None:
        self._clock = clock or RealClock()
        self._random = random
        self._kept: dict[str, Trial] = {}

    def __len__(self) -> int:
        """How many are kept, those that are over included until the next is made."""
        return len(self._kept)

    def add(self, target: Target, catalog: RoleCatalog, key: str) -> Trial:
        """Keep `target`, as it stands in `catalog`, for whoever has the API key `key`."""
        now = self._clock.now()
        self._kept = {name: one for name, one in self._kept.items() if one.ends > now}
        while len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]
        # The name stands in the caller's request alone, so it says what it is and cannot be guessed.
        made = Trial(f"{PREFIX}{self._random()}", f"{target.name} (trial)", target, catalog, key, now + LASTS)
        self._kept[made.name] = made
        return made

    def find(self, name: str, caller: Caller) -> Trial | None:
        """The trial of this name, where `caller` made it, may still change roles, and it is not over yet."""
        found = self._kept.get(name)
        if found is None or found.key != caller.key or not caller.may(Endpoint.ADMIN):
            return None
        return found if found.ends > self._clock.now() else None


def is_over(name: str) -> UnknownNameError:
    """The error for a name of a trial that is not to be found."""
    return UnknownNameError(
        text("The trial '{name}' is over, or another key made it; begin a new one.", name=name[:100]),
        param="model", code="unknown_trial",
    )  # fmt: skip
