"""API keys: what one is, how its secret looks, and what may stand in it. Pure, but for the chance in a secret.

Of a secret only its SHA-256 is kept. A slow hash with salt is for passwords, which people choose and which can be
guessed: it makes each guess dear. A secret here is 32 random bytes, and nobody guesses those however fast the hash is;
a slow one would only cost every request its milliseconds, and give a flood of false keys a lever.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field

from ansambl.access.rates import Rate
from ansambl.domain.access import ANSWERING, Caller, Endpoint
from ansambl.domain.errors import UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text

SECRET_START = "ansambl-"  # noqa: S105 - what all of them begin with is no secret
"""Every secret begins with it, so that people and scanners of leaks know one when they see it."""

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LETTERS = "23456789abcdefghjkmnpqrstuvwxyz"
_RANDOM_BYTES, _RANDOM_LETTERS, _CHECK_LETTERS, _ID_LENGTH = 32, 43, 6, 10
_SHOWN = 4
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class ApiKey:
    """One key as it is kept. Times are seconds since the epoch; None for never.

    `id` is no secret and is used only once: logs and what is remembered of a caller go by it. `digest` is that of its
    secret, `shown` the secret's first letters, by which people know it again. `names` are the roles, ensembles and
    models that it may use by their own names, None for all; who may use an ensemble may use it as a whole, with all
    that its roles are. `requests` and `tokens` are its limits, for one period each.
    """

    id: str
    name: str
    digest: bytes = field(repr=False)
    shown: str
    names: frozenset[str] | None = None
    endpoints: frozenset[Endpoint] = ANSWERING
    default_class: RequestClass = RequestClass.INTERACTIVE
    requests: tuple[Rate, ...] = ()
    tokens: tuple[Rate, ...] = ()
    created: float = 0.0
    expires: float | None = None
    revoked: float | None = None
    last_used: float | None = None

    @property
    def caller(self) -> Caller:
        """Who asks with it."""
        return Caller(self.id, self.default_class, self.names, self.endpoints)

    def usable(self, now: float) -> bool:
        """Whether it lets anybody in at this moment."""
        return self.revoked is None and not self.expired(now)

    def expired(self, now: float) -> bool:
        """Whether its time is over."""
        return self.expires is not None and now >= self.expires


def digest_of(secret: str) -> bytes:
    """What is kept of a secret, and what a secret is looked up by."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def new_secret() -> str:
    """A fresh secret: the mark of all of them, 32 random bytes in letters and digits, and a sum over those."""
    number = int.from_bytes(secrets.token_bytes(_RANDOM_BYTES), "big")
    letters = _in_letters(number, _RANDOM_LETTERS)
    return f"{SECRET_START}{letters}{_check(letters)}"


def new_id() -> str:
    """A fresh id. Letters that look like others are left out."""
    return "".join(secrets.choice(_ID_LETTERS) for _ in range(_ID_LENGTH))


def is_whole(secret: str) -> bool:
    """Whether a text has the form of a secret, its sum included. Tells a torn copy from a key that is not known."""
    letters = secret.removeprefix(SECRET_START)
    body, check = letters[:_RANDOM_LETTERS], letters[_RANDOM_LETTERS:]
    return secret.startswith(SECRET_START) and len(body) == _RANDOM_LETTERS and check == _check(body)


def shown_of(secret: str) -> str:
    """The first letters of a secret, as lists show it."""
    return secret[: len(SECRET_START) + _SHOWN]


def _check(letters: str) -> str:
    return _in_letters(zlib.crc32(letters.encode("utf-8", "surrogatepass")), _CHECK_LETTERS)


def _in_letters(number: int, length: int) -> str:
    found = ""
    for _ in range(length):
        number, place = divmod(number, len(_LETTERS))
        found = _LETTERS[place] + found
    return found


def checked_name(name: str) -> str:
    """A name for a key, without blanks around it.

    Raises:
        UsageError: it cannot be one.
    """
    name = name.strip()
    if not name or len(name) > _LONGEST_NAME or not name.isprintable():
        raise UsageError(
            text("'{name}' cannot be the name of a key; use 1 to {limit} printable characters.", name=name[:60],
                 limit=_LONGEST_NAME)
        )  # fmt: skip
    return name


def parse_endpoints(written: Iterable[str]) -> frozenset[Endpoint]:
    """Read what a key may do; what models answer where nothing is said.

    Raises:
        UsageError: one means nothing.
    """
    found = set()
    for one in written:
        try:
            found.add(Endpoint(one.strip().lower()))
        except ValueError:
            raise UsageError(
                text("'{endpoint}' is nothing that a key may do; it is one of: {known}.", endpoint=one[:60],
                     known=", ".join(each.value for each in Endpoint))
            ) from None  # fmt: skip
    return frozenset(found) or ANSWERING


def parse_class(written: str) -> RequestClass:
    """Read how urgent the requests of a key are.

    Raises:
        UsageError: it means nothing.
    """
    try:
        return RequestClass(written.strip().lower())
    except ValueError:
        raise UsageError(
            text("'{value}' is no class of requests; it is one of: {known}.", value=written[:60],
                 known=", ".join(one.value for one in RequestClass))
        ) from None  # fmt: skip


def find_key(keys: Iterable[ApiKey], wanted: str) -> ApiKey:
    """The key that is not revoked and has this id, else this name.

    Raises:
        UsageError: there is none; names the nearest.
    """
    valid = [one for one in keys if one.revoked is None]
    found = next((one for one in valid if one.id == wanted), None) or next(
        (one for one in valid if one.name == wanted), None
    )  # fmt: skip
    if found is not None:
        return found
    close = nearest_names(wanted, [one.name for one in valid])
    if close:
        raise UnknownKeyError(
            text("there is no key '{name}'; nearest: {nearest}", name=wanted[:100], nearest=", ".join(close))
        )
    raise UnknownKeyError(text("there is no key '{name}'; see: ansambl keys list", name=wanted[:100]))


class UnknownKeyError(UsageError):
    """No key that is not revoked has this id or name."""

    status = 404
    code = "unknown_key"
