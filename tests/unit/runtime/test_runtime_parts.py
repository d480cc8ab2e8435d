"""The small parts of the runtime: log ring, restart policy, store, events, the environment of an engine."""

import asyncio
import json
from pathlib import Path

import pytest

import ansambl.app
from ansambl.domain.engine import ExitExplanation, ExitReason, ProbeSpec
from ansambl.domain.instance import InstanceHandle, ProcessIdentity
from ansambl.domain.text import text
from ansambl.foundation.clock import RealClock, VirtualClock
from ansambl.foundation.network import free_port
from ansambl.foundation.redaction import forget_secret, register_secret
from ansambl.foundation.sqlite import Database, Migration
from ansambl.runtime import readiness
from ansambl.runtime.engine.restarts import LOAD_FAILURES, QUICK_FAILURES, RAN_WELL, RestartPolicy
from ansambl.runtime.events import KEPT_IN_MEMORY, EventLog
from ansambl.runtime.launcher import clean_environment
from ansambl.runtime.log_buffer import MAX_LINE, LogBuffer
from ansambl.runtime.store import KEPT_EVENTS, RuntimeStore, text_from_json, text_to_json

MIGRATION = Path(ansambl.app.__file__).parent / "migrations" / "0001_runtime.sql"
CRASH = ExitExplanation(ExitReason.CRASHED, text("crashed"))
HOPELESS = ExitExplanation(ExitReason.CHECKPOINT_DAMAGED, text("damaged"), restart_helps=False)
NO_MEMORY = ExitExplanation(ExitReason.OUT_OF_MEMORY, text("no memory"))
HANDLE = InstanceHandle(
    model="big", engine="e", process=ProcessIdentity(12, 3.5), port=9000, secret="s", digest="d", log_path="log"
)


@pytest.fixture
def store(tmp_path):
    database = Database(tmp_path / "test.db", (Migration(1, "runtime", MIGRATION.read_text()),))
    yield RuntimeStore(database)
    database.close()


# The log ring.


def test_log_is_followed(tmp_path):
    path = tmp_path / "log"
    log = LogBuffer(path)
    assert log.tail(5) == []
    path.write_bytes(b"one\ntwo\nhal")
    assert log.refresh() == ["one", "two"]
    with path.open("ab") as file:
        file.write(b"f\n\xff\n10%\r100%\n")
    assert log.refresh() == ["half", "\ufffd", "100%"]
    assert log.tail(2) == ["\ufffd", "100%"]


def test_a_run_begins_with_its_own_lines(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"old\n")
    log = LogBuffer(path)
    log.begin_run()
    with path.open("ab") as file:
        file.write(b"new\nunfinished")
    assert log.run_tail() == ["new", "unfinished"]
    assert log.tail(10) == ["old", "new"]


def test_lines_and_their_number_are_bounded(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"x" * 10_000 + b"\n" + b"line\n" * 50)
    log = LogBuffer(path, max_lines=10)
    log.refresh()
    assert len(log.tail(100)) == 10
    path.write_bytes(b"y" * 10_000 + b"\n")
    assert len(log.tail(1)[0]) == MAX_LINE


def test_a_file_over_its_limit_is_emptied_under_its_writer(tmp_path):
    path = tmp_path / "log"
    log = LogBuffer(path, max_file=1000)
    with path.open("ab", buffering=0) as writer:
        writer.write(b"a line\n" * 200)
        assert len(log.refresh()) == 200
        assert path.stat().st_size == 0
        writer.write(b"after\n")
        assert log.refresh() == ["after"]
        assert path.stat().st_size == 6


def test_only_the_newest_of_a_huge_file_is_read(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"0123456789\n" * 300_000 + b"last\n")
    lines = LogBuffer(path).refresh()
    assert lines[-1] == "last"
    assert len(lines) < 100_000


# When to restart.


def test_pauses_double_and_five_quick_failures_are_enough():
    policy = RestartPolicy()
    pauses = [policy.after_end(CRASH, 0.0) for _ in range(QUICK_FAILURES)]
    assert pauses == [0.2, 0.4, 0.8, 1.6, None]
    policy.give_up(100.0)
    assert policy.wait_left(100.0) == 5.0
    assert policy.wait_left(106.0) == 0.0
    for _ in range(20):
        assert policy.after_end(CRASH, 0.0) is None
    policy.give_up(200.0)
    assert policy.wait_left(200.0) == 30.0


def test_an_engine_that_ran_well_starts_anew():
    policy = RestartPolicy()
    for _ in range(QUICK_FAILURES - 1):
        policy.after_end(CRASH, 1.0)
    assert policy.after_end(CRASH, RAN_WELL) == 0.2


def test_an_engine_that_answered_starts_anew():
    policy = RestartPolicy()
    for _ in range(3 * QUICK_FAILURES):
        assert policy.after_end(CRASH, 1.0) == 0.2
        policy.answered()


def test_what_no_restart_can_help_is_given_up_at_once():
    assert RestartPolicy().after_end(HOPELESS, 0.0) is None


def test_a_load_that_fails_is_tried_less_often():
    policy = RestartPolicy()
    assert [policy.after_end(CRASH, None) for _ in range(LOAD_FAILURES)] == [0.2, 0.4, None]


def test_a_load_without_memory_is_given_up_at_once_and_may_be_tried_once_more_at_once():
    policy = RestartPolicy()
    assert policy.after_end(NO_MEMORY, None) is None
    policy.give_up(100.0, out_of_memory=True)
    assert policy.wait_left(100.0) == 0.0
    assert policy.after_end(NO_MEMORY, None) is None
    policy.give_up(101.0, out_of_memory=True)
    assert policy.wait_left(101.0) == 5.0


def test_an_engine_that_the_system_ended_for_memory_while_it_worked_is_started_again():
    assert RestartPolicy().after_end(NO_MEMORY, 1.0) == 0.2


# The store and the events.


async def test_handles_survive(store):
    await store.save_handle(HANDLE)
    assert await store.handles() == {"big": HANDLE}
    await store.remove_handle("big")
    assert await store.handles() == {}


@pytest.mark.parametrize("handle", ["{}", "no json", json.dumps({"version": 99})])
async def test_handles_of_other_versions_are_told_apart(store, handle):
    await store.save_handle(HANDLE)
    await store._write("UPDATE instances SET handle = ?", (handle,))
    assert await store.handles() == {"big": None}


def test_texts_survive_json():
    message = text("'{model}' failed: {reason}", model="big", reason=text("no {size}", size=5))
    assert text_from_json(text_to_json(message)) == message
    assert text_from_json(text_to_json(text("{path}", path=Path("a")))).render() == "a"


async def test_events_are_kept_in_memory_and_on_disk(store):
    events = EventLog(store, VirtualClock(7.0))
    for number in range(KEPT_EVENTS + 20):
        events.add("big" if number % 2 else "small", "ready", text("number {number}", number=number))
    assert len(events.recent()) == KEPT_IN_MEMORY
    assert {one.model for one in events.recent(10, model="big")} == {"big"}
    # A write that is waited for stands behind all that were submitted.
    await store.remove_handle("none")
    kept = store.events()
    assert len(kept) == KEPT_EVENTS
    assert kept[-1].message.render() == f"number {KEPT_EVENTS + 19}"
    assert kept[-1].time == 7.0
    assert EventLog(store).recent(1) == kept[-1:]
    assert EventLog(store).recent(0) == []


# What an engine may see of our environment.


def test_secrets_do_not_reach_an_engine():
    own = {
        "PATH": "/bin", "HOME": "/home/u", "KEYBOARD": "us", "OPENAI_API_KEY": "1", "HF_TOKEN": "2",
        "DB_PASSWORD": "3", "AWS_SECRET": "4", "ANSAMBL_DATA": "5", "my_apikey": "6", "TOKEN": "7",
    }  # fmt: skip
    assert clean_environment(own, {"HF_TOKEN": "given"}) == {
        "PATH": "/bin", "HOME": "/home/u", "KEYBOARD": "us", "HF_TOKEN": "given",
    }  # fmt: skip


def test_secrets_under_names_of_the_users_choice_do_not_reach_an_engine():
    own = {"PATH": "/bin", "OTHER_ENGINE": "the-key-of-another-engine", "DB_PASS": "1", "COMPASS": "north"}
    register_secret("the-key-of-another-engine")
    try:
        assert clean_environment(own, {}) == {"PATH": "/bin", "COMPASS": "north"}
    finally:
        forget_secret("the-key-of-another-engine")
    assert "OTHER_ENGINE" in clean_environment(own, {})


# The probe.


async def answering(content):
    async def serve(reader, writer):
        request = await reader.readuntil(b"\r\n\r\n")
        seen.append(request)
        writer.write(content)
        writer.close()

    seen = []
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1], seen


async def test_probe_reads_the_status_and_sends_the_key():
    server, port, seen = await answering(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
    async with server:
        assert await readiness.ask(port, "/health", key="k") == 503
    assert seen[0].startswith(b"GET /health HTTP/1.1\r\n")
    assert b"Authorization: Bearer k\r\n" in seen[0]


@pytest.mark.parametrize("content", [b"", b"rubbish\r\n\r\n", b"SSH-2.0-x\n", b"x" * 10_000, b"HTTP/1.1 abc\r\n"])
async def test_probe_of_another_program_is_no_answer(content):
    server, port, _ = await answering(content)
    async with server:
        assert await readiness.ask(port, "/health") is None


async def test_probe_of_nobody_and_of_a_silent_one():
    assert await readiness.ask(free_port(), "/health") is None
    waiting = asyncio.Event()

    async def serve(_reader, writer):
        await waiting.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert await readiness.ask(port, "/health", patience=0.05) is None
        waiting.set()


async def test_patience_ends():
    probe = ProbeSpec(patience=0.05)
    assert not await readiness.wait_until_ready(probe, free_port(), key="", clock=RealClock())
