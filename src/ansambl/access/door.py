"""Where every request is let in or refused, before its body is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ansambl.access.limits import Headers, HeaderStyle
from ansambl.domain.access import OWNER, Caller, Endpoint
from ansambl.domain.errors import AnsamblError


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brings: `secret` is a key from its headers, `cookie` a session's; None where there is none.

    `local` tells whether it comes from this machine: its sender's address is loopback, and no proxy says otherwise.
    """

    secret: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)
    local: bool = True


class Visit(Protocol):
    """One request that was let in, until its answer is over. Whoever answers it says `begin`, and `over` at its end."""

    @property
    def caller(self) -> Caller:
        """Who asks."""
        ...

    def headers(self, style: HeaderStyle) -> Headers:
        """What the answer says of the caller's limits."""
        ...

    def spend(self, tokens: int) -> None:
        """Count tokens that were read or written for it."""
        ...

    def begin(self) -> None:
        """The task that runs now answers it: it is cancelled when the caller's key is revoked."""
        ...

    def over(self) -> None:
        """That task does no more for it."""
        ...

    def ended(self) -> AnsamblError | None:
        """Why that task was cancelled, None where the reason is another; it may go on to say so."""
        ...


class Door(Protocol):
    """Lets requests in."""

    @property
    def has_keys(self) -> bool:
        """Whether a key is needed at all."""
        ...

    def known(self, credentials: Credentials) -> Caller | None:
        """Who asks, None where that is nobody who would be let in. Counts nothing."""
        ...

    def is_proven(self, credentials: Credentials) -> bool:
        """Whether a request comes from the owner for sure, and not only from this machine while there are no keys."""
        ...

    def admit(self, credentials: Credentials, endpoint: Endpoint | None) -> Visit:
        """Let a request in that wants `endpoint`; None is what everybody with any key may have (lists of names).

        Raises:
            UnauthorizedError: it needs a key, or its key is unknown, revoked or expired.
            ForbiddenError: its key may not do this.
            AnsamblError: a limit of its key is reached.
        """
        ...


class OwnersVisit:
    """A visit of the owner: there is nothing to count."""

    caller = OWNER

    def headers(self, style: HeaderStyle) -> Headers:  # noqa: ARG002 - one signature
        """There are no limits."""
        return []

    def spend(self, tokens: int) -> None:
        """There are no limits."""

    def begin(self) -> None:
        """Nothing ends it."""

    def over(self) -> None:
        """Nothing ends it."""

    def ended(self) -> AnsamblError | None:
        """Nothing ends it."""
        return None


class OpenDoor:
    """The door while there are no keys at all: whoever reaches it is the owner."""

    has_keys = False

    def known(self, credentials: Credentials) -> Caller | None:  # noqa: ARG002 - one signature
        """Everybody is the owner."""
        return OWNER

    def is_proven(self, credentials: Credentials) -> bool:  # noqa: ARG002 - one signature
        """Everybody is the owner."""
        return True

    def admit(self, credentials: Credentials, endpoint: Endpoint | None) -> Visit:  # noqa: ARG002 - one signature
        """Let everybody in."""
        return OWNERS_VISIT


OWNERS_VISIT = OwnersVisit()
"""It counts nothing, so one does for all."""
