"""What can be asked about API keys and done to them, in the documents of the admin API."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansambl.access.keys import (
    ApiKey,
    checked_name,
    digest_of,
    find_key,
    new_id,
    new_secret,
    parse_class,
    parse_endpoints,
    shown_of,
)
from ansambl.access.limits import Allowances
from ansambl.access.rates import parse_life, parse_rates
from ansambl.access.store import KeyStore
from ansambl.api.key_schemas import CreateKeyRequest, KeyDocument
from ansambl.domain.scheduling import RequestClass
from ansambl.foundation.clock import Clock


class KeyDesk:
    """Makes and revokes the keys of one store. Calls block.

    `own_name` gives the own name of the role, ensemble, model or LoRA adapter that somebody writes.
    """

    def __init__(self, store: KeyStore, own_name: Callable[[str], str], clock: Clock) -> None:
        self._store = store
        self._own_name = own_name
        self._clock = clock

    def all_keys(self) -> tuple[ApiKey, ...]:
        """All of them, also those that were revoked."""
        return self._store.read()

    def create(self, wanted: CreateKeyRequest) -> tuple[ApiKey, str]:
        """Make a key; returns it with its secret, which is kept nowhere.

        Raises:
            UnknownNameError: a role, ensemble or model is not there; names the nearest.
            UsageError: it cannot be made so, or its name is taken.
        """
        now, key, secret = self._clock.now(), new_id(), new_secret()
        life = parse_life(wanted.expires) if wanted.expires is not None else None
        made = ApiKey(
            key, f"key-{key}" if wanted.name is None else checked_name(wanted.name), digest_of(secret),
            shown_of(secret), frozenset(map(self._own_name, wanted.roles or ())) or None,
            parse_endpoints(wanted.endpoints or ()),
            RequestClass.INTERACTIVE if wanted.request_class is None else parse_class(wanted.request_class),
            parse_rates(wanted.limit), parse_rates(wanted.tokens), now, None if life is None else now + life,
        )  # fmt: skip
        self._store.add(made)
        return made, secret

    def revoke(self, wanted: str) -> ApiKey:
        """Revoke a key, by its id or name; returns it as it was.

        Raises:
            UnknownKeyError: there is none that was not revoked.
        """
        found = find_key(self._store.read(), wanted)
        self._store.revoke(found.id, self._clock.now())
        return found


def key_document(key: ApiKey, now: float, left: Allowances | None = None) -> KeyDocument:
    """A key as the admin API tells it; `left` is what it may still use."""
    requests, tokens = (left.requests, left.tokens) if left is not None else (None, None)
    return KeyDocument(
        id=key.id, name=key.name, shown=f"{key.shown}…",
        state="revoked" if key.revoked is not None else "expired" if key.expired(now) else "valid",
        names=None if key.names is None else sorted(key.names), endpoints=sorted(one.value for one in key.endpoints),
        request_class=key.default_class.value, limit=_written(key.requests), tokens=_written(key.tokens),
        created=key.created, expires=key.expires, revoked=key.revoked, last_used=key.last_used,
        requests_left=requests.remaining if requests is not None else None,
        tokens_left=tokens.remaining if tokens is not None else None,
    )  # fmt: skip


def _written(rates: Iterable[object]) -> list[str]:
    return [str(one) for one in rates]
