"""Saved roles and ensembles, with every version of them. Fields are kept as they were written."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ansambl.domain.errors import RequestError
from ansambl.domain.text import text
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.sqlite import Database
from ansambl.roles.catalog import Kind
from ansambl.roles.field_checks import Fields


class Action(StrEnum):
    """What made a version."""

    CREATED = "created"
    CHANGED = "changed"
    REMOVED = "removed"
    RESTORED = "restored"
    RENAMED = "renamed"
    IMPORTED = "imported"


class VersionConflictError(RequestError):
    """Somebody else changed it in the meantime."""

    status = 409
    code = "version_conflict"


class UnknownSavedError(RequestError):
    """Nothing of this name, or no version of this number, was ever saved."""

    status = 404
    code = "not_saved"


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved role or ensemble: its current version. `time` is in seconds since the epoch."""

    kind: Kind
    name: str
    version: int
    time: float
    fields: Mapping[str, Any]
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Version:
    """One version; `changed` names the keys that differ from the version before."""

    number: int
    time: float
    action: Action
    changed: tuple[str, ...]
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Save:
    """Keep `fields` as the newest version.

    `base` is the version that they were made from: None does not care, 0 is for what must not exist yet.
    """

    kind: Kind
    name: str
    fields: Fields
    base: int | None = None
    action: Action | None = None


@dataclass(frozen=True, slots=True)
class Remove:
    """Take it out of use. Its versions stay."""

    kind: Kind
    name: str
    base: int | None = None


@dataclass(frozen=True, slots=True)
class Rename:
    """Give it another name; its versions go with it."""

    kind: Kind
    name: str
    new_name: str
    base: int | None = None


Change = Save | Remove | Rename
"""What can be done to a saved role or ensemble."""


class SavedRoles:
    """The saved roles and ensembles in Ansambl's database. Calls block."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or RealClock()

    def all(self, *, removed: bool = False) -> tuple[Saved, ...]:
        """Each at its current version, in the order in which they were first saved; the removed ones too if asked."""
        rows = self._database.read(
            "SELECT kind, name, current, removed, time, fields FROM saved_things "
            "JOIN saved_versions ON thing = id AND number = current WHERE removed <= ? ORDER BY id",
            (int(removed),),
        )
        return tuple(
            Saved(
                row["kind"], row["name"], row["current"], row["time"], json.loads(row["fields"]), bool(row["removed"])
            )
            for row in rows
        )

    def versions(self, kind: Kind, name: str) -> tuple[Version, ...]:
        """Every version, the oldest first; of what was removed too.

        Raises:
            UnknownSavedError: nothing of this name was ever saved.
        """
        rows = self._database.read(
            "SELECT number, time, action, changed, fields FROM saved_versions JOIN saved_things ON thing = id "
            "WHERE kind = ? AND name = ? ORDER BY number",
            (kind, name),
        )
        if not rows:
            raise _unknown(kind, name)
        return tuple(
            Version(row["number"], row["time"], Action(row["action"]), tuple(json.loads(row["changed"])),
                    json.loads(row["fields"]))
            for row in rows
        )  # fmt: skip

    def version(self, kind: Kind, name: str, number: int) -> Version:
        """One version.

        Raises:
            UnknownSavedError: there is no such version.
        """
        versions = self.versions(kind, name)
        for one in versions:
            if one.number == number:
                return one
        raise UnknownSavedError(
            text("'{name}' has no version {number}; its versions are 1 to {last}.", name=name, number=number,
                 last=versions[-1].number),
            param="version",
        )  # fmt: skip

    def apply(self, changes: Sequence[Change]) -> None:
        """Do all of `changes`, or none of them.

        Raises:
            VersionConflictError: something is no more at the version that a change was made from.
            UnknownSavedError: what is to be removed or renamed is not there.
            RequestError: the new name is taken by another saved one.
        """
        now = self._clock.now()
        self._database.transaction(lambda connection: _Writer(connection, now).apply(changes))


class _Writer:
    """Writes changes inside one transaction."""

    def __init__(self, connection: sqlite3.Connection, now: float) -> None:
        self._connection = connection
        self._now = now

    def apply(self, changes: Sequence[Change]) -> None:
        for change in changes:
            found = self._find(change.kind, change.name)
            current = found["current"] if found is not None and not found["removed"] else 0
            if change.base is not None and change.base != current:
                raise _conflict(change.name, change.base, current)
            if isinstance(change, Save):
                self._save(change, found)
                continue
            if found is None or not current:
                raise _unknown(change.kind, change.name)
            if isinstance(change, Remove):
                self._connection.execute("UPDATE saved_things SET removed = 1 WHERE id = ?", (found["id"],))
                self._add_version(found, Action.REMOVED, (), found["fields"])
            else:
                self._rename(change, found)

    def _find(self, kind: Kind, name: str) -> sqlite3.Row | None:
        query = (
            "SELECT id, current, removed, fields FROM saved_things "
            "JOIN saved_versions ON thing = id AND number = current WHERE kind = ? AND name = ?"
        )
        found: sqlite3.Row | None = self._connection.execute(query, (kind, name)).fetchone()
        return found

    def _save(self, change: Save, found: sqlite3.Row | None) -> None:
        fields = json.dumps(change.fields, ensure_ascii=False)
        if found is None:
            row = self._connection.execute(
                "INSERT INTO saved_things (kind, name, current) VALUES (?, ?, 1) RETURNING id",
                (change.kind, change.name),
            ).fetchone()
            self._write(row["id"], 1, change.action or Action.CREATED, tuple(change.fields), fields)
            return
        before = json.loads(found["fields"])
        changed = tuple(
            one for one in dict.fromkeys((*before, *change.fields)) if before.get(one) != change.fields.get(one)
        )
        # What is the same already needs no further version.
        if found["removed"] or changed:
            self._connection.execute("UPDATE saved_things SET removed = 0 WHERE id = ?", (found["id"],))
            action = change.action or (Action.CREATED if found["removed"] else Action.CHANGED)
            self._add_version(found, action, changed, fields)

    def _rename(self, change: Rename, found: sqlite3.Row) -> None:
        if self._find(change.kind, change.new_name) is not None:
            raise RequestError(
                text("'{name}' was saved before; choose another name, or restore that one.", name=change.new_name),
                param="name",
            )
        self._connection.execute("UPDATE saved_things SET name = ? WHERE id = ?", (change.new_name, found["id"]))
        self._add_version(found, Action.RENAMED, (), found["fields"])

    def _add_version(self, found: sqlite3.Row, action: Action, changed: Sequence[str], fields: str) -> None:
        number = found["current"] + 1
        self._write(found["id"], number, action, changed, fields)
        self._connection.execute("UPDATE saved_things SET current = ? WHERE id = ?", (number, found["id"]))

    def _write(self, thing: int, number: int, action: Action, changed: Sequence[str], fields: str) -> None:
        self._connection.execute(
            "INSERT INTO saved_versions (thing, number, time, action, changed, fields) VALUES (?, ?, ?, ?, ?, ?)",
            (thing, number, self._now, action.value, json.dumps(list(changed), ensure_ascii=False), fields),
        )


def _unknown(kind: Kind, name: str) -> UnknownSavedError:
    shown = name[:100]
    if kind == "roles":
        return UnknownSavedError(text("No role '{name}' is saved; see: ansambl roles list", name=shown), param="name")
    return UnknownSavedError(text("No ensemble '{name}' is saved; see: ansambl roles list", name=shown), param="name")


def _conflict(name: str, base: int, current: int) -> VersionConflictError:
    if current == 0:
        return VersionConflictError(
            text("'{name}' is not saved any more, so version {base} of it cannot be changed.", name=name, base=base)
        )
    if base == 0:
        return VersionConflictError(
            text("'{name}' is saved already (version {current}); change that one.", name=name, current=current)
        )
    return VersionConflictError(
        text(
            "'{name}' was changed in the meantime: it is at version {current}, your change began at version {base}. "
            "Read it again, then change it.",
            name=name, current=current, base=base,
        )
    )  # fmt: skip
