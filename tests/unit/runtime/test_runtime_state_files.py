"""Folders for states: private, in memory where there is room, and nothing is left of them."""

from __future__ import annotations

import stat

import pytest

from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.runtime import state_files
from ansambl.runtime.state_files import StateFolders, has_room, remove_file, remove_folder


@pytest.fixture
def places(tmp_path):
    memory, root = tmp_path / "memory", tmp_path / "root"
    memory.mkdir()
    root.mkdir()
    return memory, root


def free(monkeypatch, size):
    monkeypatch.setattr(state_files, "_free", lambda _folder: Bytes(size))


def test_memory_is_used_while_it_has_room(places, monkeypatch):
    memory, root = places
    folders = StateFolders(root, (memory,))
    free(monkeypatch, GIB)
    one, other = folders.make(), folders.make()
    assert one.parent == other.parent == memory
    assert one != other
    assert stat.S_IMODE(one.stat().st_mode) == 0o700
    free(monkeypatch, GIB - 1)
    assert folders.make().parent == root


def test_leftovers_go_and_what_is_in_use_stays(places, monkeypatch):
    memory, root = places
    free(monkeypatch, GIB)
    folders = StateFolders(root, (memory,))
    kept, gone = folders.make(), folders.make()
    (gone / "conversation.state").write_bytes(b"secret")
    foreign = StateFolders(root.parent / "another root", (memory,)).make()
    assert folders.remove_leftovers([str(kept)]) == 1
    assert kept.is_dir()
    assert foreign.is_dir(), "another data folder's"
    assert not gone.exists()


def test_removing_what_is_not_there_is_no_error(tmp_path):
    remove_file(str(tmp_path), "nothing")
    remove_folder(str(tmp_path / "nothing"))
    remove_folder(None)


def test_twice_the_size_must_be_free(tmp_path, monkeypatch):
    free(monkeypatch, 10 * MIB)
    assert has_room(str(tmp_path), 5 * MIB)
    assert not has_room(str(tmp_path), 5 * MIB + 1)


def test_a_folder_that_is_gone_has_no_room(tmp_path):
    assert not has_room(str(tmp_path / "gone"), 1.0)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        StateFolders(tmp_path / "missing", ()).make()
