"""Conversations are kept whole, in their newest state, and forgotten without a trace."""

from __future__ import annotations

import contextlib
import time
import zlib
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from knowledge_stage import opened

from ansambl.domain.errors import NotFoundError, UsageError
from ansambl.domain.knowledge import EVERYBODY, Filters, Kind
from ansambl.domain.past_conversation import PastConversation, Speaker, Turn
from ansambl.knowledge.reading.confined import Confined

BAKING = PastConversation(
    "chatgpt",
    "abc-1",
    "Пироги",
    (
        Turn(Speaker.USER, "Как испечь пирог с яблоками?", 10.0, id="t1"),
        Turn(Speaker.ASSISTANT, "Замесите тесто и положите яблоки.", 11.0, "ChatGPT", "t2"),
    ),
    created=10.0,
    updated=11.0,
)
LATER = replace(
    BAKING, turns=(*BAKING.turns, Turn(Speaker.USER, "А сколько сахара?", 20.0, id="t3")), updated=20.0
)  # fmt: skip
SECRET = "zanzibarische-geheimzahl-4711"
PRIVATE = PastConversation(
    "ansambl", "own-1", "Private " + SECRET, (Turn(Speaker.USER, f"My secret is {SECRET}, keep it. " * 3, 5.0),)
)


def export(path: Path, *talks: PastConversation) -> str:
    path.write_bytes(msgspec.json.encode(talks))
    return str(path)


def test_an_export_is_taken_in_once_and_in_its_newest_state(tmp_path: Path) -> None:
    knowledge = opened(tmp_path / "knowledge")
    old, new = export(tmp_path / "old.json", BAKING), export(tmp_path / "new.json", LATER)
    first = knowledge.import_chats(old, "past")
    assert (first.added, first.turns, first.since, first.until) == (1, 2, 10.0, 11.0)
    assert knowledge.import_chats(old, "past").unchanged == 1
    assert knowledge.import_chats(new, "past").updated == 1
    # An older export never undoes a newer one.
    assert knowledge.import_chats(old, "past").unchanged == 1
    (document,) = knowledge.documents("past")
    assert (document.kind, document.source, document.place) == (Kind.CONVERSATION, "chatgpt", "chatgpt:abc-1")
    for wanted in (str(document.id), "abc-1", "abc", "Пироги"):
        assert knowledge.conversation(wanted) == LATER
    hit = knowledge.search("яблоко", Filters(authors=("ChatGPT",)), vectors=False).hits[0]
    assert (hit.passage.author, hit.passage.role, hit.passage.turn) == ("ChatGPT", "assistant", "t2")
    assert not knowledge.search("яблоко", Filters(since=100.0)).hits
    assert knowledge.search("яблоко", Filters(since=10.0, until=12.0)).hits
    with pytest.raises(NotFoundError):
        knowledge.conversation("nothing")
    knowledge.import_chats(export(tmp_path / "two.json", replace(BAKING, id="abc-2")), "past")
    with pytest.raises(UsageError, match="several"):
        knowledge.conversation("abc")
    knowledge.close()


def test_dates_that_say_nothing_of_their_order_are_mended_by_importing_again(tmp_path: Path) -> None:
    """The day comes first, unless it is said otherwise; then the same notes are kept anew, also with earlier dates."""
    note = ">[!nexus_user] **User** - 07/08/2025 at 12:48\n> How deep is the well?\n<!-- UID: a -->\n"
    path = tmp_path / "note.md"
    path.write_text(
        f"---\nnexus: nexus-ai-chat-importer\nconversation_id: c-1\nupdate_time: 07/08/2025 at 12:48\n---\n{note}"
    )
    with contextlib.closing(opened(tmp_path / "knowledge", reading=Confined())) as knowledge:
        months = []
        for order in (None, False):
            report = knowledge.import_chats(str(path), "past", day_first=order)
            (document,) = knowledge.documents("past")
            (turn,) = knowledge.conversation(str(document.id)).turns
            assert turn.time is not None
            months.append((report.added, report.updated, time.gmtime(turn.time).tm_mon))
    assert months == [(1, 0, 8), (0, 1, 7)]


def test_what_is_remembered_is_found_by_its_owner_alone(tmp_path: Path) -> None:
    knowledge = opened(tmp_path / "knowledge")
    mine = knowledge.remember(BAKING, "memory", "key-1")
    theirs = knowledge.remember(BAKING, "memory", "key-2")
    assert mine != theirs
    assert knowledge.remember(LATER, "memory", "key-1") == mine
    found = knowledge.search("яблоки", Filters(owners=("key-1", EVERYBODY)))
    assert {hit.document.id for hit in found.hits} == {mine}
    assert [one.id for one in knowledge.documents(owner="key-2")] == [theirs]
    assert knowledge.forget("key-1") == 1
    assert not knowledge.search("яблоки", Filters(owners=("key-1",))).hits
    assert knowledge.search("яблоки", Filters(owners=("key-2",))).hits
    with pytest.raises(UsageError):
        knowledge.forget(EVERYBODY)
    knowledge.close()


@pytest.mark.parametrize("way", ["forget", "document", "collection"])
def test_what_is_forgotten_is_in_no_file(tmp_path: Path, way: str) -> None:
    folder = tmp_path / "knowledge"
    knowledge = opened(folder)
    knowledge.import_chats(export(tmp_path / "old.json", BAKING), "past")
    document = knowledge.remember(PRIVATE, "memory", "key-1")
    knowledge.embed()
    knowledge.close()
    packed = zlib.compress(PRIVATE.turns[0].text.encode(), 6)[8:24]
    # The text is there in some form: in the index its words, in the store the compressed blocks.
    words = SECRET.split("-")[1].encode()
    held = [one.read_bytes() for one in folder.rglob("*") if one.is_file()]
    assert any(words in one for one in held)
    assert any(packed in one for one in held)
    knowledge = opened(folder)
    if way == "forget":
        assert knowledge.forget("key-1") == 1
    elif way == "document":
        knowledge.remove_document(document)
    else:
        knowledge.remove_collection("memory")
    knowledge.close()
    for one in folder.rglob("*"):
        if one.is_file():
            data = one.read_bytes()
            assert words not in data.lower(), one
            assert packed not in data, one
    knowledge = opened(folder)
    assert [one.title for one in knowledge.documents()] == ["Пироги"]
    assert knowledge.search("яблоки").hits
    knowledge.close()


def test_conversations_of_others_are_not_even_named(tmp_path: Path) -> None:
    knowledge = opened(tmp_path / "knowledge")
    knowledge.remember(replace(BAKING, id="abc-1", title="Secret of one"), "memory", "k1")
    knowledge.remember(replace(BAKING, id="abc-2", title="Secret of another"), "memory", "k1")
    own = knowledge.remember(replace(BAKING, id="abc-3", title="Mine"), "memory", "k2")
    # Where they were looked at first, the words of the error said whose conversations are about what.
    assert knowledge.conversation("abc", (EVERYBODY, "k2")).id == "abc-3"
    assert knowledge.conversation(str(own), (EVERYBODY, "k2")).title == "Mine"
    for wanted in ("abc-1", "abc", "Secret of one", "1"):
        with pytest.raises(NotFoundError) as caught:
            knowledge.conversation(wanted, (EVERYBODY, "k3"))
        assert "Secret" not in str(caught.value).replace(wanted, "")
    with pytest.raises(UsageError, match="several"):
        knowledge.conversation("abc")
    knowledge.close()
