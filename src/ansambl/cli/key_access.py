"""API keys for commands: of the running Ansambl, or in its data folder while none runs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ansambl.cli.resting_data import on_path, reached

if TYPE_CHECKING:
    from ansambl.app.configuration.settings_file import LoadedSettings
    from ansambl.app.keys.desk import KeyDesk
    from ansambl.cli.client import Client
    from ansambl.foundation.paths import DataPaths
    from ansambl.foundation.sqlite import Database

Document = dict[str, Any]


class KeyAccess(Protocol):
    """The same calls either way; documents are those of the admin API. All raise `AnsamblError` with one line."""

    def keys(self, *, all_of_them: bool) -> list[Document]:
        """The keys that were not revoked, or all of them."""
        ...

    def key(self, wanted: str) -> Document:
        """One that was not revoked, by its id or name."""
        ...

    def create(self, wanted: Mapping[str, Any]) -> Document:
        """Make one, and return it with its secret."""
        ...

    def revoke(self, wanted: str) -> Document:
        """Revoke one, by its id or name."""
        ...


class RunningKeys:
    """`KeyAccess` to the running Ansambl."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def keys(self, *, all_of_them: bool) -> list[Document]:
        """The keys."""
        return list(self._client.admin("GET", "/keys?revoked=true" if all_of_them else "/keys")["keys"])

    def key(self, wanted: str) -> Document:
        """One of them."""
        return self._client.admin("GET", _path(wanted))

    def create(self, wanted: Mapping[str, Any]) -> Document:
        """Make one."""
        return self._client.admin("POST", "/keys", wanted)

    def revoke(self, wanted: str) -> Document:
        """Revoke one."""
        return self._client.admin("DELETE", _path(wanted))


class StoppedKeys:
    """`KeyAccess` to the data folder of an Ansambl that does not run."""

    def __init__(self, desk: KeyDesk, now: float) -> None:
        self._desk = desk
        self._now = now

    def keys(self, *, all_of_them: bool) -> list[Document]:
        """The keys."""
        from ansambl.app.keys.desk import key_document

        found = [one for one in self._desk.all_keys() if all_of_them or one.revoked is None]
        return [key_document(one, self._now).model_dump() for one in found]

    def key(self, wanted: str) -> Document:
        """One of them."""
        from ansambl.access.keys import find_key
        from ansambl.app.keys.desk import key_document

        return key_document(find_key(self._desk.all_keys(), wanted), self._now).model_dump()

    def create(self, wanted: Mapping[str, Any]) -> Document:
        """Make one."""
        from ansambl.api.key_schemas import CreateKeyRequest
        from ansambl.app.keys.desk import key_document

        key, secret = self._desk.create(CreateKeyRequest(**wanted))
        return {"key": key_document(key, self._now).model_dump(), "secret": secret}

    def revoke(self, wanted: str) -> Document:
        """Revoke one. What was remembered of it goes at the next start."""
        from dataclasses import replace

        from ansambl.app.keys.desk import key_document

        return key_document(replace(self._desk.revoke(wanted), revoked=self._now), self._now).model_dump()


def _path(wanted: str) -> str:
    return f"/keys/{on_path(wanted)}"


def key_access(config: Path | None, *, changes: bool) -> AbstractContextManager[KeyAccess]:
    """Reach the keys. Raises as `reached`."""
    return reached(config, changes=changes, running=RunningKeys, resting=_stopped)


def _stopped(loaded: LoadedSettings, paths: DataPaths, database: Database) -> KeyAccess:
    from ansambl.app.keys.stopped import stopped_desk
    from ansambl.foundation.clock import RealClock

    clock = RealClock()
    return StoppedKeys(stopped_desk(loaded, paths, database, clock), clock.now())
