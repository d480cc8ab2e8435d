"""The engines that are too large for every test run, as ``make test-engines`` installs them."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

import ansambl.app
from ansambl.domain.engine import Installed, NotUsable, Surroundings
from ansambl.domain.instance import LoadMeasurement
from ansambl.domain.plan import Placement
from ansambl.engines.registry import get_engine
from ansambl.foundation.sqlite import Database, Migration
from ansambl.hardware import inventory
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.store import RuntimeStore
from ansambl.testing.tiny_checkpoint import write_tiny_checkpoint, write_tiny_lora

DATA_VARIABLE = "ANSAMBL_TEST_ENGINES"
"""Names the data folder into which the engines under test were installed; without it these tests are skipped."""

PROGRAM_VARIABLE = "ANSAMBL_TEST_{engine}"
"""Names the program of one engine (``ANSAMBL_TEST_VLLM``) in place of the one that is installed there."""

MIGRATION = Path(ansambl.app.__file__).parent / "migrations" / "0001_runtime.sql"


@pytest.fixture(scope="session")
def installed() -> Callable[[str], Installed]:
    """The engine of a name, as it was found; a test of one that is missing fails, or is skipped outside its target."""

    def find(engine: str) -> Installed:
        folder = os.environ.get(DATA_VARIABLE)
        program = os.environ.get(PROGRAM_VARIABLE.format(engine=engine.upper()))
        if folder is None and program is None:
            pytest.skip(f"{engine} is not installed for tests; make test-engines installs it")
        around = Surroundings(
            machine=inventory.detect(), engines_folder=str(Path(folder) / "engines") if folder else None,
            program=program,
        )  # fmt: skip
        found = get_engine(engine).detect(around)
        if isinstance(found, NotUsable):
            pytest.fail(f"{found.reason.render()}; {found.how_to_fix.render()}")
        return found

    return find


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the tiny checkpoint and two LoRA adapters for it, ``pirate`` and ``poet``."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_lora(folder / "pirate", seed=1)
    write_tiny_lora(folder / "poet", seed=2)
    write_tiny_checkpoint(folder / "checkpoint")
    return folder


class Bench:
    """Makes instances of real engines, and knows afterwards what they told and which processes they had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database = Database(folder / "test.db", (Migration(1, "runtime", MIGRATION.read_text()),))
        self._store = RuntimeStore(self._database)
        self._made: list[EngineInstance] = []
        self.events = EventLog()
        self.loads: list[LoadMeasurement] = []

    def instance(self, placement: Placement, port: int | None = None) -> EngineInstance:
        made = EngineInstance(
            placement, get_engine(placement.engine), launcher=LocalLauncher(), store=self._store, events=self.events,
            log_folder=self._folder / "logs", port=port, on_ready=self.loads.append,
        )  # fmt: skip
        self._made.append(made)
        return made

    def told(self, kind: str) -> list[str]:
        """What was told of this kind, oldest first."""
        return [one.message.render() for one in self.events.recent() if one.kind == kind]

    async def end(self) -> None:
        for one in self._made:
            await one.stop()
        self._database.close()


def children() -> set[int]:
    """The processes that this one started, and theirs, as far as they run."""
    found = psutil.Process().children(recursive=True)
    return {one.pid for one in found if one.is_running() and one.status() != psutil.STATUS_ZOMBIE}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """One for all tests of a module: an engine takes half a minute to start."""
    made = Bench(tmp_path_factory.mktemp("bench"))
    yield made
    await made.end()
    assert not children()


@pytest.fixture(scope="session", autouse=True)
def duration(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Say how long all of it took: the docs page quotes it."""
    began = time.monotonic()
    yield
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(f"\nreal engines: {time.monotonic() - began:.0f} s")
