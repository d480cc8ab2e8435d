from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import ChatRequest, Delta, Message, Usage
from ansambl.domain.errors import AnsamblError, EngineError, RequestError, UnavailableError
from ansambl.domain.role import ModelName
from ansambl.domain.text import text
from ansambl.roles.catalog import build_catalog
from ansambl.roles.ensembles import council
from ansambl.roles.ensembles.events import BranchFailed, BranchState, Content, EnsembleEvent, Finished, Progress
from ansambl.roles.ensembles.thinking import Piece, ThinkingSplitter
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory

Script = list[Any]
HISTORY: list[Message] = [
    {"role": "system", "content": "Be kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": "Good day."},
    {"role": "user", "content": "Is a heap a pile?"},
]


def words(*spoken: str, usage: Usage | None = None, finish_reason: str = "stop") -> Script:
    """What an engine says: pieces, the reason of its end, the usage."""
    return [
        *(Delta(content=one) for one in spoken),
        Delta(finish_reason=finish_reason),
        Delta(usage=usage or Usage(100, 10, 90)),
    ]


class Engine:
    """Plays one script per call: deltas are said, errors raised, events waited for, functions called."""

    def __init__(self, *scripts: Script) -> None:
        self.scripts = list(scripts)
        self.asked: list[ChatRequest] = []
        self.models: list[str] = []
        self.closed = 0

    async def __call__(self, model: str, request: ChatRequest, /) -> AsyncGenerator[Delta, None]:
        self.asked.append(request)
        self.models.append(model)
        try:
            for step in self.scripts.pop(0):
                if isinstance(step, AnsamblError):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif callable(step):
                    step()
                else:
                    yield step
        finally:
            self.closed += 1

    def messages(self) -> list[list[Message]]:
        return [one.messages() for one in self.asked]


class Watch:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time

    def to(self, time: float) -> Callable[[], None]:
        return lambda: setattr(self, "time", time)


def service(model: ModelName | None = None, **ensemble: Any) -> RoleService:
    return RoleService(build_catalog({}, {"council": ensemble}, [model or ModelName("big")]), TurnMemory())


def request(messages: list[Message] | None = None, **fields: Any) -> ChatRequest:
    return ChatRequest({}).changed({"model": "council", "messages": messages or HISTORY, **fields})


async def hold(
    engine: Engine, roles: RoleService | None = None, asked: ChatRequest | None = None, watch: Watch | None = None
) -> list[EnsembleEvent]:
    roles = roles or service()
    running = council.run(
        roles.catalog.ensembles["council"],
        asked or request(),
        service=roles,
        ask=engine,
        key="k",
        clock=watch or Watch(),
    )
    async with aclosing(running) as events:
        return [event async for event in events]


def content(events: list[EnsembleEvent]) -> str:
    return "".join(one.text for one in events if isinstance(one, Content))


def progress(events: list[EnsembleEvent]) -> str:
    return "".join(one.text for one in events if isinstance(one, Progress))


def finished(events: list[EnsembleEvent]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    return last


async def test_the_roles_speak_in_turn_and_the_conductor_merges() -> None:
    engine = Engine(words("def ", "heap()"), words("Count."), words("Sorites…"), words("It ", "depends."))
    events = await hold(engine)
    assert progress(events) == "**coder**\n\ndef heap()\n\n**reasoner**\n\nCount.\n\n**philosopher**\n\nSorites…"
    assert content(events) == "It depends."
    end = finished(events)
    assert (end.finish_reason, end.usage) == ("stop", Usage(400, 40, 360))
    assert [one.role for one in end.branches] == ["coder", "reasoner", "philosopher", "reasoner"]
    assert {one.state for one in end.branches} == {BranchState.ANSWERED}
    assert (engine.models, engine.closed) == (["big"] * 4, 4)


async def test_all_calls_share_everything_before_their_notes() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    engine = Engine(words("a"), words("b"), words("c"), words("d"))
    await hold(engine, asked=request(tools=tools, tool_choice="auto", response_format={"type": "text"}, n=1))
    for messages in engine.messages():
        assert messages[:-1] == HISTORY[:-1]
        assert messages[-1]["content"].startswith("Is a heap a pile?\n\n[Role: ")
    for sent in engine.asked:
        assert sent.value("tools") == tools
        assert (sent.value("tool_choice"), sent.value("response_format")) == ("none", {"type": "text"})
        assert (sent.stream, sent.includes_usage, sent.value("n")) == (True, True, None)
    merging = engine.messages()[-1][-1]["content"]
    assert '<answer role="coder">\na\n</answer>' in merging
    assert '<answer role="philosopher">\nc\n</answer>' in merging


async def test_without_tools_no_tool_choice_is_sent() -> None:
    engine = Engine(words("a"), words("b"), words("c"), words("d"))
    await hold(engine)
    assert "tool_choice" not in engine.asked[0].fields


async def test_the_smallest_limit_holds_for_each_call() -> None:
    scripts = [words("a"), words("b"), words("c"), words("d")]
    engine = Engine(*scripts)
    await hold(engine, service(branch_tokens=50, answer_tokens=70), request(max_completion_tokens=60))
    assert [one.value("max_tokens") for one in engine.asked] == [50, 50, 50, 60]
    assert "max_completion_tokens" not in engine.asked[0].fields
    engine = Engine(*scripts)
    await hold(engine, service(ModelName("tiny", output_limit=20)))
    assert [one.value("max_tokens") for one in engine.asked] == [20] * 4


async def test_thinking_is_not_passed_on_by_the_roles() -> None:
    thinker = [Delta(reasoning="hidden "), Delta(content="<thi"), Delta(content="nk>hidden</think>said"), *words()]
    engine = Engine(thinker, words("b"), words("c"), [Delta(reasoning="weighing"), *words("d")])
    events = await hold(engine)
    assert "hidden" not in progress(events)
    assert progress(events).startswith("**coder**\n\nsaid\n\n")
    assert "hidden" not in json.dumps(engine.messages()[-1])
    assert progress(events).endswith("weighing")
    assert content(events) == "d"


async def test_a_long_answer_is_clipped_for_the_conductor() -> None:
    engine = Engine(words("word " * 500), words("b"), words("c"), words("d"))
    await hold(engine, service(branch_tokens=10))
    merging = engine.messages()[-1][-1]["content"]
    assert "word word […]\n</answer>" in merging
    assert merging.count("word ") < 15


async def test_a_role_that_fails_does_not_sink_the_rest() -> None:
    engine = Engine(
        [Delta(content="half "), EngineError(text("it crashed"))],
        [Delta(error={"message": "no room"})],
        words("Sorites…"),
        words("It depends."),
    )
    events = await hold(engine)
    failures = [str(one.message) for one in events if isinstance(one, BranchFailed)]
    assert failures[0] == "The role 'coder' failed: it crashed"
    assert "no room" in failures[1]
    assert content(events) == "It depends."
    end = finished(events)
    assert [one.state.value for one in end.branches] == ["failed", "failed", "answered", "answered"]
    assert end.usage == Usage(200, 20, 180)
    assert "half" not in engine.messages()[-1][-1]["content"]


@pytest.mark.parametrize(
    ("first", "kind", "status"),
    [
        (EngineError(text("it crashed")), EngineError, 502),
        (UnavailableError(text("not ready")), UnavailableError, 503),
        (RequestError(text("too long"), code="context_length_exceeded"), RequestError, 400),
    ],
)
async def test_when_all_fail_the_first_error_is_told(first: AnsamblError, kind: type, status: int) -> None:
    engine = Engine([first], [EngineError(text("second"))], [EngineError(text("third"))])
    with pytest.raises(kind, match=str(first)) as caught:
        await hold(engine)
    assert caught.value.status == status


async def test_an_empty_answer_counts_as_a_failure() -> None:
    thinker = [Delta(reasoning="hm"), Delta(finish_reason="length")]
    with pytest.raises(EngineError, match="'coder' used all its tokens for thinking; raise branch_tokens"):
        await hold(Engine(thinker, words(" "), words("")))
    with pytest.raises(EngineError, match="'coder' gave an empty answer"):
        await hold(Engine(words("<think>only</think>"), words(" "), words("")))


async def test_roles_that_no_longer_fit_are_skipped_and_what_there_is_gets_merged() -> None:
    watch = Watch()
    engine = Engine([Delta(content="a"), watch.to(76.0), Delta(finish_reason="stop")], words("merged"))
    events = await hold(engine, service(seconds=100), watch=watch)
    skipped = [one for one in events if isinstance(one, BranchFailed)]
    assert [one.role for one in skipped] == ["coder", "reasoner", "philosopher"]
    assert "cut at the time limit" in str(skipped[0].message)
    assert "76 of 100 seconds" in str(skipped[1].message)
    assert [one.state.value for one in finished(events).branches] == ["cut", "skipped", "skipped", "answered"]
    assert content(events) == "merged"


async def test_an_engine_that_says_nothing_is_cut_and_closed() -> None:
    never = asyncio.Event()
    engine = Engine([Delta(content="a"), never], words("merged"))
    roles = service(seconds=0.2, roles=["coder"], conductor="coder")
    events = await hold(engine, roles)
    assert [one.state.value for one in finished(events).branches] == ["cut", "answered"]
    assert engine.closed == 2


async def test_a_conductor_that_is_out_of_time_ends_the_answer_where_it_is() -> None:
    watch = Watch()
    engine = Engine(words("a"), words("b"), words("c"), [Delta(content="It"), watch.to(100.0), Delta(content=" lost")])
    events = await hold(engine, service(seconds=100), watch=watch)
    assert finished(events).finish_reason == "length"
    assert content(events) == "It lost"
    watch = Watch()
    engine = Engine(words("a"), words("b"), [*words("c"), watch.to(101.0)])
    with pytest.raises(EngineError, match="could not be merged within 100 seconds"):
        await hold(engine, service(seconds=100), watch=watch)


async def test_a_conductor_that_fails_fails_the_answer() -> None:
    engine = Engine(words("a"), words("b"), words("c"), [Delta(content="half"), EngineError(text("it crashed"))])
    with pytest.raises(EngineError, match="it crashed"):
        await hold(engine)


async def test_more_than_one_answer_is_refused_before_anything_is_asked() -> None:
    engine = Engine()
    with pytest.raises(RequestError, match="one answer") as caught:
        await hold(engine, asked=request(n=2))
    assert caught.value.param == "n"
    assert engine.asked == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 0), ("n", [1]), ("stream", "yes"), ("max_tokens", -5), ("max_tokens", "5"), ("max_completion_tokens", True)],
)
async def test_values_that_an_engine_would_refuse_are_refused(field: str, value: object) -> None:
    engine = Engine()
    with pytest.raises(RequestError) as caught:
        await hold(engine, asked=request(**{field: value}))
    assert caught.value.param == field
    assert engine.asked == []


async def test_closing_the_council_ends_the_call_that_runs() -> None:
    engine = Engine([Delta(content="a"), asyncio.Event()])
    roles = service()
    running = council.run(roles.catalog.ensembles["council"], request(), service=roles, ask=engine, key="k")
    assert isinstance(await anext(running), Progress)
    assert await anext(running) == Progress("a", "coder")
    await running.aclose()
    assert engine.closed == 1


async def test_cancelling_the_council_ends_the_call_that_runs() -> None:
    reached = asyncio.Event()
    engine = Engine([Delta(content="a"), reached.set, asyncio.Event()])
    task = asyncio.create_task(hold(engine))
    await asyncio.wait_for(reached.wait(), 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert engine.closed == 1


async def test_a_short_merging_note_stands_again_in_the_next_turn_and_a_long_one_does_not() -> None:
    for spoken, kept in (("short", True), ("long " * 500, False)):
        roles = service()
        engine = Engine(words(spoken), words("b"), words("c"), words("Merged."))
        await hold(engine, roles)
        merging = engine.messages()[-1]
        after = [*HISTORY, {"role": "assistant", "content": "Merged."}, {"role": "user", "content": "Why?"}]
        sent = roles.prepare(request(after), roles.catalog.roles["brief"], key="k").request.messages()
        assert sent[3] == (merging[3] if kept else HISTORY[3])


async def test_what_a_client_saw_of_a_stopped_merge_is_remembered() -> None:
    roles = service()
    engine = Engine(words("a"), words("b"), words("c"), [Delta(content="Half"), asyncio.Event()])
    running = council.run(roles.catalog.ensembles["council"], request(), service=roles, ask=engine, key="k")
    async for event in running:
        if isinstance(event, Content):
            break
    await running.aclose()
    after = [*HISTORY, {"role": "assistant", "content": "Half"}, {"role": "user", "content": "Go on."}]
    sent = roles.prepare(request(after), roles.catalog.roles["brief"], key="k").request.messages()
    assert sent[3]["content"].startswith("Is a heap a pile?\n\n[Role: council]")


@given(st.lists(st.sampled_from(["<think>", "</think>", "<thi", "a", "nk>", "<", "text "]), max_size=12), st.data())
def test_thinking_is_told_from_the_answer_however_the_stream_is_cut(parts: list[str], data: st.DataObject) -> None:
    whole = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    splitter, pieces = ThinkingSplitter(), []
    for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        pieces += splitter.feed(whole[start:end])
    pieces += splitter.finish()
    at_once = ThinkingSplitter()
    expected = [*at_once.feed(whole), *at_once.finish()]
    assert joined(pieces) == joined(expected)


def joined(pieces: list[Piece]) -> list[Piece]:
    found: list[Piece] = []
    for piece in pieces:
        if found and found[-1].is_thinking == piece.is_thinking:
            found[-1] = Piece(found[-1].text + piece.text, piece.is_thinking)
        else:
            found.append(piece)
    return found
