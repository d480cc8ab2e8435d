"""Engines installed by a running Ansambl: real environments by the real pip, out of packages that the tests make."""

from __future__ import annotations

import os
import shutil
import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest
from engine_packages import package_source, tiny
from product import wait_for

from ansambl.app import engine_book
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.engine_book import EngineBook
from ansambl.app.installing.desk import InstallDesk
from ansambl.app.jobs import JobState
from ansambl.domain.errors import AnsamblError, NotFoundError, UnavailableError, UsageError
from ansambl.domain.hardware import Cpu, Machine, Memory
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.install import installer
from ansambl.engines.install.choice import system_of
from ansambl.engines.install.folders import only_installer
from ansambl.engines.install.records import Around, Lock
from ansambl.engines.installations import read_install_manifest
from ansambl.foundation.paths import DataPaths

LIMIT = 120
ENGINE = "transformers"
MACHINE = Machine("test", "Linux 6", Cpu("x", "x86_64", 2, 2, 2, None, ()), Memory(Bytes(8 * GIB), Bytes(6 * GIB)))


class Stage:
    """A desk whose only engine is a tiny one, for the processor, and a better one that needs a GPU."""

    def __init__(self, tmp_path, packages):
        made = tiny(tmp_path, packages)
        self.build = replace(made, engine=ENGINE, locks=(Lock(str(tmp_path / "locks" / "tiny")),))
        self.better = replace(self.build, build="cuda", variant="big")
        self.paths = DataPaths(tmp_path / "data")
        self.loaded = load_settings(None, environment={})
        self.desks = []

    def known(self):
        return self.better, self.build

    def desk(self, **options):
        finder = SimpleNamespace(machine=MACHINE)
        around = Around(("3.11", "3.12", "3.13"), frozenset())

        def book(loaded, paths):
            return EngineBook(loaded, paths, finder, lambda: around)

        found = InstallDesk(self.paths, lambda: self.loaded, book=book, **options)
        self.desks.append(found)
        return found

    @property
    def manifest(self):
        return read_install_manifest(self.paths.engines / ENGINE)


@pytest.fixture
def packages(tmp_path, monkeypatch):
    return package_source(tmp_path, monkeypatch)


@pytest.fixture
def stage(tmp_path, packages, monkeypatch):
    found = Stage(tmp_path, packages)
    monkeypatch.setattr(engine_book, "known_builds", found.known)
    assert system_of(MACHINE) in found.build.systems
    yield found
    for one in found.desks:
        one.close()


@pytest.fixture
def desk(stage):
    return stage.desk()


def ended(desk, job):
    return wait_for(lambda: (found := desk.job(job.id)).over and found, "the end of an installation", LIMIT)


def held_at(desk, words):
    """Has the installation stay where its stage is called so, until it is let go; returns both events."""
    reached, go = threading.Event(), threading.Event()

    def told(job):
        if job.stage is not None and words in str(job.stage):
            reached.set()
            go.wait(LIMIT)

    desk.watcher = told
    return reached, go


def test_an_engine_is_announced_installed_with_progress_told_and_removed(stage, desk):
    offer = desk.announce("Transformers")
    assert (offer.build, offer.announced.is_done, offer.passed) == (stage.build, False, ())
    assert [(one.build.build, one.why_not is None) for one in offer.judged] == [("cuda", False), ("cpu", True)]
    assert "GPU" in str(offer.judged[0].why_not.reason)
    desk.check(offer)
    seen = []
    desk.watcher = seen.append
    done = ended(desk, desk.install(ENGINE))
    assert (done.state, done.error, done.version) == (JobState.DONE, None, "1.0")
    assert done.path == str(stage.paths.engines / ENGINE)
    assert stage.manifest.build == "cpu"
    assert [one.state for one in seen][:2] == [JobState.WAITING, JobState.RUNNING]
    stages = [str(one.stage) for one in seen if one.stage is not None]
    assert list(dict.fromkeys(stages)) == [
        "making the environment", "fetching packages", "unpacking packages", "trying the engine",
    ]  # fmt: skip
    assert any(one.counts == "packages" and 0 < one.done == one.total for one in seen)
    # Once more: it is here, and nothing is done.
    again = desk.install(ENGINE)
    assert (again.state, again.path) == (JobState.DONE, done.path)
    gone = ended(desk, desk.remove(ENGINE))
    assert (gone.kind, gone.state, gone.version, gone.counts) == ("remove", JobState.DONE, "1.0", "bytes")
    assert gone.done == gone.total > 0
    assert not (stage.paths.engines / ENGINE).exists()
    with pytest.raises(AnsamblError, match="has not installed"):
        desk.remove(ENGINE)


def test_two_who_ask_for_the_same_get_one_job_and_another_build_waits_for_a_stop(stage, desk, monkeypatch):
    reached, go = held_at(desk, "fetching")
    first = desk.install(ENGINE)
    assert reached.wait(LIMIT)
    assert desk.install(ENGINE, build="cpu").id == first.id
    # A build of the same engine for something else would be in its way.
    monkeypatch.setattr(engine_book, "known_builds", lambda: (replace(stage.build, version="2.0"),))
    for refused in (lambda: desk.install(ENGINE), lambda: desk.remove(ENGINE)):
        with pytest.raises(UsageError, match="is being installed; stop that first") as caught:
            refused()
        assert caught.value.code == "in_use"
    go.set()
    assert ended(desk, first).state is JobState.DONE


@pytest.mark.parametrize("words", ["making the environment", "fetching", "unpacking", "trying"])
def test_stopped_at_any_stage_nothing_is_declared_and_the_same_goes_on(stage, desk, words):
    reached, go = held_at(desk, words)
    job = desk.install(ENGINE)
    assert reached.wait(LIMIT)
    desk.stop(job.id)
    go.set()
    stopped = ended(desk, job)
    assert (stopped.state, stopped.error) == (JobState.STOPPED, None)
    assert stage.manifest is None
    assert installer.standing(ENGINE, stage.paths.engines).size > 0
    desk.watcher = None
    if words == "trying":
        # What was only begun can be removed, too.
        gone = ended(desk, desk.remove(ENGINE))
        assert (gone.state, gone.version, (stage.paths.engines / ENGINE).exists()) == (JobState.DONE, "", False)
    assert ended(desk, desk.install(ENGINE)).state is JobState.DONE
    assert stage.manifest is not None


def test_a_program_that_hangs_is_ended_when_somebody_stops_it(stage, desk, monkeypatch):
    """Between two stages nothing is told; the program that runs must not keep the stop waiting."""
    hanging = replace(stage.build, check="import time; time.sleep(600)")
    monkeypatch.setattr(engine_book, "known_builds", lambda: (hanging,))
    job = desk.install(ENGINE)
    wait_for(lambda: "trying" in str(desk.job(job.id).stage), "the check", LIMIT)
    wait_for((stage.paths.engines / ENGINE / "1.0-cpu" / "scratch" / "child").exists, "its program", LIMIT)
    desk.stop(job.id)
    assert ended(desk, job).state is JobState.STOPPED


def test_ansambl_that_ends_in_the_middle_leaves_what_the_next_run_goes_on_with(stage, desk):
    reached, go = held_at(desk, "unpacking")
    job = desk.install(ENGINE)
    assert reached.wait(LIMIT)
    desk.begin_to_close()
    go.set()
    desk.close()
    assert desk.job(job.id).state is JobState.STOPPED
    assert stage.manifest is None
    with pytest.raises(UnavailableError, match="stopping"):
        desk.install(ENGINE)
    after = stage.desk()
    assert ended(after, after.install(ENGINE)).state is JobState.DONE


def test_no_index_says_so_in_one_line_and_the_next_try_goes_on(stage, desk, packages):
    away = packages.with_name("away")
    packages.rename(away)
    failed = ended(desk, desk.install(ENGINE))
    assert failed.state is JobState.FAILED
    assert "Tiny was not installed" in str(failed.error)
    assert "\n" not in str(failed.error)
    assert stage.manifest is None
    away.rename(packages)
    assert ended(desk, desk.install(ENGINE)).state is JobState.DONE


def test_what_cannot_begin_says_why_and_makes_no_job(stage, desk, monkeypatch):
    offline = stage.desk(offline=True)
    with pytest.raises(UnavailableError, match="--offline forbids"):
        offline.install(ENGINE)
    with only_installer(stage.paths.engines, ENGINE), pytest.raises(UnavailableError, match="another Ansambl"):
        desk.install(ENGINE)
    with pytest.raises(UsageError, match="no engine 'vlm' to install"):
        desk.install("vlm")
    with pytest.raises(AnsamblError, match="no GPU here"):
        desk.install(ENGINE, build="cuda")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(AnsamblError, match="which has 1000 B"):
        desk.install(ENGINE)
    assert (desk.jobs(), offline.jobs()) == ([], [])
    with pytest.raises(NotFoundError, match="job-none"):
        desk.stop("job-none")


def test_a_disk_that_fills_up_meanwhile_is_one_line(stage, desk, monkeypatch):
    reached, go = held_at(desk, "making the environment")
    job = desk.install(ENGINE)
    assert reached.wait(LIMIT)

    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("ansambl.engines.install.wheels.write_atomically", full)
    go.set()
    failed = ended(desk, job)
    assert failed.state is JobState.FAILED
    assert "needs" in str(failed.error)
    assert "free some space" in str(failed.error)
    assert stage.manifest is None


def test_a_removal_that_is_broken_off_is_not_used_and_goes_on(stage, desk):
    folder = stage.paths.engines / ENGINE / "1.0-cpu"
    for number in range(50):
        (folder / f"folder-{number}").mkdir(parents=True)
        (folder / f"folder-{number}" / "file").write_bytes(b"x" * 100)
    outside = stage.paths.root / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (folder / "link").symlink_to(outside)
    seen = []

    def look():
        seen.append(1)
        if len(seen) > 20:
            raise InterruptedError

    with pytest.raises(AnsamblError, match="could not be removed"):
        installer.remove(ENGINE, stage.paths.engines, look)
    assert stage.manifest is None
    assert 0 < len(list(folder.iterdir())) < 51
    job = desk.remove(ENGINE)
    assert ended(desk, job).state is JobState.DONE
    assert not folder.parent.exists()
    assert (outside / "kept").exists()
