"""Saved roles on a real SQLite file: versions, conflicts, removal and restoring."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansambl.app.data_folder import MIGRATIONS
from ansambl.domain.errors import RequestError
from ansambl.foundation.sqlite import Database, Migration
from ansambl.roles.store import (
    Action,
    Remove,
    Rename,
    Save,
    SavedRoles,
    UnknownSavedError,
    VersionConflictError,
)

SCHEMA = [Migration(1, "saved_roles", (MIGRATIONS / "0004_saved_roles.sql").read_text(encoding="utf-8"))]


class Times:
    """A clock that goes on by one second at each look."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        self.seconds += 1
        return self.seconds

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(tmp_path / "ansambl.db", SCHEMA)
    yield found
    found.close()


@pytest.fixture
def store(database: Database) -> SavedRoles:
    return SavedRoles(database, Times())


def test_every_version_is_kept_with_what_it_changed(store: SavedRoles) -> None:
    store.apply([Save("roles", "поэт", {"instruction": "Rhyme.", "top_k": 3})])
    store.apply([Save("roles", "поэт", {"instruction": "Rhyme well.", "temperature": 0.5}, base=1)])
    (current,) = store.all()
    assert (current.name, current.version, current.time) == ("поэт", 2, 2.0)
    assert current.fields == {"instruction": "Rhyme well.", "temperature": 0.5}
    first, second = store.versions("roles", "поэт")
    assert (first.number, first.action, first.fields) == (1, Action.CREATED, {"instruction": "Rhyme.", "top_k": 3})
    assert (second.action, set(second.changed)) == (Action.CHANGED, {"instruction", "top_k", "temperature"})
    # A role and an ensemble are two things, whatever they are called.
    with pytest.raises(UnknownSavedError, match="No ensemble 'поэт' is saved"):
        store.versions("ensembles", "поэт")


def test_saving_the_same_again_makes_no_version(store: SavedRoles) -> None:
    for _ in range(3):
        store.apply([Save("roles", "a", {"top_k": 1})])
    assert [one.number for one in store.versions("roles", "a")] == [1]


def test_a_change_of_an_older_version_is_refused(store: SavedRoles) -> None:
    store.apply([Save("roles", "a", {"top_k": 1}, base=0)])
    store.apply([Save("roles", "a", {"top_k": 2}, base=1)])
    with pytest.raises(VersionConflictError, match="at version 2, your change began at version 1") as caught:
        store.apply([Save("roles", "a", {"top_k": 9}, base=1)])
    assert caught.value.status == 409
    with pytest.raises(VersionConflictError, match="saved already"):
        store.apply([Save("roles", "a", {"top_k": 9}, base=0)])
    with pytest.raises(VersionConflictError):
        store.apply([Remove("roles", "a", base=1)])
    store.apply([Remove("roles", "a", base=2)])
    with pytest.raises(VersionConflictError, match="not saved any more"):
        store.apply([Save("roles", "a", {"top_k": 9}, base=2)])
    assert store.all() == ()


def test_all_changes_are_kept_or_none(store: SavedRoles) -> None:
    store.apply([Save("roles", "a", {"top_k": 1})])
    with pytest.raises(UnknownSavedError):
        store.apply([Save("roles", "b", {}), Remove("roles", "a"), Remove("roles", "nobody")])
    assert [(one.name, one.removed) for one in store.all(removed=True)] == [("a", False)]


def test_what_was_removed_can_be_restored(store: SavedRoles) -> None:
    store.apply([Save("ensembles", "pair", {"roles": ["brief", "coder"]})])
    store.apply([Remove("ensembles", "pair")])
    assert store.all() == ()
    assert [one.name for one in store.all(removed=True)] == ["pair"]
    with pytest.raises(UnknownSavedError):
        store.apply([Remove("ensembles", "pair")])
    old = store.version("ensembles", "pair", 1)
    store.apply([Save("ensembles", "pair", old.fields, base=0, action=Action.RESTORED)])
    assert [one.action for one in store.versions("ensembles", "pair")] == ["created", "removed", "restored"]
    assert store.all()[0].fields == {"roles": ["brief", "coder"]}
    with pytest.raises(UnknownSavedError, match="no version 9; its versions are 1 to 3"):
        store.version("ensembles", "pair", 9)


def test_a_new_name_takes_the_versions_along(store: SavedRoles) -> None:
    store.apply([Save("roles", "a", {"top_k": 1}), Save("roles", "b", {})])
    store.apply([Rename("roles", "a", "c", base=1)])
    assert [one.name for one in store.all()] == ["c", "b"]
    assert [one.action for one in store.versions("roles", "c")] == ["created", "renamed"]
    with pytest.raises(RequestError, match="'b' was saved before"):
        store.apply([Rename("roles", "c", "b")])


def test_it_is_there_after_a_restart(tmp_path: Path, database: Database) -> None:
    SavedRoles(database).apply([Save("roles", "a", {"stop": ["\n", "\u2028"], "instruction": "Ещё"})])
    database.close()
    again = Database(tmp_path / "ansambl.db", SCHEMA)
    try:
        assert SavedRoles(again).all()[0].fields == {"stop": ["\n", "\u2028"], "instruction": "Ещё"}
    finally:
        again.close()
