"""Searching before an answer: when it is done, for whom, and what becomes of a search that fails."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.errors import RequestError, UnavailableError
from ansambl.domain.knowledge import Filters, Found
from ansambl.domain.role import ModelName, Rewrite, Role
from ansambl.domain.text import text
from ansambl.roles.knowledge.reading import MOST_TOKENS, Gathering, KnowledgeReader, check_chosen, room_for
from ansambl.roles.knowledge.records import Given, How, Query
from ansambl.roles.records import RequestOptions
from ansambl.testing.fake_knowledge import FakeKnowledge

MODEL = ModelName("m", context=8192)
LIBRARIAN = Role("librarian", "Answer.", collections=("manuals",))


@pytest.fixture
def knowledge() -> FakeKnowledge:
    found = FakeKnowledge()
    found.put("manuals", "pump.md", "# Repairs\n\nThe heating pump is repaired by Ivanov.\n\nTea is served at five.")
    found.put("secrets", "keys.md", "The heating pump key is 4711.")
    found.put("memory", "mine", "The heating pump was loud, said Anna.", owner="key1")
    found.put("memory", "theirs", "The heating pump was silent, said Boris.", owner="key2")
    return found


def gathering(knowledge: FakeKnowledge, *questions: str, key: str = "key1", **more: Any) -> Gathering:
    messages: list[dict[str, Any]] = []
    for question in questions or ("Who repairs the heating pump?",):
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": "So be it."}]
    request = ChatRequest({}).changed({"messages": messages[:-1]})
    limit = more.pop("time_limit", 5.0)
    return Gathering(KnowledgeReader(lambda: knowledge, time_limit=limit), request, key, **more)


async def test_a_role_is_given_what_its_collections_hold(knowledge: FakeKnowledge) -> None:
    given = await gathering(knowledge).for_role(LIBRARIAN, MODEL)
    assert given is not None
    assert [one.piece.document.title for one in given.sources] == ["pump.md"]
    assert "repaired by Ivanov" in given.text
    assert "Tea" not in given.text
    assert [filters for _, filters in knowledge.searched] == [Filters(collections=("manuals",), owners=("key1", ""))]


async def test_a_key_finds_what_is_remembered_for_itself_alone(knowledge: FakeKnowledge) -> None:
    given = await gathering(knowledge).for_role(Role("r", "", collections=("memory",)), MODEL)
    assert given is not None
    assert "Anna" in given.text
    assert "Boris" not in given.text


async def test_nothing_is_searched_without_need(knowledge: FakeKnowledge) -> None:
    assert await gathering(knowledge).for_role(Role("plain", ""), MODEL) is None
    off = gathering(knowledge, options=RequestOptions(knowledge=False))
    assert await off.for_role(LIBRARIAN, MODEL) is None
    assert await gathering(knowledge, " ").for_role(LIBRARIAN, MODEL) is None
    assert knowledge.searched == []


@pytest.mark.parametrize("greeting", ["Привет!", "hello", "Спасибо", "ok"])
async def test_a_greeting_is_given_no_passages(knowledge: FakeKnowledge, greeting: str) -> None:
    given = await gathering(knowledge, greeting).for_role(LIBRARIAN, MODEL)
    assert given is not None
    assert not given.sources
    assert given.failure is None
    assert not knowledge.searched


async def test_what_stood_there_before_a_tool_was_called_is_not_searched_again(knowledge: FakeKnowledge) -> None:
    earlier = Given("[block]", Query("x"), ("manuals",))
    found = gathering(knowledge, earlier=lambda _: earlier)
    assert await found.for_role(LIBRARIAN, MODEL) is earlier
    assert found.given == [earlier]
    assert knowledge.searched == []


async def test_a_request_chooses_among_what_the_role_reads(knowledge: FakeKnowledge) -> None:
    role = Role("r", "", collections=("manuals", "secrets"))
    chosen = gathering(knowledge, options=RequestOptions(knowledge=("manuals", "memory")))
    given = await chosen.for_role(role, MODEL)
    assert given is not None
    assert given.collections == ("manuals",)
    with pytest.raises(RequestError, match="'r' does not read the collection 'memory'; it reads: manuals, secrets"):
        check_chosen(chosen.options, role.collections, role.name)
    check_chosen(RequestOptions(knowledge=True), (), "r")


async def test_members_that_read_the_same_share_one_search_and_its_bytes(knowledge: FakeKnowledge) -> None:
    found = gathering(knowledge)
    other = Role("other", "Answer otherwise.", collections=("manuals",))
    both = await asyncio.gather(found.for_role(LIBRARIAN, MODEL), found.for_role(other, MODEL))
    assert both[0] is both[1]
    assert len(knowledge.searched) == 1


async def test_numbers_are_given_once_for_all_members_of_a_request(knowledge: FakeKnowledge) -> None:
    found = gathering(knowledge)
    first = await found.for_role(LIBRARIAN, MODEL)
    second = await found.for_role(Role("wide", "", collections=("manuals", "secrets")), MODEL)
    assert first is not None
    assert second is not None
    titles = {one.number: one.piece.document.title for one in found.sources}
    assert titles == {1: "pump.md", 2: "keys.md"}
    assert {one.number for one in first.sources} == {1}
    assert {one.number for one in second.sources} == {1, 2}


async def test_a_collection_that_is_not_there_yet_holds_nothing(knowledge: FakeKnowledge) -> None:
    given = await gathering(knowledge).for_role(Role("r", "", collections=("later", "manuals")), MODEL)
    assert given is not None
    assert given.sources
    alone = await gathering(knowledge).for_role(Role("r", "", collections=("later",)), MODEL)
    assert alone is not None
    assert (alone.sources, alone.failure) == ((), None)
    nothing = await Gathering(
        KnowledgeReader(lambda: None),
        ChatRequest({}).changed({"messages": [{"role": "user", "content": "pump?"}]}),
        "k",
    ).for_role(LIBRARIAN, MODEL)
    assert nothing is not None
    assert nothing.sources == ()


async def test_what_is_not_found_is_said_honestly(knowledge: FakeKnowledge) -> None:
    given = await gathering(knowledge, "Кто выиграл чемпионат мира по футболу?").for_role(LIBRARIAN, MODEL)
    assert given is not None
    assert given.sources == ()
    assert "не найдено" in given.text


async def test_a_search_that_fails_lets_the_role_answer_without(knowledge: FakeKnowledge) -> None:
    knowledge.failure = UnavailableError(text("The index is being rebuilt."))
    given = await gathering(knowledge).for_role(LIBRARIAN, MODEL)
    assert given is not None
    assert str(given.failure) == "The index is being rebuilt."
    assert "could not be searched" in given.text
    knowledge.failure = ZeroDivisionError()
    broken = await gathering(knowledge).for_role(LIBRARIAN, MODEL)
    assert broken is not None
    assert str(broken.failure) == "the search failed"


class SlowKnowledge(FakeKnowledge):
    """Searches until it is let go, in whatever thread it is called."""

    def __init__(self) -> None:
        super().__init__()
        self.go, self.begun, self.threads = threading.Event(), threading.Event(), set[int]()
        self.create("manuals")

    def search(self, query: str, filters: Filters = Filters(), *, limit: int = 10, vectors: bool = True) -> Found:  # noqa: B008
        """Wait."""
        self.threads.add(threading.get_ident())
        self.begun.set()
        self.go.wait(20)
        return super().search(query, filters, limit=limit, vectors=vectors)


async def test_a_slow_search_is_left_and_never_holds_the_loop() -> None:
    slow = SlowKnowledge()
    try:
        given = await gathering(slow, time_limit=0.05).for_role(LIBRARIAN, MODEL)
        assert given is not None
        assert str(given.failure) == "the search took too long"
        assert threading.get_ident() not in slow.threads
    finally:
        slow.go.set()


async def test_who_leaves_ends_the_waiting() -> None:
    slow = SlowKnowledge()
    try:
        waiting = asyncio.create_task(gathering(slow).for_role(LIBRARIAN, MODEL))
        assert await asyncio.to_thread(slow.begun.wait, 20)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    finally:
        slow.go.set()


async def test_a_follow_up_is_searched_as_the_role_wants_it(knowledge: FakeKnowledge) -> None:
    asked: list[str] = []

    async def rewriter(role: Role, query: Query) -> str | None:
        asked.append(query.text)
        return "Who mends the\nheating pump" if role.name == "able" else None

    def role(name: str, rewrite: Rewrite) -> Role:
        return Role(name, "", collections=("manuals",), rewrite=rewrite)

    async def query(one: Role, *questions: str) -> Query:
        given = await gathering(knowledge, *questions, rewriter=rewriter).for_role(one, MODEL)
        assert given is not None
        return given.query

    talk = ("Who repairs the heating pump?", "why him?")
    assert (await query(role("able", Rewrite.AUTO), *talk)).how is How.WORDS
    assert await query(role("able", Rewrite.OFF), *talk) == Query("why him?")
    assert asked == []
    assert await query(role("able", Rewrite.MODEL), *talk) == Query("Who mends the heating pump", How.MODEL)
    assert (await query(role("mute", Rewrite.MODEL), *talk)).how is How.WORDS
    # A question that stands for itself costs no model's time.
    await query(role("able", Rewrite.MODEL), "Who repairs the heating pump in the cellar?")
    assert len(asked) == 2


def test_the_room_is_a_part_of_what_the_role_may_fill() -> None:
    messages = [{"role": "user", "content": "short"}]
    assert room_for(LIBRARIAN, ModelName("m", context=8000), messages).tokens == 2000
    assert room_for(LIBRARIAN, ModelName("m", context=131072), messages).tokens == MOST_TOKENS
    half = Role("r", "", collections=("c",), context_share=0.5, passages=3)
    assert room_for(half, ModelName("m", context=8000), messages) == room_for(half, ModelName("m", context=8000), [])
    assert room_for(half, ModelName("m", context=8000), messages).tokens == 1000
    wide = Role("r", "", collections=("c",), knowledge_share=0.5)
    assert room_for(wide, ModelName("m", context=131072), messages).tokens == 65536
    long = [{"role": "user", "content": "word " * 4000}]
    assert room_for(LIBRARIAN, ModelName("m", context=8000), long).tokens < 1200
    assert room_for(LIBRARIAN, ModelName("m", context=4000), long).tokens == 0
