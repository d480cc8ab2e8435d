"""Where every request is let in or refused, before its body is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ansambl.domain.access import OWNER, Caller, Endpoint

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request brings: `secret` is a key from its headers, `cookie` a session's; None where there is none.

    `local` tells whether it comes from this machine: its sender's address is loopback, and no proxy says otherwise.
    """

    secret: str | None = field(default=None, repr=False)
    cookie: str | None = field(default=None, repr=False)
    local: bool = True


class Visit(Protocol):
    """One request that was let in, until its answer is over."""

    @property
    def caller(self) -> Caller:
        """Who asks."""
        ...

    def headers(self) -> Headers:
        """What the answer says of the caller's limits."""
        ...

    def spend(self, tokens: int) -> None:
        """Count tokens that were read or written for it."""
        ...


class Door(Protocol):
    """Lets requests in."""

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

    def headers(self) -> Headers:
        """There are no limits."""
        return ()

    def spend(self, tokens: int) -> None:
        """There are no limits."""


class OpenDoor:
    """The door while there are no keys at all: whoever reaches it is the owner."""

    def admit(self, credentials: Credentials, endpoint: Endpoint | None) -> Visit:  # noqa: ARG002 - one signature
        """Let everybody in."""
        return _OWNER_VISITS


_OWNER_VISITS = OwnersVisit()
