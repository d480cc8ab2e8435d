"""Keeps what one API key's requests left in a live engine from the requests of others.

Tried on xllamacpp 2026.10.11549, one prompt of 965 tokens sent by two keys: in the same slot all of it but one token
came from the first key's cache (a key could find out what others asked by timing its guesses). In another slot nothing
did, unless the engine's cache of finished prompts (``--cache-ram``) was on: then it did whenever the second key's slot
held something else. A slot that was emptied (``action=erase``, 0.7 ms) takes nothing from either, and neither does a
request with ``cache_prompt`` false.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from ansambl.domain.instance import Endpoint
from ansambl.domain.scheduling import LOCAL_KEY
from ansambl.engines.adapter import EngineCall
from ansambl.runtime.carrying import Lease

Caller: TypeAlias = Callable[[Lease, EngineCall], Awaitable[bytes]]
"""Sends a call that concerns the slot of a lease."""


@dataclass(slots=True)
class _Run:
    engine: Endpoint
    owners: dict[int, str] = field(default_factory=dict)


class Separation:
    """Knows whose each slot is. `call` sends to engines; `adopted` tells whether an engine ran before we did."""

    def __init__(self, call: Caller, adopted: Callable[[str], bool]) -> None:
        self._call = call
        self._adopted = adopted
        self._runs: dict[str, _Run] = {}
        self._keys: set[str] = set()
        # Nobody who writes a salt into a request of his own can guess that of another key.
        self._secret = secrets.token_bytes(32)

    async def separate(self, lease: Lease, key: str) -> bool:
        """Make the slot of `lease` hold nothing of another key, before a request of `key` uses it.

        With requests of one key alone nothing is sent. Returns whether a saved state may be restored into the slot:
        not where the engine would mix it with others' by itself.

        Raises:
            EngineError: the engine refused to empty the slot; the request must not be sent.
        """
        self._keys.add(key)
        lease.salt = "" if key == LOCAL_KEY else self._salt(key)
        slot, calls = lease.slot, lease.calls
        if slot is None or calls is None:
            return False
        run = self._runs.get(lease.model)
        if run is None or run.engine != lease.endpoint:
            run = self._runs[lease.model] = _Run(lease.endpoint)
        mixes = calls.mixes_slots and self._shared(lease.model, key)
        if not mixes and self._is_clean(run, slot, lease.model, key):
            run.owners[slot] = key
            return True
        # Unknown until it is done, also when this is broken off.
        run.owners[slot] = ""
        call = calls.erase(slot)
        lease.alone = mixes or call is None
        if call is not None:
            await self._call(lease, call)
        run.owners[slot] = key
        return not mixes

    def moved(self, model: str, engine: Endpoint, slots: Sequence[int]) -> None:
        """Another run of the engine holds in these slots what the one before held there; all others are empty."""
        before = self._runs.get(model)
        if before is not None:
            kept = {slot: owner for slot, owner in before.owners.items() if slot in slots}
            self._runs[model] = _Run(engine, kept)

    def _is_clean(self, run: _Run, slot: int, model: str, key: str) -> bool:
        owner = run.owners.get(slot)
        if owner is not None:
            return owner == key
        # Nobody noted whose it is: it is fresh, unless a request was carried over to this run after a failure.
        return self._keys == {key} and not self._anothers(model, key)

    def _shared(self, model: str, key: str) -> bool:
        """Whether a cache for all slots may hold something of another key."""
        return self._keys != {key} or self._anothers(model, key)

    def _anothers(self, model: str, key: str) -> bool:
        """Whether the engine ran before we did, for a key that we know nothing of.

        Requests without a key come only where there are no keys, so a run of before is then nobody else's: what it
        has read is used again after a crash of ours.
        """
        return key != LOCAL_KEY and self._adopted(model)

    def _salt(self, key: str) -> str:
        return hashlib.blake2b(key.encode(), key=self._secret, digest_size=16).hexdigest()
