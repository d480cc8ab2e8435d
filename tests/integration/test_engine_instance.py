"""Instances with real processes: the fake engine for scripted faults, the real llama.cpp for the real thing."""

import asyncio
import dataclasses
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path

import httpx
import psutil
import pytest

import ansambl.app
from ansambl.domain.engine import EngineOptions, ExitReason
from ansambl.domain.errors import UnavailableError
from ansambl.domain.instance import InstanceState
from ansambl.domain.plan import Placement
from ansambl.engines.registry import get_engine
from ansambl.foundation.network import free_port
from ansambl.foundation.processes import is_same_process, start_time
from ansambl.foundation.sqlite import Database, Migration
from ansambl.model_catalog.embedded import embedded_path, find
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LaunchFailedError, LocalLauncher
from ansambl.runtime.recovery import end_all, recover
from ansambl.runtime.store import RuntimeStore
from ansambl.testing.fake_engine import fake_engine_command

MIGRATION = Path(ansambl.app.__file__).parent / "migrations" / "0001_runtime.sql"


@pytest.fixture
def store(tmp_path):
    database = Database(tmp_path / "test.db", (Migration(1, "runtime", MIGRATION.read_text()),))
    yield RuntimeStore(database)
    database.close()


@pytest.fixture
def events():
    return EventLog()


@pytest.fixture
async def make(tmp_path, store, events):
    """Makes instances, and ends them after the test."""
    made = []

    def instance(placement, **options):
        one = EngineInstance(
            placement, get_engine(placement.engine), launcher=LocalLauncher(), store=store, events=events,
            log_folder=tmp_path / "logs", **options,
        )  # fmt: skip
        made.append(one)
        return one

    yield instance
    for one in made:
        await one.stop()
    assert not [child for child in psutil.Process().children(recursive=True) if child.status() != "zombie"]


def fake(script="", **options):
    command = fake_engine_command("{port}", script=script, **options)
    return Placement(
        model="m", engine="command", checkpoint=None, context=4096, parallel=1,
        options=EngineOptions(command=" ".join(command[:4]), arguments=tuple(command[4:])),
    )  # fmt: skip


def real(folder, **changes):
    placement = Placement(
        model="tiny", engine="auto", checkpoint=find(folder), context=2048, parallel=1, threads=2,
        options=EngineOptions(arguments=("--no-warmup",)),
    )  # fmt: skip
    return dataclasses.replace(placement, **changes)


async def chat(endpoint, words="Say one word.", tokens=8):
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.post(
            f"{endpoint.base_url}/chat/completions",
            headers={"Authorization": f"Bearer {endpoint.key}"},
            json={"messages": [{"role": "user", "content": words}], "max_tokens": tokens},
        )
    return answer.raise_for_status().json()


async def until(condition, seconds=20.0):
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for is another process
            await asyncio.sleep(0.02)


def kinds(events):
    return [one.kind for one in events.recent()]


# With the fake engine.


async def test_an_engine_whose_log_tells_no_memory_is_measured_after_its_first_answer(make, monkeypatch):
    monkeypatch.setattr("ansambl.runtime.engine.instance._LOOK_EVERY", 0.05)
    loads = []
    instance = make(fake(), on_ready=loads.append)
    endpoint = await instance.ensure_ready()
    assert [(one.memory, one.answered) for one in loads] == [({}, False)]
    instance.begin_use()
    await chat(endpoint)
    instance.proven()
    await asyncio.sleep(0.3)
    assert len(loads) == 1, "not while it is used"
    instance.end_use()
    await until(lambda: len(loads) > 1)
    assert loads[1].answered
    assert loads[1].resident > 0
    assert loads[1].load_seconds == loads[0].load_seconds


async def test_all_callers_share_one_start(make, events, store):
    instance = make(fake("slow-start:0.3"))
    assert instance.status().state is InstanceState.STOPPED
    endpoints = await asyncio.gather(*(instance.ensure_ready() for _ in range(8)))
    assert len(set(endpoints)) == 1
    assert kinds(events) == ["started", "ready"]
    status = instance.status()
    assert status.state is InstanceState.READY
    assert status.load_seconds >= 0.3
    assert status.memory > 1_000_000
    assert (await store.handles())["m"].process.pid == status.pid
    assert (await chat(endpoints[0], "hello"))["choices"][0]["message"]["content"]
    assert any("listens" in line for line in instance.log_tail())
    await instance.stop()
    assert instance.status().state is InstanceState.STOPPED
    assert await store.handles() == {}
    assert kinds(events)[-1] == "stopped"


async def test_a_caller_that_leaves_does_not_cancel_the_start(make):
    instance = make(fake("slow-start:0.3"))
    leaving, staying = (asyncio.create_task(instance.ensure_ready()) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    assert (await staying).base_url
    with pytest.raises(asyncio.CancelledError):
        await leaving


async def test_stopped_instances_start_again(make):
    instance = make(fake())
    first = await instance.ensure_ready()
    await instance.stop()
    second = await instance.ensure_ready()
    assert second.key != first.key


async def test_stop_in_the_middle_of_a_start_answers_its_callers(make):
    instance = make(fake("slow-start:60"))
    waiting = asyncio.create_task(instance.ensure_ready())
    await until(lambda: instance.status().pid)
    pid = instance.status().pid
    await instance.stop()
    assert not psutil.pid_exists(pid)
    with pytest.raises(UnavailableError, match="was stopped"):
        await waiting


async def test_loads_without_memory_are_given_up_with_the_reason(make, events):
    instance = make(fake("out-of-memory"))
    for starts in (1, 2):
        # Once more without a pause: whoever divides the memory has made room.
        with pytest.raises(UnavailableError, match=r"ran out of memory.*cudaMalloc failed") as refusal:
            await instance.ensure_ready()
        assert kinds(events).count("started") == starts
    assert refusal.value.retry_after >= 1
    assert kinds(events)[-1] == "failed"
    assert instance.status().state is InstanceState.FAILED
    with pytest.raises(UnavailableError, match="ran out of memory"):
        await instance.ensure_ready()
    assert kinds(events).count("started") == 2


async def test_a_missing_program_is_told_without_a_loop(make, events):
    options = EngineOptions(command="/nowhere/llama-server --port {port}")
    instance = make(dataclasses.replace(fake(), options=options))
    with pytest.raises(UnavailableError, match=r"/nowhere/llama-server cannot be started \(No such file"):
        await instance.ensure_ready()
    assert kinds(events) == ["exited", "failed"]


@pytest.mark.parametrize("noticed_by", ["a request", "a look"])
async def test_an_engine_that_hangs_is_ended_and_started_again(make, events, monkeypatch, noticed_by):
    monkeypatch.setattr("ansambl.runtime.engine.instance._LOOK_EVERY", 0.05)
    monkeypatch.setattr("ansambl.runtime.engine.watch._PROBE_EVERY", 600 if noticed_by == "a request" else 0.1)
    monkeypatch.setattr("ansambl.runtime.engine.watch._CHECK_PATIENCE", 0.5)
    monkeypatch.setattr(
        "ansambl.runtime.readiness.ask.__kwdefaults__", {"key": None, "host": "127.0.0.1", "patience": 0.2}
    )
    instance = make(fake())
    await instance.ensure_ready()
    pid = instance.status().pid
    os.kill(pid, signal.SIGSTOP)
    if noticed_by == "a request":
        instance.suspect()
        await instance.ensure_ready()
    await until(lambda: instance.status().pid not in {pid, None}, 30)
    assert not psutil.pid_exists(pid)
    assert "did not answer any more" in next(one for one in events.recent() if one.kind == "exited").message.render()


async def test_a_suspicion_without_cause_changes_nothing(make, events):
    instance = make(fake())
    first = await instance.ensure_ready()
    instance.suspect()
    assert await instance.ensure_ready() == first
    assert kinds(events) == ["started", "ready"]


async def test_an_engine_that_is_never_ready_is_ended(make, events):
    adapter = get_engine("command")
    slow = fake("slow-start:60")
    instance = make(slow)
    impatient = type("Impatient", (type(adapter),), {"probe": dataclasses.replace(adapter.probe, patience=0.3)})()
    instance._adapter = impatient
    waiting = asyncio.create_task(instance.ensure_ready())
    await until(lambda: "exited" in kinds(events))
    assert "was not ready after" in next(one for one in events.recent() if one.kind == "exited").message.render()
    await instance.stop()
    with pytest.raises(UnavailableError):
        await waiting


async def test_what_an_engine_started_is_ended_with_it(make, tmp_path):
    """The command is a shell that has the engine as its child."""
    note = tmp_path / "pid"
    engine = " ".join(fake_engine_command("{port}"))
    options = EngineOptions(command=f"sh -c '{engine} & echo $! > {note}; wait'")
    instance = make(dataclasses.replace(fake(), options=options))
    await instance.ensure_ready()
    inner = int(note.read_text())
    os.kill(instance.status().pid, signal.SIGKILL)
    await until(lambda: not psutil.pid_exists(inner) or psutil.Process(inner).status() == "zombie")
    await instance.ensure_ready()
    inner = int(note.read_text())
    await instance.stop()
    await until(lambda: not psutil.pid_exists(inner))


async def test_a_taken_port_names_who_has_it(tmp_path, make, events):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        instance = make(fake(), port=port)
        waiting = asyncio.create_task(instance.ensure_ready())
        await until(lambda: "exited" in kinds(events))
        message = events.recent(model="m")[-1].message.render()
        assert f"port {port} is taken by" in message
        assert str(os.getpid()) in message
    # It goes on by itself once the port is free.
    assert (await waiting).base_url == f"http://127.0.0.1:{port}/v1"


async def test_the_launcher_tells_a_port_that_it_did_not_get():
    spec = get_engine("command").launch_spec(fake(), port=free_port(), secret="s")
    with socket.socket() as other:
        other.bind(("127.0.0.1", spec.port))
        other.listen()
        with pytest.raises(LaunchFailedError) as failure:
            await LocalLauncher().start(spec, Path("unused"))
    assert failure.value.explanation.reason is ExitReason.PORT_TAKEN


# Adoption.

OWNER = """
import asyncio, json, sys
from pathlib import Path
from ansambl.domain.engine import EngineOptions
from ansambl.domain.plan import Placement
from ansambl.engines.registry import get_engine
from ansambl.foundation.sqlite import Database, Migration
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.store import RuntimeStore

folder, script, command = Path(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])

async def main():
    store = RuntimeStore(Database(folder / "test.db", (Migration(1, "runtime", script),)))
    placement = Placement("m", "command", None, 4096, 1,
                          EngineOptions(command=" ".join(command[:4]), arguments=tuple(command[4:])))
    instance = EngineInstance(placement, get_engine("command"), launcher=LocalLauncher(), store=store,
                              events=EventLog(), log_folder=folder / "logs")
    await instance.ensure_ready()
    print(json.dumps({"pid": instance.status().pid}), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture
def orphan(tmp_path):
    """An engine whose Ansambl was killed: its process id. It is ended after the test when nobody did."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(tmp_path), MIGRATION.read_text(), json.dumps(fake_engine_command("{port}"))],
        stdout=subprocess.PIPE,
    )
    while not (line := owner.stdout.readline()).startswith(b"{"):
        assert line, "the owner ended"
    pid = json.loads(line)["pid"]
    started = start_time(pid)
    owner.kill()
    owner.wait()
    owner.stdout.close()
    assert is_same_process(pid, started)
    yield pid
    if is_same_process(pid, started):
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the engine was left running")


def digest(placement):
    return get_engine(placement.engine).launch_spec(placement, port=0, secret="").digest


async def test_an_engine_outlives_its_owner_and_is_adopted(orphan, make, store, events):
    adopted = await recover(store, {"m": digest(fake())}, launcher=LocalLauncher(), events=events)
    instance = make(fake(), adopted=adopted["m"])
    status = instance.status()
    assert (status.pid, status.adopted, status.state) == (orphan, True, InstanceState.READY)
    endpoint = await instance.ensure_ready()
    assert (await chat(endpoint, "still here"))["choices"][0]["message"]["content"]
    assert instance.status().pid == orphan
    assert kinds(events) == ["adopted"]
    await instance.stop()
    await until(lambda: not psutil.pid_exists(orphan))
    assert await store.handles() == {}


async def test_an_adopted_engine_that_is_never_used_is_ended_too(orphan, make, store, events):
    adopted = await recover(store, {"m": digest(fake())}, launcher=LocalLauncher(), events=events)
    await make(fake(), adopted=adopted["m"]).stop()
    await until(lambda: not psutil.pid_exists(orphan))
    assert await store.handles() == {}


async def test_an_adopted_engine_that_dies_is_started_again(orphan, make, store, events):
    adopted = await recover(store, {"m": digest(fake())}, launcher=LocalLauncher(), events=events)
    instance = make(fake(), adopted=adopted["m"])
    await instance.ensure_ready()
    os.kill(orphan, signal.SIGKILL)
    instance.suspect()
    await instance.ensure_ready()
    assert instance.status().pid != orphan
    assert not instance.status().adopted


@pytest.mark.parametrize("wanted", [{}, {"m": "another digest"}])
async def test_an_engine_that_is_not_wanted_any_more_is_ended(orphan, store, events, wanted):
    assert await recover(store, wanted, launcher=LocalLauncher(), events=events) == {}
    await until(lambda: not psutil.pid_exists(orphan))
    assert await store.handles() == {}
    assert kinds(events) == ["ended"]


async def test_an_engine_that_does_not_know_its_secret_is_ended(orphan, store, events):
    handle = (await store.handles())["m"]
    await store.save_handle(dataclasses.replace(handle, secret="wrong"))
    assert await recover(store, {"m": digest(fake())}, launcher=LocalLauncher(), events=events) == {}
    await until(lambda: not psutil.pid_exists(orphan))


async def test_another_process_with_the_number_of_an_engine_is_left_alone(orphan, store, events):
    handle = (await store.handles())["m"]
    bystander = dataclasses.replace(handle.process, started=handle.process.started - 100)
    await store.save_handle(dataclasses.replace(handle, process=bystander))
    assert await recover(store, {"m": digest(fake())}, launcher=LocalLauncher(), events=events) == {}
    assert psutil.pid_exists(orphan)
    await store.save_handle(handle)
    assert await end_all(store) == 1
    assert await end_all(store) == 0
    await until(lambda: not psutil.pid_exists(orphan))


# With the real engine.


@pytest.mark.engine
async def test_the_real_engine_answers_and_survives_a_kill(make, events, embedded_model_folder):
    instance = make(real(embedded_model_folder))
    endpoint = await instance.ensure_ready()
    answer = await chat(endpoint)
    assert answer["choices"][0]["message"]["content"]
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert (await chat(endpoint))["usage"]["prompt_tokens_details"]["cached_tokens"] > 10
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        await chat(dataclasses.replace(endpoint, key="wrong"))
    first = instance.status()
    assert first.context == 2048
    assert first.memory > 100_000_000
    os.kill(first.pid, signal.SIGKILL)
    instance.suspect()
    assert (await chat(await instance.ensure_ready()))["choices"]
    second = instance.status()
    assert second.pid != first.pid
    assert second.restarts == 1
    assert "killed from outside" in next(one for one in events.recent() if one.kind == "exited").message.render()
    await instance.stop()
    assert not psutil.pid_exists(second.pid)


@pytest.mark.engine
async def test_a_truncated_checkpoint_is_told_without_a_loop(make, events, embedded_model_folder, tmp_path):
    whole = embedded_path(embedded_model_folder)
    cut = tmp_path / "cut.gguf"
    with whole.open("rb") as source:
        cut.write_bytes(source.read(30_000_000))
    checkpoint = dataclasses.replace(find(embedded_model_folder), path=str(cut))
    instance = make(real(embedded_model_folder, checkpoint=checkpoint))
    with pytest.raises(UnavailableError, match="damaged or incomplete"):
        await instance.ensure_ready()
    assert kinds(events) == ["started", "exited", "failed"]


@pytest.mark.engine
async def test_a_missing_checkpoint_is_told_without_a_loop(make, events, embedded_model_folder, tmp_path):
    checkpoint = dataclasses.replace(find(embedded_model_folder), path=str(tmp_path / "gone.gguf"))
    instance = make(real(embedded_model_folder, checkpoint=checkpoint))
    with pytest.raises(UnavailableError, match="cannot find the checkpoint"):
        await instance.ensure_ready()
    assert kinds(events).count("started") == 1


@pytest.mark.engine
async def test_a_port_that_is_taken_after_the_check_ends_the_child_clearly(embedded_model_folder):
    """The race that the launcher's own check cannot see."""
    adapter = get_engine("auto")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        spec = adapter.launch_spec(real(embedded_model_folder), port=other.getsockname()[1], secret="s")
        ended = await asyncio.to_thread(
            subprocess.run,
            spec.argv,
            env={**os.environ, **spec.environment},
            capture_output=True,
            timeout=30,
            check=False,
        )
    assert adapter.explain_exit(ended.returncode, ended.stdout.decode().splitlines()).reason is ExitReason.PORT_TAKEN


@pytest.mark.parametrize("failure", [OSError("disk full"), sqlite3.OperationalError("database or disk is full")])
async def test_an_engine_whose_handle_cannot_be_stored_does_not_stay(make, store, events, monkeypatch, failure):
    async def failing(_handle):
        raise failure

    monkeypatch.setattr(store, "save_handle", failing)
    instance = make(fake())
    with pytest.raises(UnavailableError, match=r"data folder .*disk.* full.*; make room on its disk"):
        await instance.ensure_ready()
    assert kinds(events) == ["exited", "failed"]
    assert not psutil.Process().children()


async def test_an_engine_whose_handle_cannot_be_removed_has_stopped_all_the_same(make, store, events, monkeypatch):
    async def failing(_model):
        message = "database or disk is full"
        raise sqlite3.OperationalError(message)

    instance = make(fake())
    await instance.ensure_ready()
    monkeypatch.setattr(store, "remove_handle", failing)
    await instance.stop()
    assert instance.status().state is InstanceState.STOPPED
    assert "failed" not in kinds(events)
    assert not psutil.Process().children()
    # The handle that was left over is written over.
    await instance.ensure_ready()
    assert (await store.handles())["m"].process.pid == instance.status().pid
