"""Engines that outlive an Ansambl which was killed at the worst moment: each is taken over or ended."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from fake_instances import fake_placement

import ansambl.app
from ansambl.domain.instance import InstanceState
from ansambl.engines.registry import get_engine
from ansambl.foundation.clock import RealClock
from ansambl.foundation.sqlite import Database, Migration
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LOG_VARIABLE, LocalLauncher
from ansambl.runtime.recovery import STILL_LOADS, end_all, recover
from ansambl.runtime.store import RuntimeStore

MIGRATION = Path(ansambl.app.__file__).parent / "migrations" / "0001_runtime.sql"

OWNER = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.insert(0, {support!r})
from fake_instances import fake_placement
from ansambl.engines.registry import get_engine
from ansambl.foundation.sqlite import Database, Migration
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.store import RuntimeStore

class Dying(RuntimeStore):
    async def save_handle(self, handle):
        if {moment!r} == "after":
            await super().save_handle(handle)
        os.kill(os.getpid(), signal.SIGKILL)

async def main():
    folder = Path({folder!r})
    store = Dying(Database(folder / "test.db", (Migration(1, "runtime", Path({migration!r}).read_text()),)))
    placement = fake_placement({script!r})
    await EngineInstance(placement, get_engine("command"), launcher=LocalLauncher(), store=store, events=EventLog(),
                         log_folder=folder / "logs").ensure_ready()

asyncio.run(main())
"""


def killed_owner(folder, moment, script=""):
    """An Ansambl that is killed just before or after it wrote an engine's handle down; returns the engine's pid."""
    support = str(Path(__file__).parents[1] / "support")
    program = OWNER.format(
        support=support, moment=moment, folder=str(folder), migration=str(MIGRATION), script=script
    )  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    (pid,) = engines_of(folder)
    return pid


def engines_of(folder):
    return [pid for pid, log in marked().items() if Path(log).is_relative_to(folder)]


def marked():
    found = {}
    for one in psutil.process_iter():
        try:
            value = one.environ().get(LOG_VARIABLE)
        except psutil.Error:
            continue
        if value is not None and one.status() != psutil.STATUS_ZOMBIE:
            found[one.pid] = value
    return found


@pytest.fixture
def store(tmp_path):
    database = Database(tmp_path / "test.db", (Migration(1, "runtime", MIGRATION.read_text()),))
    yield RuntimeStore(database)
    database.close()
    for pid in engines_of(tmp_path):
        os.kill(pid, signal.SIGKILL)


def wanted(script=""):
    return {"m": get_engine("command").launch_spec(fake_placement(script), port=0, secret="").digest}


async def test_an_engine_of_which_nothing_was_written_down_is_ended_by_the_next_start(tmp_path, store):
    killed_owner(tmp_path, "before")
    assert await store.handles() == {}
    logs = tmp_path / "logs"
    assert await recover(store, wanted(), launcher=LocalLauncher(), events=EventLog(), logs=logs) == {}
    assert engines_of(tmp_path) == []


async def test_an_engine_of_which_nothing_was_written_down_does_not_survive_down(tmp_path, store):
    killed_owner(tmp_path, "before")
    assert await end_all(store, tmp_path / "elsewhere") == 0, "the engines of another data folder are not ours"
    assert await end_all(store, tmp_path / "logs") == 1
    assert engines_of(tmp_path) == []


async def test_an_adopted_engine_is_not_taken_for_a_forgotten_one(tmp_path, store):
    pid = killed_owner(tmp_path, "after", "slow-start:0.5")
    found = await recover(
        store, wanted("slow-start:0.5"), launcher=LocalLauncher(), events=EventLog(), logs=tmp_path / "logs"
    )
    assert found["m"].process.pid == pid
    assert engines_of(tmp_path) == [pid]
    assert await end_all(store, tmp_path / "logs") == 1
    assert engines_of(tmp_path) == []


async def test_an_engine_that_still_loads_is_taken_over_and_goes_on_loading(tmp_path, store):
    pid = killed_owner(tmp_path, "after", "slow-start:4")
    events = EventLog()
    found = await recover(store, wanted("slow-start:4"), launcher=LocalLauncher(), events=events)
    instance = EngineInstance(
        fake_placement("slow-start:4"), get_engine("command"), launcher=LocalLauncher(), store=store, events=events,
        log_folder=tmp_path / "logs", adopted=found["m"],
    )  # fmt: skip
    async with asyncio.timeout(30):
        await instance.ensure_ready()
    status = instance.status()
    assert (status.pid, status.adopted, status.state) == (pid, True, InstanceState.READY)
    await instance.stop()
    assert engines_of(tmp_path) == []


class Later(RealClock):
    def now(self):
        return super().now() + STILL_LOADS + 60


async def test_an_engine_that_loads_for_too_long_is_ended(tmp_path, store):
    killed_owner(tmp_path, "after", "slow-start:600")
    script = wanted("slow-start:600")
    assert await recover(store, script, launcher=LocalLauncher(), events=EventLog(), clock=Later()) == {}
    assert engines_of(tmp_path) == []


async def test_a_stopped_engine_is_ended(tmp_path, store, monkeypatch):
    monkeypatch.setattr("ansambl.runtime.recovery._PATIENCE", 0.5)
    pid = killed_owner(tmp_path, "after")
    process = psutil.Process(pid)
    async with asyncio.timeout(20):
        while not any(one.status == psutil.CONN_LISTEN for one in process.net_connections()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        os.kill(pid, signal.SIGSTOP)
        assert await recover(store, wanted(), launcher=LocalLauncher(), events=EventLog()) == {}
    assert engines_of(tmp_path) == []
