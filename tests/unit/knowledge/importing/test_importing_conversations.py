"""What becomes of a conversation: a document, bytes for the store, and messages to go on with."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.domain.knowledge import Form, Kind
from ansambl.domain.past_conversation import Branch, PastConversation, Speaker, Turn
from ansambl.knowledge.importing import kept
from ansambl.knowledge.importing.continuing import continuation, estimated_tokens, messages_of
from ansambl.knowledge.importing.material import LONGEST_TOOL_TEXT, material_of

USER, ASSISTANT, TOOL, SYSTEM = Speaker.USER, Speaker.ASSISTANT, Speaker.TOOL, Speaker.SYSTEM
TALK = PastConversation(
    "chatgpt", "c1", "Огурцы",
    (
        Turn(SYSTEM, "Be brief.", id="0"),
        Turn(USER, "Как солить огурцы?", 100.0, id="1", attachments=("фото.png",)),
        Turn(TOOL, "x" * 9000, 101.0, "web", "2"),
        Turn(ASSISTANT, "Шестьдесят граммов соли на литр воды.", 102.0, "ChatGPT", "3"),
        Turn(USER, "А сахар?", 103.0, id="4"),
    ),
    (Branch("3", (Turn(USER, "А чеснок?", 104.0, id="5"), Turn(ASSISTANT, "Два зубчика.", 105.0, "ChatGPT", "6"))),),
    90.0, 105.0, {"model": "gpt-4o", "url": "https://chatgpt.com/c/c1"},
)  # fmt: skip


def test_the_document_holds_every_turn_with_its_mark_and_no_headers():
    found = material_of(TALK)
    assert (found.kind, found.form, found.place, found.title) == (
        Kind.CONVERSATION,
        Form.CONVERSATION,
        "chatgpt:c1",
        "Огурцы",
    )
    assert (found.time, found.language, found.authors, found.source) == (90.0, "ru", ("ChatGPT",), "chatgpt")
    assert found.facts == {"model": "gpt-4o", "url": "https://chatgpt.com/c/c1", "turns": "5"}
    assert [(mark.turn, mark.role, mark.author, mark.time) for mark in found.marks][1:4] == [
        ("1", "user", None, 100.0), ("2", "tool", "web", 101.0), ("3", "assistant", "ChatGPT", 102.0)
    ]  # fmt: skip
    ends = [mark.start for mark in found.marks[1:]] + [len(found.text) + 2]
    pieces = {mark.turn: found.text[mark.start : end - 2] for mark, end in zip(found.marks, ends, strict=True)}
    assert pieces["1"] == "Как солить огурцы?\n\n[attachment: фото.png]"
    assert pieces["3"] == "Шестьдесят граммов соли на литр воды."
    assert len(pieces["2"]) == LONGEST_TOOL_TEXT + 1
    assert pieces["6"] == "Два зубчика."


def test_without_a_time_of_its_own_the_first_turn_tells_it():
    assert material_of(replace(TALK, created=None)).time == 100.0
    assert material_of(PastConversation("jsonl", "x", "t", ())).time is None


def test_the_store_gives_it_back_and_the_hash_is_of_what_was_said():
    assert kept.decode(kept.encode(TALK)) == TALK
    assert kept.digest(TALK) == kept.digest(replace(TALK, warnings=("w",), repairs={"mac-roman": 3}))
    assert kept.digest(TALK) != kept.digest(replace(TALK, title="other"))
    assert kept.digest(TALK) != kept.digest(replace(TALK, turns=TALK.turns[:-1]))
    with pytest.raises(ValueError, match=r".+"):
        kept.decode(b"\x91\x01")


def test_an_older_export_does_not_undo_a_newer_one():
    longer = replace(TALK, turns=(*TALK.turns, Turn(ASSISTANT, "Немного.", id="7")), updated=200.0)
    assert kept.supersedes(longer, TALK)
    assert not kept.supersedes(TALK, longer)
    assert not kept.supersedes(replace(TALK, updated=None), replace(longer, updated=None))
    assert kept.supersedes(TALK, TALK)
    # The same, whose dates are read with the month first now.
    assert kept.supersedes(replace(TALK, updated=50.0), replace(TALK, updated=200.0))
    assert not kept.supersedes(replace(TALK, updated=50.0), replace(TALK, updated=200.0, title="renamed since"))


def test_going_on_sends_users_and_assistants_in_turns_with_tools_folded_in():
    messages = messages_of(TALK)
    assert [one["role"] for one in messages] == ["user", "assistant", "user"]
    assert messages[0]["content"].startswith("Как солить огурцы?")
    assert messages[1]["content"].startswith("[web]\nxxx")
    assert messages[1]["content"].endswith("литр воды.")
    assert len(messages[1]["content"]) < 2000
    assert continuation(TALK, 10_000).left_out == 0


TURNS = st.lists(st.tuples(st.sampled_from(list(Speaker)), st.integers(0, 400)), max_size=14)


@settings(max_examples=80, deadline=None)
@given(TURNS, st.integers(20, 600))
def test_what_is_sent_alternates_fits_and_keeps_the_newest(turns, limit):
    talk = PastConversation("jsonl", "x", "t", tuple(
        Turn(who, f"{number}:" + "y" * size, id=str(number)) for number, (who, size) in enumerate(turns)
    ))  # fmt: skip
    whole, taken = messages_of(talk), continuation(talk, limit)
    roles = [one["role"] for one in taken.messages]
    assert all(role == ("user", "assistant")[number % 2] for number, role in enumerate(roles))
    assert sum(estimated_tokens(one["content"]) for one in taken.messages) <= limit
    assert taken.left_out == len(whole) - len(taken.messages)
    assert bool(taken.messages) == bool(whole)
    if taken.left_out and len(taken.messages) > 2:
        assert taken.messages[-1] == whole[-1] or taken.messages[:2] == tuple(whole[:2])
