"""Roles and ensembles for commands: of the running Ansambl, or in its data folder while none runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ansambl.cli import resting_data
from ansambl.cli.resting_data import on_path
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.configuration.settings_file import LoadedSettings
    from ansambl.app.roles.desk import RoleDesk
    from ansambl.cli.client import Client
    from ansambl.foundation.paths import DataPaths
    from ansambl.foundation.sqlite import Database
    from ansambl.roles.catalog import Kind

KINDS: tuple[Kind, ...] = ("roles", "ensembles")
Document = dict[str, Any]


class Access(Protocol):
    """The same calls either way; documents are those of the admin API. All raise `AnsamblError` with one line."""

    def entries(self, kind: Kind) -> list[Document]:
        """All roles or all ensembles."""
        ...

    def save(self, kind: Kind, name: str, fields: Mapping[str, Any], base: int | None) -> Document:
        """Keep one, and return it."""
        ...

    def remove(self, kind: Kind, name: str) -> None:
        """Take one that was saved out of use."""
        ...

    def rename(self, kind: Kind, name: str, new_name: str) -> None:
        """Give one that was saved another name."""
        ...

    def restore(self, kind: Kind, name: str, version: int) -> Document:
        """Put an earlier version into effect again, and return it."""
        ...

    def versions(self, kind: Kind, name: str) -> list[Document]:
        """Every version that was saved."""
        ...

    def export(self, names: Sequence[str] | None) -> Document:
        """The tables of what is named, or of all that is not as shipped."""
        ...

    def import_set(self, document: Mapping[str, Any], *, dry_run: bool) -> Document:
        """Save a whole set, or nothing."""
        ...


class RunningRoles:
    """`Access` to the running Ansambl."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def entries(self, kind: Kind) -> list[Document]:
        """All roles or all ensembles."""
        return list(self._client.admin("GET", f"/{kind}")["entries"])

    def save(self, kind: Kind, name: str, fields: Mapping[str, Any], base: int | None) -> Document:
        """Keep one, and return it."""
        return self._client.admin("PUT", _path(kind, name), {"fields": dict(fields), "base_version": base})

    def remove(self, kind: Kind, name: str) -> None:
        """Take one that was saved out of use."""
        self._client.admin("DELETE", _path(kind, name))

    def rename(self, kind: Kind, name: str, new_name: str) -> None:
        """Give one that was saved another name."""
        self._client.admin("POST", f"{_path(kind, name)}/rename", {"name": new_name})

    def restore(self, kind: Kind, name: str, version: int) -> Document:
        """Put an earlier version into effect again, and return it."""
        return self._client.admin("POST", f"{_path(kind, name)}/restore", {"version": version})

    def versions(self, kind: Kind, name: str) -> list[Document]:
        """Every version that was saved."""
        return list(self._client.admin("GET", f"{_path(kind, name)}/versions")["versions"])

    def export(self, names: Sequence[str] | None) -> Document:
        """The tables of what is named, or of all that is not as shipped."""
        return self._client.admin("POST", "/roles/export", {"names": None if names is None else list(names)})

    def import_set(self, document: Mapping[str, Any], *, dry_run: bool) -> Document:
        """Save a whole set, or nothing."""
        return self._client.admin("POST", "/roles/import", {"document": dict(document), "dry_run": dry_run})


class StoppedRoles:
    """`Access` to the data folder of an Ansambl that does not run."""

    def __init__(self, desk: RoleDesk) -> None:
        self._desk = desk

    def entries(self, kind: Kind) -> list[Document]:
        """All roles or all ensembles."""
        return [one.model_dump() for one in self._desk.entries(kind, speak).entries]

    def save(self, kind: Kind, name: str, fields: Mapping[str, Any], base: int | None) -> Document:
        """Keep one, and return it."""
        self._desk.save(kind, name, fields, base)
        return self._entry(kind, name)

    def remove(self, kind: Kind, name: str) -> None:
        """Take one that was saved out of use."""
        self._desk.remove(kind, name, None)

    def rename(self, kind: Kind, name: str, new_name: str) -> None:
        """Give one that was saved another name."""
        self._desk.rename(kind, name, new_name, None)

    def restore(self, kind: Kind, name: str, version: int) -> Document:
        """Put an earlier version into effect again, and return it."""
        self._desk.restore(kind, name, version, None)
        return self._entry(kind, name)

    def versions(self, kind: Kind, name: str) -> list[Document]:
        """Every version that was saved."""
        return [one.model_dump() for one in self._desk.versions(kind, name).versions]

    def export(self, names: Sequence[str] | None) -> Document:
        """The tables of what is named, or of all that is not as shipped."""
        return self._desk.export(names).model_dump()

    def import_set(self, document: Mapping[str, Any], *, dry_run: bool) -> Document:
        """Save a whole set, or nothing."""
        return self._desk.import_set(document, dry_run=dry_run).model_dump()

    def _entry(self, kind: Kind, name: str) -> Document:
        return self._desk.entry(kind, name, speak).model_dump()


def _path(kind: Kind, name: str) -> str:
    return f"/{kind}/{on_path(name)}"


def access(config: Path | None, *, changes: bool) -> AbstractContextManager[Access]:
    """Reach the roles. Raises as `resting_data.reached`."""
    return resting_data.reached(config, changes=changes, running=RunningRoles, resting=_stopped)


def _stopped(loaded: LoadedSettings, paths: DataPaths, database: Database) -> Access:  # noqa: ARG001 - one signature
    from ansambl.app.roles.book import RoleBook
    from ansambl.app.roles.desk import RoleDesk
    from ansambl.roles.store import SavedRoles

    return StoppedRoles(RoleDesk(RoleBook(loaded, SavedRoles(database))))


def find(reached: Access, name: str) -> tuple[Kind, Document] | None:
    """The role or ensemble of this name, or of this alias; None when there is none."""
    from ansambl.domain.names import folded

    by_alias: tuple[Kind, Document] | None = None
    for kind in KINDS:
        for one in reached.entries(kind):
            if one["name"] == name:
                return kind, one
            if folded(name) in {folded(spelling) for spelling in (one["name"], *one["aliases"])}:
                by_alias = by_alias or (kind, one)
    return by_alias


def need(reached: Access, name: str) -> tuple[Kind, Document]:
    """The role or ensemble of this name, or of this alias.

    Raises:
        UsageError: there is none; names the nearest.
    """
    from ansambl.domain.errors import UsageError
    from ansambl.domain.names import nearest_names
    from ansambl.domain.text import text

    found = find(reached, name)
    if found is not None:
        return found
    known = [one["name"] for kind in KINDS for one in reached.entries(kind)]
    close = nearest_names(name, known)
    if close:
        raise UsageError(
            text("there is no role or ensemble '{name}'; nearest: {nearest}", name=name, nearest=", ".join(close))
        )
    raise UsageError(text("there is no role or ensemble '{name}'; see: ansambl roles list", name=name))
