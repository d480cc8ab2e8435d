"""Conversations that are remembered, where that is switched on."""

from __future__ import annotations

from typing import Any

import pytest

from ansambl.dialects.openai_chat import Answer, Message
from ansambl.domain.errors import UnavailableError
from ansambl.domain.knowledge import Filters
from ansambl.domain.past_conversation import PastConversation, Speaker
from ansambl.domain.text import text
from ansambl.roles.knowledge.memory import ConversationMemory, MemorySettings, conversation_of, with_times
from ansambl.testing.fake_knowledge import FakeKnowledge

ON = MemorySettings(True)
TALK: list[Message] = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "My cat is called Kot."}]


def more(*said: str) -> list[Message]:
    roles = ("assistant", "user")
    return [*TALK, *({"role": roles[index % 2], "content": one} for index, one in enumerate(said))]


class Memory(ConversationMemory):
    """Memory on knowledge of a test, with a clock of its own."""

    def __init__(self, settings: MemorySettings = ON, delay: float = 0.01) -> None:
        self.knowledge, self.settings, self.time = FakeKnowledge(), settings, 1000.0
        super().__init__(lambda: self.knowledge, lambda: self.settings, delay=delay, now=lambda: self.time)

    def titles(self) -> list[tuple[str, str]]:
        return [(one.owner, one.title) for one in self.knowledge.documents("memory")]


def note(memory: Memory, messages: list[Message], said: str, *, key: str = "k", name: str = "coder") -> None:
    memory.note(messages, Answer(content=said), name=name, key=key)


async def test_a_conversation_grows_as_one_document() -> None:
    memory = Memory()
    note(memory, TALK, "A fine name.")
    await memory.close()
    memory.time = 2000.0
    note(memory, more("A fine name.", "Is it?"), "<think>hm</think>Yes.")
    await memory.close()
    assert memory.titles() == [("k", "My cat is called Kot.")]
    document = memory.knowledge.documents("memory")[0]
    kept = memory.knowledge.conversation(str(document.id))
    assert [(one.speaker, one.text, one.author, one.time) for one in kept.turns] == [
        (Speaker.USER, "My cat is called Kot.", "", 1000.0), (Speaker.ASSISTANT, "A fine name.", "coder", 1000.0),
        (Speaker.USER, "Is it?", "", 2000.0), (Speaker.ASSISTANT, "Yes.", "coder", 2000.0),
    ]  # fmt: skip
    assert (kept.source, kept.created, kept.updated) == ("ansambl", 1000.0, 2000.0)


async def test_each_key_finds_its_own_alone() -> None:
    memory = Memory()
    note(memory, TALK, "A fine name.", key="one")
    note(memory, TALK, "A fine name.", key="two")
    await memory.close()
    assert sorted(owner for owner, _ in memory.titles()) == ["one", "two"]
    found = memory.knowledge.search("cat", Filters(owners=("one", "")))
    assert {one.document.owner for one in found.hits} == {"one"}
    assert memory.knowledge.forget("one") == 1


async def test_nothing_is_kept_that_was_not_switched_on() -> None:
    for settings, name, key in (
        (MemorySettings(), "coder", "k"),
        (MemorySettings(True, names=frozenset({"friend"})), "coder", "k"),
        (MemorySettings(True, keys=frozenset({"other"})), "coder", "k"),
    ):
        memory = Memory(settings)
        assert not memory.wants(name, key)
        note(memory, TALK, "A fine name.", key=key, name=name)
        await memory.close()
        assert memory.knowledge.collections() == []


async def test_what_was_switched_off_meanwhile_is_not_written() -> None:
    memory = Memory(delay=60)
    note(memory, TALK, "A fine name.")
    memory.settings = MemorySettings()
    await memory.close()
    assert memory.knowledge.collections() == []
    memory.settings = ON
    note(memory, TALK, "A fine name.")
    memory.forget("k")
    await memory.close()
    assert memory.knowledge.collections() == []


async def test_what_is_forgotten_while_others_are_written_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory(delay=60)
    keep = memory.knowledge.remember

    def remember(conversation: PastConversation, collection: str, owner: str) -> int:
        memory.forget("two")
        return keep(conversation, collection, owner)

    monkeypatch.setattr(memory.knowledge, "remember", remember)
    for key in ("one", "two"):
        note(memory, TALK, "A fine name.", key=key)
    await memory.close()
    assert [owner for owner, _ in memory.titles()] == ["one"]


async def test_empty_and_broken_answers_are_no_conversations(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    note(memory, TALK, " <think>only thoughts</think> ")
    memory.note(TALK, Answer(content="half", error={"message": "broke"}), name="coder", key="k")
    note(memory, [{"role": "system", "content": "x"}], "Hello.")
    await memory.close()
    assert memory.knowledge.collections() == []

    def refuse(*_: Any) -> int:
        raise UnavailableError(text("The disk is full."))

    monkeypatch.setattr(memory.knowledge, "remember", refuse)
    note(memory, TALK, "A fine name.")
    # It is only logged: the answer is out already.
    await memory.close()


def test_the_id_stays_while_a_conversation_grows_and_differs_between_keys() -> None:
    def one(messages: list[Message], said: str, key: str = "k") -> PastConversation:
        found = conversation_of(messages, Answer(content=said), name="coder", key=key, now=1.0)
        assert found is not None
        return found

    first, second = one(TALK, "A fine name."), one(more("A fine name.", "Is it?"), "Yes.")
    assert first.id == second.id
    assert len({first.id, one(TALK, "Another.").id, one(TALK, "A fine name.", "other").id}) == 3
    parts: list[Message] = [
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:"}}, {"type": "text", "text": "?"}],
        }
    ]
    assert one(parts, "A cat.").turns[0].attachments == ("image",)
    long = one([{"role": "user", "content": "word " * 100}], "Yes.")
    assert len(long.title) <= 81
    assert with_times(first, None).created == 1.0
