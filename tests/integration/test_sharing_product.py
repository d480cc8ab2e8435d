"""Folders for the states of slots over the life of the product: kept for an engine that is adopted, else removed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from product import wait_for

from ansambl.runtime.state_files import StateFolders

pytestmark = pytest.mark.engine

PINNED = '[models.tiny]\ncheckpoint = "embedded"\ncontext = 1024\nparallel = 2\npinned = true\n'


def folders(data: Path) -> set[Path]:
    """What lies in memory or on the disk for the states of this data folder's engines."""
    one = StateFolders(data).make()
    prefix = one.name[: one.name.rindex("-")]
    one.rmdir()
    return {found for parent in (one.parent, data) for found in parent.glob(prefix + "-*")}


def test_an_adopted_engine_keeps_its_folder_and_an_ended_one_leaves_none(start, data_folder):
    first = start(PINNED)
    wait_for(lambda: first.instance("tiny")["state"] == "ready", "the engine is ready")
    engine = first.instance("tiny")["pid"]
    (folder,) = folders(data_folder)
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(10)
    (data_folder / folder.name.replace(folder.name[-4:], "left")).mkdir()
    assert len(folders(data_folder)) == 2
    again = start(PINNED)
    assert again.instance("tiny")["pid"] == engine, "it was adopted"
    assert folders(data_folder) == {folder}, "what nobody uses is gone"
    assert again.stop() == 0
    assert folders(data_folder) == set()
