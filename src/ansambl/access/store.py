"""Keeps API keys and what they have used in the database. Of secrets it sees digests only."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from ansambl.access.keys import ApiKey, UnknownKeyError
from ansambl.access.rates import Rate
from ansambl.domain.access import Endpoint
from ansambl.domain.errors import UsageError
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.foundation.sqlite import Database

Use = tuple[str, int, int, int]
"""Kind of limit, its period in seconds, a moment in microseconds, and how much was used around it."""


class NameTakenError(UsageError):
    """A key that is not revoked has this name."""

    status = 409
    code = "name_taken"


class KeyStore:
    """The keys of one database. Calls block."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read(self) -> tuple[ApiKey, ...]:
        """All of them in the order in which they were made, also those that were revoked."""
        return tuple(_key(row) for row in self._database.read("SELECT * FROM api_keys ORDER BY created, id"))

    def has_usable(self, now: float) -> bool:
        """Whether a key lets anybody in at this moment."""
        return any(one.usable(now) for one in self.read())

    def add(self, key: ApiKey) -> None:
        """Keep a new key.

        Raises:
            NameTakenError: a key that is not revoked has its name, or its id was used already.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO api_keys"
                " (id, name, digest, shown, names, endpoints, class, requests, tokens, created, expires)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key.id, key.name, key.digest, key.shown,
                    None if key.names is None else json.dumps(sorted(key.names), ensure_ascii=False),
                    json.dumps(sorted(one.value for one in key.endpoints)), key.default_class.value,
                    _written(key.requests), _written(key.tokens), key.created, key.expires,
                ),
            )  # fmt: skip

        try:
            self._database.transaction(work)
        except sqlite3.IntegrityError:
            raise NameTakenError(
                text("there is a key '{name}' already; choose another name, or revoke it: ansambl keys revoke '{name}'",
                     name=key.name), param="name"
            ) from None  # fmt: skip

    def revoke(self, key: str, now: float) -> None:
        """Let a key, by its id, let nobody in from now on; what it used is forgotten.

        Raises:
            UnknownKeyError: there is none that is not revoked.
        """

        def work(connection: sqlite3.Connection) -> int:
            done = connection.execute("UPDATE api_keys SET revoked = ? WHERE id = ? AND revoked IS NULL", (now, key))
            connection.execute("DELETE FROM api_key_use WHERE key = ?", (key,))
            return done.rowcount

        if not self._database.transaction(work):
            raise UnknownKeyError(text("there is no key '{name}'; see: ansambl keys list", name=key[:100]))

    def use(self) -> Mapping[str, Sequence[Use]]:
        """By id, what was used of limits when it was last written."""
        found: defaultdict[str, list[Use]] = defaultdict(list)
        for row in self._database.read("SELECT key, kind, period, moment, amount FROM api_key_use"):
            found[row["key"]].append((row["kind"], row["period"], row["moment"], row["amount"]))
        return found

    def submit_use(self, used: Mapping[str, tuple[float | None, Sequence[Use]]]) -> None:
        """Write by and by, for each of these ids, when it was last used and what it used. Does not wait."""

        def work(connection: sqlite3.Connection) -> None:
            for key, (last_used, rows) in used.items():
                connection.execute("UPDATE api_keys SET last_used = ? WHERE id = ?", (last_used, key))
                connection.execute("DELETE FROM api_key_use WHERE key = ?", (key,))
                connection.executemany(
                    "INSERT INTO api_key_use (key, kind, period, moment, amount)"
                    " SELECT id, ?, ?, ?, ? FROM api_keys WHERE id = ? AND revoked IS NULL",
                    [(*one, key) for one in rows],
                )

        self._database.submit(work)


def _written(rates: Iterable[Rate]) -> str:
    return json.dumps([[one.period, one.amount] for one in rates])


def _rates(written: str) -> tuple[Rate, ...]:
    return tuple(Rate(int(period), int(amount)) for period, amount in json.loads(written))


def _key(row: sqlite3.Row) -> ApiKey:
    return ApiKey(
        row["id"], row["name"], bytes(row["digest"]), row["shown"],
        None if row["names"] is None else frozenset(json.loads(row["names"])),
        # One that a later version knows is not there for this one, which is safe: the key may do less.
        frozenset(Endpoint(one) for one in json.loads(row["endpoints"]) if one in set(Endpoint)),
        RequestClass(row["class"]), _rates(row["requests"]), _rates(row["tokens"]), row["created"], row["expires"],
        row["revoked"], row["last_used"],
    )  # fmt: skip
