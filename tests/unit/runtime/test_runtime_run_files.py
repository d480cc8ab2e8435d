"""Files of a run: private, found by the engine, and gone with the run; with real processes."""

import json
import os
import stat
import sys

import pytest

from ansambl.domain.engine import RUN_FOLDER, ExitReason, LaunchSpec
from ansambl.domain.instance import InstanceHandle
from ansambl.foundation.network import free_port
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LaunchFailedError, LocalLauncher
from ansambl.runtime.recovery import recover
from ansambl.runtime.run_files import remove_leftover_files, run_folder, write_run_files

PROGRAM = """
import json, os, sys
name, told = sys.argv[1], os.environ["WHERE"]
print(json.dumps({"content": open(name).read(), "same": os.path.dirname(name) == told, "cwd": os.getcwd()}))
"""


def spec(**changes):
    values = {
        "engine": "e", "argv": (sys.executable, "-c", PROGRAM, f"{RUN_FOLDER}/keys.yml"), "port": free_port(),
        "environment": {"WHERE": RUN_FOLDER}, "files": {"keys.yml": "key: secret\n"},
    }  # fmt: skip
    return LaunchSpec(**{**values, **changes})


async def test_an_engine_reads_its_files_and_starts_in_its_folder(tmp_path):
    log, home = tmp_path / "logs" / "engine-m.log", tmp_path / "home"
    home.mkdir()
    launcher = LocalLauncher()
    process = await launcher.start(spec(working_folder=str(home)), log)
    assert await process.wait() == 0
    assert json.loads(log.read_text()) == {"content": "key: secret\n", "same": True, "cwd": str(home.resolve())}
    folder = run_folder(log)
    assert folder.parent == log.parent
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "keys.yml").stat().st_mode) == 0o600
    await launcher.forget(log)
    assert not folder.exists()
    await launcher.forget(log)


async def test_an_engine_can_start_in_the_folder_of_its_files(tmp_path):
    log = tmp_path / "m.log"
    argv = (sys.executable, "-c", "print(open('keys.yml').read(), end='')")
    process = await LocalLauncher().start(spec(argv=argv, working_folder=RUN_FOLDER), log)
    assert await process.wait() == 0
    assert log.read_text() == "key: secret\n"


async def test_the_next_run_finds_nothing_of_the_last(tmp_path):
    log = tmp_path / "m.log"
    write_run_files(spec(files={"old.yml": "old"}), log)
    launcher = LocalLauncher()
    assert await (await launcher.start(spec(), log)).wait() == 0
    assert [one.name for one in run_folder(log).iterdir()] == ["keys.yml"]
    plain = spec(files={}, argv=(sys.executable, "-c", ""), environment={})
    assert await (await launcher.start(plain, log)).wait() == 0
    assert not run_folder(log).exists()


async def test_a_program_that_cannot_be_started_leaves_no_file(tmp_path):
    log = tmp_path / "m.log"
    for broken in ({"argv": ("/no/such/program",)}, {"working_folder": str(tmp_path / "none")}):
        with pytest.raises(LaunchFailedError) as failure:
            await LocalLauncher().start(spec(**broken), log)
        assert failure.value.explanation.reason is ExitReason.MISSING_PROGRAM
        named = broken.get("working_folder") or broken["argv"][0]
        assert named in failure.value.explanation.message.render()
        assert not run_folder(log).exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_folder_that_may_not_be_written_is_told(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(LaunchFailedError, match="rights of"):
            await LocalLauncher().start(spec(), tmp_path / "m.log")
    finally:
        tmp_path.chmod(0o700)


async def test_a_file_in_the_way_is_told(tmp_path):
    log = tmp_path / "m.log"
    run_folder(log).write_text("not a folder")
    with pytest.raises(LaunchFailedError) as failure:
        await LocalLauncher().start(spec(), log)
    assert "cannot be written" in failure.value.explanation.message.render()


@pytest.mark.parametrize("name", ["../keys.yml", "a/b", "", ".", ".."])
def test_a_name_leaves_the_folder_nowhere(tmp_path, name):
    with pytest.raises(ValueError, match="no plain name"):
        write_run_files(spec(files={name: "x"}), tmp_path / "m.log")
    assert [one.name for one in tmp_path.rglob("*") if one.is_file()] == []


def test_leftovers_go_and_what_runs_keeps_its_files(tmp_path):
    running, gone = tmp_path / "a.log", tmp_path / "b.log"
    for log in (running, gone):
        write_run_files(spec(), log)
        log.write_text("words")
    assert remove_leftover_files(tmp_path, [running]) == 1
    assert run_folder(running).is_dir()
    assert not run_folder(gone).exists()
    assert gone.is_file()
    assert remove_leftover_files(tmp_path / "nothing") == 0


class OneHandle:
    """A store that knows one engine."""

    def __init__(self, handle):
        self.handle = handle

    async def handles(self):
        return {"m": self.handle}

    async def remove_handle(self, model):
        assert model == "m"


async def test_an_engine_of_an_earlier_ansambl_is_ended_with_its_files(tmp_path):
    log = tmp_path / "m.log"
    launcher = LocalLauncher()
    waits = spec(argv=(sys.executable, "-c", "import time; time.sleep(60)"), environment={})
    process = await launcher.start(waits, log)
    handle = InstanceHandle(model="m", engine="e", process=process.identity, port=waits.port, secret="s", digest="old",
                            log_path=str(log))  # fmt: skip
    assert run_folder(log).is_dir()
    assert await recover(OneHandle(handle), {"m": "new"}, launcher=launcher, events=EventLog()) == {}
    assert not process.alive()
    assert not run_folder(log).exists()
