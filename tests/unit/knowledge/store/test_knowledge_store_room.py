"""A disk without room is told as such: over HTTP it is a state of the machine, and no mistake of Ansambl's."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest

from ansambl.domain.errors import DataFolderError, DiskFullError
from ansambl.knowledge.store.database import KnowledgeDatabase


def test_what_finds_no_room_is_told_as_a_full_disk_and_all_is_well_with_room(tmp_path: Path) -> None:
    database = KnowledgeDatabase(tmp_path / "knowledge")

    def fill(connection: sqlite3.Connection) -> None:
        # SQLite's own limit fails as a full disk does: with the same code, in the midst of a transaction.
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        connection.execute("CREATE TABLE filling (x)")
        connection.execute("INSERT INTO filling VALUES (?)", ["x" * 1_000_000])

    def free(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1000000")

    try:
        with pytest.raises(DiskFullError, match="no room left") as told:
            database.write(fill)
        assert (told.value.status, told.value.code) == (503, "disk_full")
        database.write(free)
        database.write(lambda connection: connection.execute("CREATE TABLE filling (x)"))
    finally:
        database.close()


@pytest.mark.parametrize(("code", "is_full"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EACCES, False)])
def test_what_the_system_says_is_told_by_its_code(tmp_path: Path, code: int, is_full: bool) -> None:
    database = KnowledgeDatabase(tmp_path / "knowledge")

    def fail(_: sqlite3.Connection) -> None:
        raise OSError(code, "of the disk")

    try:
        with pytest.raises(DataFolderError) as told:
            database.write(fail)
        assert isinstance(told.value, DiskFullError) is is_full
    finally:
        database.close()
