"""Sessions of browsers: a key is given once, and a cookie stands for it as long as the key lets in.

They live in memory, by the digests of what stands in cookies, and end with Ansambl, with their key, by `IDLE` without a
request and by `LONGEST` at all events. A cookie comes with every request that any page makes, so `credentials_of` takes
it for a change only from a page of this address.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from dataclasses import dataclass

from ansambl.access.keys import digest_of
from ansambl.domain.units import Seconds

IDLE = Seconds(7 * 86_400)
"""A week without a request ends a session."""
LONGEST = Seconds(30 * 86_400)
"""After a month the key is asked for again."""
INVITED = Seconds(120)
"""Two minutes for what signs a browser in once: as long as it takes to copy an address."""
MOST = 1_000
"""Sessions at once; the one that was used least recently gives way."""
MOST_INVITED = 100
"""Invitations at once; the oldest gives way."""


@dataclass(slots=True)
class _Session:
    key: str
    begun: float
    used: float


class Sessions:
    """The sessions of one run. The time is passed in, in seconds that never jump."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[bytes, _Session] = OrderedDict()
        self._invited: OrderedDict[bytes, _Session] = OrderedDict()

    def begin(self, key: str, now: float) -> str:
        """Begin a session for a key, by its id; returns what stands in its cookie."""
        cookie = secrets.token_urlsafe(32)
        self._sessions[digest_of(cookie)] = _Session(key, now, now)
        while len(self._sessions) > MOST:
            self._sessions.popitem(last=False)
        return cookie

    def invite(self, key: str, now: float) -> str:
        """A secret that begins one session for a key, by its id, within `INVITED`."""
        secret = secrets.token_urlsafe(32)
        self._invited[digest_of(secret)] = _Session(key, now, now)
        while len(self._invited) > MOST_INVITED:
            self._invited.popitem(last=False)
        return secret

    def take(self, secret: str, now: float) -> str | None:
        """The id of the key that a secret invites to, which it does once; None where it is none, or too old."""
        found = self._invited.pop(digest_of(secret), None)
        return found.key if found is not None and now - found.begun < INVITED else None

    def key_of(self, cookie: str, now: float) -> str | None:
        """The id of the key for which a session was begun; None where it has ended or there is none."""
        digest = digest_of(cookie)
        found = self._sessions.get(digest)
        if found is None:
            return None
        if now - found.used >= IDLE or now - found.begun >= LONGEST:
            del self._sessions[digest]
            return None
        found.used = now
        self._sessions.move_to_end(digest)
        return found.key

    def end(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(digest_of(cookie), None)

    def end_of(self, key: str) -> None:
        """End all sessions of a key."""
        for digest in [one for one, session in self._sessions.items() if session.key == key]:
            del self._sessions[digest]
