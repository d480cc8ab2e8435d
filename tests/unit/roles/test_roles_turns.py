from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ansambl
from ansambl.dialects.openai_chat import Answer, Message
from ansambl.foundation.clock import VirtualClock
from ansambl.foundation.sqlite import Database, Migration
from ansambl.roles import canonical
from ansambl.roles.turns import Note, TurnMemory

_SCRIPTS = sorted((Path(ansambl.__file__).parent / "app" / "migrations").glob("000[238]_*.sql"))
NOTE, OTHER = Note("coder", "[Role: coder] …"), Note("brief", "[Role: brief] …")
USER: Message = {"role": "user", "content": "Сколько строк в файле?"}


def database(folder: Path) -> Database:
    steps = [Migration(number, one.stem, one.read_text(encoding="utf-8")) for number, one in enumerate(_SCRIPTS, 1)]
    return Database(folder / "ansambl.db", steps)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Database]:
    found = database(tmp_path)
    yield found
    found.close()


def said(content: str) -> Message:
    return {"role": "assistant", "content": content}


def remember(memory: TurnMemory, messages: list[Message], answer: Answer, note: Note = NOTE, key: str = "k") -> None:
    memory.remember(memory.recall(key, "h", messages), answer, note)


def test_a_note_returns_to_the_turn_that_it_came_from() -> None:
    memory = TurnMemory()
    remember(memory, [USER], Answer(content="Сорок две."))
    history = [USER, said("Сорок две."), {"role": "user", "content": "Почему?"}]
    assert memory.recall("k", "h", history).texts == {0: NOTE.text}
    assert memory.recall("other key", "h", history).notes == {}
    assert memory.recall("k", "other head", history).notes == {}
    assert memory.recall("k", "h", [said("Привет"), *history]).notes == {}
    assert memory.recall("k", "h", [USER, said("Сорок три."), history[2]]).notes == {}


@pytest.mark.parametrize(
    "sent_back",
    [
        "  42 lines.\n",
        "<think>I count them.</think>\n\n42 lines.",
        "I count them.</think>42 lines.",
        [{"type": "text", "text": "42 lines."}],
    ],
)
def test_what_clients_change_about_an_answer_does_not_matter(sent_back: Any) -> None:
    memory = TurnMemory()
    remember(memory, [USER], Answer(content="<think>One, two…</think>42 lines.", reasoning="One, two…"))
    user = {"role": "user", "content": [{"type": "text", "text": USER["content"] + " "}]}
    assistant = {"role": "assistant", "content": sent_back, "reasoning_content": "dropped or not"}
    assert memory.recall("k", "h", [user, assistant]).texts == {0: NOTE.text}


def test_in_a_tool_loop_the_latest_known_answer_decides() -> None:
    memory = TurnMemory()
    call = {"id": "c1", "type": "function", "function": {"name": "count", "arguments": '{"a":1, "b":2}'}}
    remember(memory, [USER], Answer(tool_calls=[call]))
    sent_back = {"id": "c1", "type": "function", "function": {"name": "count", "arguments": '{ "b": 2, "a": 1 }'}}
    history: list[Message] = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [sent_back]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    assert memory.recall("k", "h", history).notes == {0: NOTE}
    remember(memory, history, Answer(content="42"), OTHER)
    assert memory.recall("k", "h", [*history, said("42")]).notes == {0: OTHER}
    assert memory.recall("k", "h", [*history, said("43")]).notes == {0: NOTE}


def test_images_count_by_what_they_show() -> None:
    def picture(data: str) -> Message:
        return {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}],
        }

    memory = TurnMemory()
    remember(memory, [picture("AAAA")], Answer(content="A cat."))
    assert memory.recall("k", "h", [picture("AAAA"), said("A cat.")]).notes == {0: NOTE}
    assert memory.recall("k", "h", [picture("BBBB"), said("A cat.")]).notes == {}


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        Answer(content=" \n"),
        Answer(content="<think>Only thoughts"),
        Answer(content="Half an ans", error={"message": "the engine crashed"}),
    ],
)
def test_nothing_is_kept_of_an_empty_or_broken_answer(answer: Answer) -> None:
    memory = TurnMemory()
    remember(memory, [USER], answer)
    assert len(memory) == 0


def test_what_a_client_has_seen_of_a_stopped_answer_is_kept() -> None:
    memory = TurnMemory()
    remember(memory, [USER], Answer(content="Half an ans"))
    assert memory.recall("k", "h", [USER, said("Half an ans")]).notes == {0: NOTE}


def test_notes_survive_a_restart(tmp_path: Path) -> None:
    first = database(tmp_path)
    remember(TurnMemory(first), [USER], Answer(content="42"))
    first.close()
    second = database(tmp_path)
    try:
        assert TurnMemory(second).recall("k", "h", [USER, said("42")]).notes == {0: NOTE}
    finally:
        second.close()


def test_what_is_remembered_of_a_key_is_forgotten_with_it(tmp_path: Path) -> None:
    first = database(tmp_path)
    memory = TurnMemory(first)
    for key in ("k", "other"):
        remember(memory, [USER], Answer(content="42"), key=key)
    remember(memory, [USER], Answer(content="43"), OTHER, key="k")
    memory.forget_key("k")
    for key, notes in (("k", {}), ("other", {0: NOTE})):
        assert memory.recall(key, "h", [USER, said("42")]).notes == notes
    first.close()
    second = database(tmp_path)
    try:
        again = TurnMemory(second)
        assert len(again) == 1
        assert again.recall("k", "h", [USER, said("42")]).notes == {}
        assert again.recall("other", "h", [USER, said("42")]).notes == {0: NOTE}
        # The instruction of a role that only the key used is gone, too.
        assert [row["role"] for row in second.read("SELECT role FROM role_notes")] == [NOTE.role]
    finally:
        second.close()


def test_the_database_holds_no_word_of_the_conversation(tmp_path: Path) -> None:
    store = database(tmp_path)
    remember(TurnMemory(store), [{"role": "user", "content": "a secret question"}], Answer(content="a secret answer"))
    store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert NOTE.text.encode() in content
    assert b"secret" not in content


async def test_what_memory_has_no_room_for_is_found_on_disk(store: Database) -> None:
    memory = TurnMemory(store, clock=VirtualClock(), capacity=2)
    for number in range(5):
        remember(memory, [USER], Answer(content=f"answer {number}"), Note("coder", f"note {number}"))
    await store.run(lambda _: None)
    assert len(memory) == 2
    for number in range(5):
        assert memory.recall("k", "h", [USER, said(f"answer {number}")]).texts == {0: f"note {number}"}
    assert len(memory) == 2


async def test_a_restart_loads_the_newest_turns_and_asks_the_disk_for_older_ones(store: Database) -> None:
    clock = VirtualClock()
    memory = TurnMemory(store, clock=clock)
    for number in range(4):
        remember(memory, [USER], Answer(content=f"answer {number}"))
        await clock.advance(1)
    memory.save()
    await store.run(lambda _: None)
    again = TurnMemory(store, clock=clock, capacity=2)
    assert len(again) == 2
    assert again.recall("k", "h", [USER, said("answer 0")]).notes == {0: NOTE}


async def test_old_turns_and_notes_without_turns_are_pruned(store: Database) -> None:
    clock = VirtualClock()
    memory = TurnMemory(store, clock=clock, rows=3)
    for number in range(501):
        remember(memory, [USER], Answer(content=f"answer {number}"), OTHER if number == 0 else NOTE)
        await clock.advance(1)
    memory.save()
    await store.run(lambda _: None)
    assert store.read("SELECT count(*) FROM role_turns")[0][0] == 3
    assert [row["role"] for row in store.read("SELECT role FROM role_notes")] == ["coder"]


def test_the_latest_note_of_a_turn_wins_on_disk_too(store: Database) -> None:
    memory = TurnMemory(store)
    remember(memory, [USER], Answer(content="42"), NOTE)
    remember(memory, [USER], Answer(content="42"), OTHER)
    assert memory.recall("k", "h", [USER, said("42")]).notes == {0: OTHER}
    store._executor.submit(lambda: None).result(timeout=10)
    assert TurnMemory(store).recall("k", "h", [USER, said("42")]).notes == {0: OTHER}


def test_a_turn_keeps_its_day_and_how_its_note_stood_beyond_a_restart(tmp_path: Path) -> None:
    first, later = dt.date(2026, 11, 21), dt.date(2026, 11, 22)
    trailing = Note("coder", "[Role: coder] …", trailing=True, day=first)
    talk = [USER, said("42"), USER]
    store = database(tmp_path)
    memory = TurnMemory(store)
    remember(memory, [USER], Answer(content="42"), trailing)
    remember(memory, talk, Answer(content="43"), Note("mute", "", day=later))
    store.close()
    again = database(tmp_path)
    found = TurnMemory(again).recall("k", "h", [*talk, said("43"), USER])
    again.close()
    assert found.day == first, "the conversation keeps the day on which it began"
    assert found.notes == {0: trailing}, "a turn without a note puts none into its message"
    assert (found.texts, found.trailing) == ({}, {0: trailing.text})


def test_a_turn_after_the_database_closed_is_kept_in_memory(tmp_path: Path) -> None:
    store = database(tmp_path)
    memory = TurnMemory(store)
    store.close()
    remember(memory, [USER], Answer(content="42"))
    assert memory.recall("k", "h", [USER, said("42")]).notes == {0: NOTE}


def chain(state: bytes, messages: list[Message]) -> Iterator[bytes]:
    for message in messages:
        state = canonical.extend(state, message)
        yield state


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text(max_size=5)), min_size=1, max_size=6))
def test_the_chain_depends_on_every_message_and_on_their_order(conversation: list[tuple[str, str]]) -> None:
    messages: list[Message] = [{"role": role, "content": f"{content}."} for role, content in conversation]
    start = canonical.start("k", "h")
    states = list(chain(start, messages))
    assert len(set(states)) == len(states)
    assert states == list(chain(start, messages))
    changed = [*messages[:-1], {**messages[-1], "content": "something else entirely"}]
    assert list(chain(start, changed))[-1] != states[-1]
    assert list(chain(canonical.start("k2", "h"), messages))[-1] != states[-1]


def test_thinking_is_taken_out_wherever_it_begins_and_ends() -> None:
    assert canonical.strip_thinking("a <think>b</think> c <think>d</think>e") == "a  c e"
    assert canonical.strip_thinking("b</think>\nc") == "c"
    assert canonical.strip_thinking("a <think>never closed") == "a"
    assert canonical.strip_thinking("  plain\n") == "plain"
    assert canonical.strip_thinking("a<think>b</think>c<think>d") == "ac"
    assert canonical.strip_thinking("a</think>b<think>c</think>d") == "bd"


def test_a_text_full_of_beginnings_of_thinking_is_read_at_once() -> None:
    began = time.process_time()
    assert canonical.strip_thinking("a" + "<think>" * 200_000) == "a"
    # Looking for the end of each would take minutes, and a client can send that.
    assert time.process_time() - began < 5
