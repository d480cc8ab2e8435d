"""The knowledge in memory keeps to the contract where its users rely on it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from ansambl.domain.errors import NotFoundError
from ansambl.domain.knowledge import EVERYBODY, Filters
from ansambl.domain.past_conversation import PastConversation, Speaker, Turn
from ansambl.knowledge.contract import Knowledge
from ansambl.testing.fake_knowledge import FakeKnowledge

TALK = PastConversation(
    "chatgpt",
    "abc-1",
    "Пироги",
    (Turn(Speaker.USER, "Как испечь пирог?", 10.0), Turn(Speaker.ASSISTANT, "Замесите тесто.", 11.0, "ChatGPT")),
)


def test_folders_are_taken_in_once_and_found_by_their_words(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# Cooling\n\nThe pump runs at night.\n\nThe fan never.", encoding="utf-8")
    (tmp_path / "b.bin").write_bytes(b"\xff\xfe\x00")
    knowledge: Knowledge = FakeKnowledge()
    first = knowledge.add(str(tmp_path), "house")
    assert (first.added, first.passages, len(first.refused)) == (1, 2, 1)
    assert knowledge.add(str(tmp_path), "house").unchanged == 1
    hit = knowledge.search("the pump", Filters(collections=("house",))).hits[0]
    assert hit.passage.text == "The pump runs at night."
    assert hit.passage.headings == ("Cooling",)
    text = knowledge.document(hit.document.id)[1]
    assert text[hit.passage.start : hit.passage.end] == hit.passage.text


def test_conversations_are_found_by_owner_and_forgotten(tmp_path: Path) -> None:
    export = tmp_path / "talks.json"
    export.write_bytes(msgspec.json.encode([TALK]))
    knowledge = FakeKnowledge()
    assert knowledge.import_chats(str(export), "past").added == 1
    assert knowledge.import_chats(str(export), "past").unchanged == 1
    knowledge.remember(TALK, "memory", "key-1")
    assert knowledge.conversation("abc") == TALK
    everybody = knowledge.search("тесто", Filters(owners=(EVERYBODY,)))
    assert [hit.document.collection for hit in everybody.hits] == ["past"]
    assert everybody.hits[0].passage.author == "ChatGPT"
    assert knowledge.forget("key-1") == 1
    assert not knowledge.search("тесто", Filters(owners=("key-1",))).hits


def test_unknown_collections_are_named() -> None:
    with pytest.raises(NotFoundError, match="missing"):
        FakeKnowledge().search("a", Filters(collections=("missing",)))
