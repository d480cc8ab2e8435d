"""The data folder: one running Ansambl each, a state that is never stale, a database that is never lost."""

import json
import os
import sqlite3
import subprocess
import sys

import pytest

from ansambl.app import data_folder
from ansambl.app.data_folder import AlreadyRunningError, DataLock, open_database, prepare_folder
from ansambl.app.running_state import new_token, read_state, write_state
from ansambl.domain.errors import DataFolderError
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import load_migrations

HOLDER = (
    "import sys, pathlib\n"
    "from ansambl.app.data_folder import DataLock\n"
    "from ansambl.foundation.paths import DataPaths\n"
    "with DataLock(DataPaths(pathlib.Path(sys.argv[1]))):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def paths(tmp_path):
    found = DataPaths(tmp_path / "data")
    prepare_folder(found)
    return found


@pytest.fixture
def holder(paths):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(paths.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout.readline() == b"held\n"
    yield child
    child.kill()
    child.communicate(timeout=10)


def test_a_second_process_is_refused_until_the_first_has_ended(paths, holder):
    with pytest.raises(AlreadyRunningError) as raised, DataLock(paths):
        pass
    assert "Another ansambl command" in str(raised.value)
    holder.kill()
    holder.wait(10)
    with DataLock(paths):
        assert paths.lock.stat().st_mode & 0o777 == 0o600
    with DataLock(paths):
        pass


def test_the_refusal_says_where_the_first_answers(paths, holder):
    write_state(paths, "127.0.0.1", 8484, "secret")
    with pytest.raises(AlreadyRunningError) as raised, DataLock(paths):
        pass
    assert "http://127.0.0.1:8484" in str(raised.value)
    assert str(os.getpid()) in str(raised.value)
    assert "secret" not in str(raised.value)


def test_refusals_leak_no_descriptor(paths, holder):
    def count():
        return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - numbers, not paths

    before = count()
    for _ in range(5):
        with pytest.raises(AlreadyRunningError), DataLock(paths):
            pass
    assert count() == before


def test_a_lock_that_cannot_be_opened_is_one_clear_line(paths):
    paths.lock.mkdir()
    with pytest.raises(DataFolderError) as raised, DataLock(paths):
        pass
    assert str(paths.root) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_state_is_private_and_read_again(paths):
    written = write_state(paths, "::1", 8484, "token")
    assert paths.state.stat().st_mode & 0o777 == 0o600
    assert read_state(paths) == written
    assert written.address == "http://[::1]:8484"
    assert "token" not in repr(written)
    assert abs(written.started - paths.state.stat().st_mtime) < 5, "seconds since the epoch, for people"


def test_a_state_of_a_process_that_is_gone_counts_for_nothing(paths):
    write_state(paths, "127.0.0.1", 8484, "token")
    state = json.loads(paths.state.read_text())
    for changes in ({"mark": state["mark"] - 5}, {"pid": 2**22 + 1}, {"pid": 1}, {"pid": -1}, {"pid": 10**30}):
        paths.state.write_text(json.dumps({**state, **changes}))
        assert read_state(paths) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"5", b"{}", b'{"pid":"x"}', b"\xff\xfe", b"[" * 100_000, b"\x00" * 99,
     b'{"pid":1e999,"started":1,"host":"h","port":1,"token":"t","version":"v","mark":1}'],
)  # fmt: skip
def test_a_damaged_state_counts_for_nothing(paths, content):
    assert read_state(paths) is None
    paths.state.write_bytes(content)
    assert read_state(paths) is None


@pytest.mark.parametrize("below", ["file", "file/deeper/still"])
def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path, below):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataFolderError) as raised:
        prepare_folder(DataPaths(tmp_path / below))
    assert "ANSAMBL_DATA" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_database_is_made_and_opened_again(paths):
    for _ in range(2):
        database = open_database(paths)
        assert database.read("PRAGMA user_version")[0][0] == len(load_migrations(data_folder.MIGRATIONS)) > 0
        database.close()


def test_a_newer_database_is_refused_clearly(paths):
    database = open_database(paths)
    database.transaction(lambda connection: connection.execute("PRAGMA user_version = 999"))
    database.close()
    with pytest.raises(DataFolderError) as raised:
        open_database(paths)
    assert "999" in str(raised.value)
    assert "Update" in str(raised.value)


def test_a_damaged_database_is_refused_with_a_way_out(paths):
    paths.database.write_bytes(b"garbage" * 1000)
    with pytest.raises(DataFolderError) as raised:
        open_database(paths)
    assert str(paths.backups) in str(raised.value)
    assert paths.database.read_bytes() == b"garbage" * 1000


def test_tokens_differ_and_are_long():
    assert new_token() != new_token()
    assert len(new_token()) >= 40


def test_a_file_in_the_way_of_a_folder_is_named(tmp_path):
    in_the_way = tmp_path / "data"
    in_the_way.write_text("")
    with pytest.raises(DataFolderError) as raised:
        prepare_folder(DataPaths(in_the_way))
    assert str(raised.value).startswith(f"{in_the_way} is a file where the data folder needs a folder.")


def test_a_log_that_cannot_be_written_is_a_fault_of_the_folder(paths):
    (paths.logs / "ansambl.log").mkdir()
    with pytest.raises(DataFolderError, match="cannot be used"):
        data_folder.open_log(paths)


def test_a_full_disk_is_no_damaged_database(paths, monkeypatch):
    def full(*_arguments, **_options):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    monkeypatch.setattr(data_folder, "Database", full)
    with pytest.raises(DataFolderError, match=r"The disk of the data folder .* is full") as told:
        open_database(paths)
    assert (told.value.status, told.value.code) == (503, "disk_full")


def test_a_database_that_cannot_be_opened_is_a_fault_of_the_folder(paths):
    paths.database.mkdir()
    with pytest.raises(DataFolderError, match=r"cannot be used \(unable to open database file\)"):
        open_database(paths)
