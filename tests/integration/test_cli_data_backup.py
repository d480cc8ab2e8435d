"""``ansambl data backup`` says what it does not copy."""

from __future__ import annotations

import pytest
from product import run_command

from ansambl.app.data_folder import DataLock, open_database, prepare_folder
from ansambl.companions.open_webui.keeping import Places
from ansambl.foundation.paths import DataPaths


@pytest.fixture
def paths(tmp_path):
    found = DataPaths(tmp_path / "data")
    prepare_folder(found)
    with DataLock(found):
        open_database(found).close()
    return found


def test_the_chats_of_open_webui_are_named_where_there_are_any(paths, tmp_path):
    done = run_command("data", "backup", "--out", str(tmp_path / "first"), data=paths.root)
    assert done.returncode == 0, done.stderr
    assert "Open WebUI" not in done.stdout + done.stderr
    chats = Places(paths.companions).own
    chats.mkdir(parents=True)
    done = run_command("data", "backup", "--out", str(tmp_path / "second"), data=paths.root)
    assert done.returncode == 0, done.stderr
    # The paths that were written stay what a script reads.
    assert [line.rpartition("/")[2] for line in done.stdout.splitlines()] == ["ansambl.db"]
    told = " ".join(done.stderr.split())
    assert "Open WebUI's chats and accounts are not in this copy" in told
    assert str(chats) in "".join(done.stderr.split())
