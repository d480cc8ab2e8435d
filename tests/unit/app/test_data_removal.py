"""Copying and removing the data folder: only what is ours, never while it is used."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ansambl.app.data_folder import AlreadyRunningError, DataLock, open_database, prepare_folder
from ansambl.app.data_removal import back_up, plan_removal, remove
from ansambl.domain.errors import DataFolderError
from ansambl.foundation.paths import DataPaths


@pytest.fixture
def paths(tmp_path: Path) -> DataPaths:
    found = DataPaths(tmp_path / "data")
    prepare_folder(found)
    with DataLock(found):
        open_database(found).close()
    (found.models / "m.gguf").write_bytes(b"x" * 1000)
    return found


def test_all_that_is_ours_is_removed(paths: DataPaths) -> None:
    plan = plan_removal(paths)
    assert {one.path.name: one.size for one in plan}["models"] == 1000
    assert remove(paths, plan) == []
    assert not paths.root.exists()


def test_saved_conversations_go_and_are_no_part_of_a_backup(paths: DataPaths, tmp_path: Path) -> None:
    paths.conversations.mkdir()
    (paths.conversations / "one.state").write_bytes(b"x" * 500)
    copied = back_up(paths, None, tmp_path / "copy")
    assert [one.name for one in copied] == [paths.database.name]
    plan = plan_removal(paths)
    assert {one.path.name: one.size for one in plan}["conversations"] == 500
    remove(paths, plan)
    assert not paths.conversations.exists()


def test_knowledge_goes_whole_and_its_database_is_a_part_of_a_backup(paths: DataPaths, tmp_path: Path) -> None:
    (paths.knowledge / "index" / "space").mkdir(parents=True)
    (paths.knowledge / "index" / "space" / "segment").write_bytes(b"x" * 500)
    with closing(sqlite3.connect(paths.knowledge / "knowledge.db")) as used, used:
        used.execute("CREATE TABLE t (x)")
        used.execute("INSERT INTO t VALUES ('kept')")
        copied = back_up(paths, None, tmp_path / "copy")
    assert [one.relative_to(tmp_path / "copy").as_posix() for one in copied] == ["ansambl.db", "knowledge/knowledge.db"]
    assert not (tmp_path / "copy" / "knowledge" / "index").exists()
    plan = plan_removal(paths)
    assert {one.path.name: one.size for one in plan}["knowledge"] > 500
    assert remove(paths, plan) == []


def test_what_is_not_ours_is_kept(paths: DataPaths) -> None:
    own = paths.root / "letters.txt"
    own.write_text("mine")
    assert remove(paths, plan_removal(paths)) == [own]
    assert own.read_text() == "mine"


def test_a_link_is_removed_and_not_what_it_leads_to(paths: DataPaths, tmp_path: Path) -> None:
    other = tmp_path / "big-disk"
    other.mkdir()
    (other / "precious").write_text("x")
    (paths.models / "m.gguf").unlink()
    paths.models.rmdir()
    paths.models.symlink_to(other)
    remove(paths, plan_removal(paths))
    assert (other / "precious").exists()


def test_never_while_it_is_used(paths: DataPaths) -> None:
    with DataLock(paths), pytest.raises(AlreadyRunningError):
        plan_removal(paths)
    plan = plan_removal(paths)
    with DataLock(paths), pytest.raises(AlreadyRunningError):
        remove(paths, plan)
    assert (paths.models / "m.gguf").exists()


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_that_is_not_ours_is_refused(tmp_path: Path, exists: bool) -> None:
    folder = tmp_path / "photos"
    if exists:
        (folder / "models").mkdir(parents=True)
    with pytest.raises(DataFolderError):
        plan_removal(DataPaths(folder))
    assert folder.exists() == exists


def test_a_backup_taken_while_the_database_is_in_use(paths: DataPaths, tmp_path: Path) -> None:
    configuration = tmp_path / "mine.toml"
    configuration.write_text("[gateway]\n")
    database = open_database(paths)
    try:
        database.transaction(lambda connection: connection.execute("CREATE TABLE t AS SELECT 42 AS x"))
        made = back_up(paths, configuration, tmp_path / "copy")
    finally:
        database.close()
    assert [one.name for one in made] == ["ansambl.db", "ansambl.toml"]
    with closing(sqlite3.connect(made[0])) as copy:
        assert copy.execute("SELECT x FROM t").fetchone() == (42,)
    assert made[0].stat().st_mode & 0o777 == 0o600


def test_nothing_to_back_up(tmp_path: Path) -> None:
    with pytest.raises(DataFolderError, match="nothing to back up"):
        back_up(DataPaths(tmp_path / "none"), None, tmp_path / "copy")
