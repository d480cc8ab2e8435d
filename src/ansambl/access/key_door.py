"""The door of a running Ansambl: every request is let in or refused here, from memory, in a few microseconds.

While no key exists that was not revoked, whoever asks from this machine is its owner, and nobody else is let in. From
the first key on every request needs one, also from this machine; an expired key still counts, so that time alone opens
nothing. The owner's token of this run is a key that may do everything.

A secret is looked up by its digest, and the digest that was found is compared once more in constant time; where none
was found one that nobody has is compared, so that every secret takes the same way. What time a look-up takes tells of
digests at most, and nobody can choose the digest of a secret.
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from dataclasses import dataclass, field, replace
from typing import Any

from ansambl.access.door import OWNERS_VISIT, Credentials, Visit
from ansambl.access.keys import SECRET_START, ApiKey, digest_of, is_whole
from ansambl.access.limits import Account, Allowances, Headers, HeaderStyle, LimitReachedError
from ansambl.access.sessions import Sessions
from ansambl.access.store import KeyStore
from ansambl.access.visits import Visits
from ansambl.domain.access import COUNTED, OWNER, Caller, Endpoint, ForbiddenError, UnauthorizedError
from ansambl.domain.errors import AnsamblError
from ansambl.domain.scheduling import LOCAL_KEY
from ansambl.domain.text import Text, text
from ansambl.foundation.clock import Clock
from ansambl.foundation.logging import get_logger

log = get_logger(__name__)

WRITE_EVERY = 5.0
"""Seconds between two writes of what was used: a crash forgets what was used since the last one.

As often it is looked for answers that are still being made for keys that have expired.
"""


@dataclass(slots=True)
class _Entry:
    """What lets in: a key, or the owner's token, which has none."""

    digest: bytes = field(repr=False)
    caller: Caller = OWNER
    key: ApiKey | None = None
    account: Account | None = None
    last_used: float | None = None


class KeyDoor:
    """Lets requests in by their keys. Used on one event loop.

    `owner_token` is the secret of this run, with which Ansambl's own commands come. `store` gives the keys and keeps
    what they use; None keeps nothing.
    """

    def __init__(self, owner_token: str, clock: Clock, store: KeyStore | None = None) -> None:
        self.sessions = Sessions()
        self.visits = Visits()
        self._clock = clock
        self._store = store
        self._owner = _Entry(digest_of(owner_token))
        self._nobody = _Entry(secrets.token_bytes(len(self._owner.digest)))
        self._by_digest: dict[bytes, _Entry] = {self._owner.digest: self._owner}
        self._by_id: dict[str, _Entry] = {}
        self._valid = 0
        if store is not None:
            used, now = store.use(), clock.now()
            for key in store.read():
                self._add(key).restore(used.get(key.id, ()), now)

    @property
    def has_keys(self) -> bool:
        """Whether there is a key that was not revoked."""
        return self._valid > 0

    def all_keys(self) -> tuple[ApiKey, ...]:
        """All keys, with when they were last used."""
        entries = self._by_id.values()
        return tuple(replace(one.key, last_used=one.last_used) for one in entries if one.key is not None)

    def allowances(self, key: str) -> Allowances | None:
        """What is left of the limits of a key, by its id."""
        account = self._by_id[key].account
        return account.allowances(self._clock.now()) if account is not None else None

    def all_allowances(self) -> dict[str, Allowances]:
        """What is left of the limits of all keys that are not revoked, by their ids."""
        found = {one.id: self.allowances(one.id) for one in self.all_keys() if one.revoked is None}
        return {key: left for key, left in found.items() if left is not None}

    def add(self, key: ApiKey) -> None:
        """Let in with a key from the next request on."""
        self._add(key)

    def _add(self, key: ApiKey) -> Account:
        account = Account(key.requests, key.tokens)
        entry = _Entry(key.digest, key.caller, key, account, key.last_used)
        self._by_digest[key.digest] = self._by_id[key.id] = entry
        self._valid += key.revoked is None
        return account

    async def revoke(self, key: str, now: float, spared: asyncio.Task[Any] | None = None) -> None:
        """Let nobody in with a key, by its id, from now on. What is being answered for it ends with an error.

        `spared` may end by itself: a key can revoke itself.
        """
        entry = self._by_id[key]
        if entry.key is None or entry.key.revoked is not None:
            return
        entry.key = replace(entry.key, revoked=now)
        self._valid -= 1
        self.sessions.end_of(key)
        await self.visits.end(key, _refused(_REVOKED, key), spared)

    async def end_expired(self) -> None:
        """End what is being answered for keys whose time is over by now: a stream of events would go on for a day."""
        now = self._clock.now()
        for key in self.visits.answering():
            entry = self._by_id.get(key)
            if entry is not None and entry.key is not None and entry.key.expired(now):
                await self.visits.end(key, _refused(_EXPIRED, key))

    def known(self, credentials: Credentials) -> Caller | None:
        """Who asks, None where that is nobody who would be let in. Counts nothing."""
        try:
            entry = self._entry(credentials)
        except AnsamblError:
            return None
        return OWNER if entry is None else entry.caller

    def is_proven(self, credentials: Credentials) -> bool:
        """Whether a request brings the owner's token, or the cookie of a session that was begun with it."""
        secret = credentials.secret
        if secret is not None:
            return hmac.compare_digest(digest_of(secret), self._owner.digest)
        return self._is_owners(credentials.cookie)

    def admit(self, credentials: Credentials, endpoint: Endpoint | None) -> Visit:
        """Let a request in that wants `endpoint`; None is what everybody with any key may have.

        Requests for what models answer count for the limits, others do not.

        Raises:
            UnauthorizedError: it needs a key, or its key is unknown, revoked or expired.
            ForbiddenError: its key may not do this, or it comes from elsewhere while there are no keys.
            LimitReachedError: a limit of its key is reached.
        """
        entry = self._entry(credentials)
        if entry is None or entry.account is None:
            return OWNERS_VISIT
        caller = entry.caller
        if endpoint is not None and endpoint not in caller.endpoints:
            caller.require(endpoint)
        now = self._clock.now()
        if endpoint in COUNTED:
            try:
                entry.account.take(now)
            except LimitReachedError as error:
                error.key = caller.key
                raise
        entry.last_used = now
        entry.account.changed = True
        return _KeysVisit(caller, entry.account, self)

    def _entry(self, credentials: Credentials) -> _Entry | None:
        """What a request may come in by; None is the owner of this machine, while there are no keys."""
        secret = credentials.secret
        if secret is None and credentials.cookie is not None:
            if self._valid:
                return self._entry_of(credentials.cookie)
            if self._is_owners(credentials.cookie):
                return self._owner
        found = None if secret is None else self._known(secret)
        if found is not None:
            return found
        if self._valid:
            raise _refused(_MISSING if secret is None else _unknown(secret))
        if not credentials.local:
            raise ForbiddenError(
                text("This Ansambl has no API key, so it answers programs of its own machine alone. "
                     "Create a key there: ansambl keys create")
            )  # fmt: skip
        return None

    def _known(self, secret: str) -> _Entry | None:
        """What a secret belongs to; None where that is nothing, or no more than a key that was revoked before all."""
        digest = digest_of(secret)
        entry = self._by_digest.get(digest, self._nobody)
        if not hmac.compare_digest(entry.digest, digest) or not (self._valid or entry is self._owner):
            return None
        # Somebody who has a whole secret may know what became of it.
        return self._checked(entry)

    def _is_owners(self, cookie: str | None) -> bool:
        return cookie is not None and self.sessions.key_of(cookie, self._clock.monotonic()) == LOCAL_KEY

    def _entry_of(self, cookie: str) -> _Entry:
        key = self.sessions.key_of(cookie, self._clock.monotonic())
        entry = self._owner if key == LOCAL_KEY else self._by_id.get(key or "")
        if entry is None:
            raise _refused(_SESSION_OVER)
        return self._checked(entry)

    def _checked(self, entry: _Entry) -> _Entry:
        key = entry.key
        if key is not None:
            if key.revoked is not None:
                raise _refused(_REVOKED, key.id)
            if key.expires is not None and self._clock.now() >= key.expires:
                raise _refused(_EXPIRED, key.id)
        return entry

    def invite(self, caller: Caller) -> str:
        """A secret with which one browser signs in as `caller`, once and soon."""
        return self.sessions.invite(caller.key, self._clock.monotonic())

    def sign_in(self, secret: str) -> str:
        """Begin a session for a secret, or for what `invite` gave; returns what stands in its cookie.

        Raises:
            UnauthorizedError: it is unknown, revoked or expired. So is any while there are no keys, but the owner's
                token: who needs none now must not get a session that stays when there are some.
        """
        entry = self._known(secret) or self._invited(secret)
        if entry is None:
            raise _refused(_unknown(secret))
        return self.sessions.begin(entry.caller.key, self._clock.monotonic())

    def accept_invitation(self, secret: str) -> str:
        """Begin a session for what `invite` gave, and for no key; returns what stands in its cookie.

        Raises:
            UnauthorizedError: it is none, or was used, or is too old; or its key was revoked or has expired.
        """
        entry = self._invited(secret)
        if entry is None:
            raise _refused(_unknown(secret))
        return self.sessions.begin(entry.caller.key, self._clock.monotonic())

    def _invited(self, secret: str) -> _Entry | None:
        key = self.sessions.take(secret, self._clock.monotonic())
        entry = self._owner if key == LOCAL_KEY else self._by_id.get(key or "")
        return None if entry is None else self._checked(entry)

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock.now()

    def write(self) -> None:
        """Keep what was used since the last time. Returns at once; the database's `close` waits for it."""
        if self._store is None:
            return
        changed = {key: one for key, one in self._by_id.items() if one.account is not None and one.account.changed}
        used = {}
        for key, entry in changed.items():
            if entry.account is not None:
                entry.account.changed = False
                used[key] = (entry.last_used, entry.account.rows())
        if used:
            self._store.submit_use(used)

    async def keep_writing(self) -> None:
        """Write every `WRITE_EVERY` seconds, and end what keys that have expired still get, until it is cancelled."""
        while True:
            await self._clock.sleep(WRITE_EVERY)
            try:
                self.write()
                await self.end_expired()
            except Exception:
                # Or no use would be written any more, and what expired keys still get would go on.
                log.exception("use_of_keys_not_written")


class _KeysVisit:
    """A visit with a key."""

    __slots__ = ("_account", "_door", "caller")

    def __init__(self, caller: Caller, account: Account, door: KeyDoor) -> None:
        self.caller = caller
        self._account = account
        self._door = door

    def headers(self, style: HeaderStyle) -> Headers:
        """What is left of the key's limits."""
        if not self._account.limited:
            return []
        return self._account.allowances(self._door.now()).headers(style)

    def spend(self, tokens: int) -> None:
        """Count tokens."""
        self._account.spend(tokens, self._door.now())

    def begin(self) -> None:
        """The task that runs now answers it."""
        self._door.visits.begin(self.caller.key)

    def over(self) -> None:
        """It does no more."""
        self._door.visits.over(self.caller.key)

    def ended(self) -> AnsamblError | None:
        """Why it was cancelled."""
        return self._door.visits.reason()


_MISSING = text(
    "An API key is needed: send it as 'Authorization: Bearer KEY'. Whoever runs this Ansambl creates one with: "
    "ansambl keys create"
)
_UNKNOWN = text("This API key is not known here. Whoever runs this Ansambl lists them with: ansambl keys list")
_TORN = text("This API key is not whole: its last letters do not fit the others. Copy it again.")
_EXPIRED = text("This API key has expired. Whoever runs this Ansambl creates another with: ansambl keys create")
_REVOKED = text("This API key was revoked. Whoever runs this Ansambl creates another with: ansambl keys create")
_SESSION_OVER = text("Your session is over; sign in again with an API key.")


def _unknown(secret: str) -> Text:
    return _TORN if secret.startswith(SECRET_START) and not is_whole(secret) else _UNKNOWN


def _refused(reason: Text, key: str | None = None) -> UnauthorizedError:
    error = UnauthorizedError(reason)
    error.key = key
    return error
