"""Passages of earlier turns stand again where they stood, until they are too many."""

from __future__ import annotations

from typing import Any

from ansambl.dialects.openai_chat import Answer, ChatRequest, Message
from ansambl.domain.knowledge import Document, Kind, Passage
from ansambl.domain.role import Layout, ModelName, Role
from ansambl.roles.knowledge.records import Given, Piece, Query, Source
from ansambl.roles.knowledge.remembered import RememberedPassages, Stood
from ansambl.roles.records import RequestOptions, RoleCatalog
from ansambl.roles.service import Prepared, RoleService
from ansambl.roles.turns import TurnMemory

CODER = Role("coder", "Write code first.", collections=("c",))
MUTE = Role("mute", "", collections=("c",))


def found(text: str, *, tokens: int = 100, document: int = 1) -> Given:
    piece = Piece(Document(document, "c", Kind.FILE, "/a", "a"), Passage(0, 0, 1, text), text, tokens, 0.5)
    return Given(f"<{text}>", Query("q"), ("c",), (Source(1, piece),), tokens=tokens)


class Talk:
    """A client that keeps its history."""

    def __init__(self, *, context: int = 8192) -> None:
        self.messages: list[Message] = []
        self.turns = TurnMemory()
        catalog = RoleCatalog({one.name: one for one in (CODER, MUTE)}, {}, {"m": ModelName("m", context=context)}, "m")
        self.service = RoleService(catalog, self.turns)

    def ask(self, question: Any, role: Role, given: Given | None = None, **more: Any) -> Prepared:
        self.messages.append({"role": "user", "content": question})
        request = ChatRequest({}).changed({"messages": self.messages})
        prepared = self.service.prepare(request, role, key=more.pop("key", "k"), given=given, **more)
        said = f"So be it, {len(self.messages)}."
        prepared.remember(Answer(content=said))
        self.messages.append({"role": "assistant", "content": said})
        return prepared


def contents(prepared: Prepared) -> list[Any]:
    return [one["content"] for one in prepared.request.messages() if one["role"] == "user"]


def test_passages_stand_between_the_question_and_the_note() -> None:
    talk = Talk()
    first = talk.ask("What?", CODER, found("pump"))
    assert contents(first) == ["What?\n\n<pump>\n\n[Role: coder]\nWrite code first.\n[/Role]"]
    assert first.given == found("pump")
    parts = talk.ask([{"type": "text", "text": "And?"}], MUTE, found("tea"))
    assert contents(parts)[1] == [{"type": "text", "text": "And?"}, {"type": "text", "text": "\n\n<tea>"}]


def test_what_came_before_a_message_is_sent_again_byte_by_byte() -> None:
    talk = Talk()
    before: list[Message] = []
    for turn in range(6):
        role = (CODER, MUTE)[turn % 2]
        prepared = talk.ask(f"Question {turn}", role, found(f"fact {turn}") if turn % 3 else None)
        sent = prepared.request.messages()
        assert sent[: len(before)] == before
        before = sent


def test_the_classic_layout_keeps_passages_too() -> None:
    talk = Talk()
    classic = RequestOptions(layout=Layout.CLASSIC)
    first = talk.ask("What?", CODER, found("pump"), options=classic).request.messages()
    again = talk.ask("And?", CODER, options=classic).request.messages()
    assert first[1]["content"] == "What?\n\n<pump>"
    assert again[: len(first)] == first


def test_another_key_gets_nothing_of_it() -> None:
    talk = Talk()
    talk.ask("What?", MUTE, found("pump"))
    assert contents(talk.ask("And?", MUTE, key="other")) == ["What?", "And?"]


def test_a_tool_loop_keeps_the_passages_of_its_message() -> None:
    talk = Talk()
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    question: list[Message] = [{"role": "user", "content": "What?"}]
    request = ChatRequest({}).changed({"messages": question})
    assert talk.service.given_before(request, MUTE, key="k") is None
    prepared = talk.service.prepare(request, MUTE, key="k", given=found("pump"))
    prepared.remember(Answer(tool_calls=[call]))
    loop = [
        *question, {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
    ]  # fmt: skip
    request = ChatRequest({}).changed({"messages": loop})
    assert talk.service.given_before(request, MUTE, key="k") == found("pump")
    again = talk.service.prepare(request, MUTE, key="k", given=found("pump"))
    assert again.request.messages()[0] == prepared.request.messages()[0]


def test_too_many_passages_go_all_at_once_and_stay_away() -> None:
    talk = Talk(context=1000)
    for turn in range(3):
        talk.ask(f"Question {turn}", MUTE, found(f"fact {turn}", tokens=150))
    # 600 tokens would be more than half of the context.
    dropped = talk.ask("Question 3", MUTE, found("fact 3", tokens=150))
    assert contents(dropped) == ["Question 0", "Question 1", "Question 2", "Question 3\n\n<fact 3>"]
    after = talk.ask("Question 4", MUTE, found("fact 4", tokens=150))
    sent = after.request.messages()
    assert sent[: len(dropped.request.messages())] == dropped.request.messages()
    assert contents(after)[3:] == ["Question 3\n\n<fact 3>", "Question 4\n\n<fact 4>"]


def test_what_is_removed_is_written_into_no_prompt_again() -> None:
    talk = Talk()
    talk.ask("What?", MUTE, found("pump", document=7))
    talk.ask("Else?", MUTE, found("tea", document=8))
    talk.service.forget_documents([7])
    assert contents(talk.ask("And?", MUTE)) == ["What?", "Else?\n\n<tea>", "And?"]
    talk.service.forget_key("k")
    assert contents(talk.ask("And?", MUTE))[1] == "Else?"


def test_memory_is_bounded_in_bytes() -> None:
    passages = RememberedPassages(capacity=20_000)
    for number in range(100):
        passages.keep(bytes([number]), Stood(found("x" * 500), owner="k"))
    assert passages.size <= 20_000
    assert 0 < len(passages) < 20
    assert passages.find([(bytes([0]), 0)]) == {}
    assert list(passages.find([(bytes([99]), 4)])) == [4]
    passages.forget_owner("k")
    assert (len(passages), passages.size) == (0, 0)
