from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from ensemble_stage import (
    HISTORY,
    ScriptedEngines,
    Watch,
    begin,
    content,
    finished,
    hold,
    progress,
    request,
    said,
    stage,
    states,
    words,
)
from hypothesis import given
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import Delta, Usage
from ansambl.domain.errors import AnsamblError, EngineError, RequestError, UnavailableError
from ansambl.domain.role import Layout, ModelName
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.roles.ensembles.budget import shown_seconds
from ansambl.roles.ensembles.events import Content, Progress, Sharing
from ansambl.roles.ensembles.thinking import Piece, ThinkingSplitter
from ansambl.roles.records import RequestOptions


def three(**more: Any) -> ScriptedEngines:
    """The shipped council's members and its conductor, whose note bears the council's name."""
    scripts = {"coder": words("a"), "reasoner": words("b"), "philosopher": words("c"), "council": words("d"), **more}
    return ScriptedEngines(**scripts)


async def test_the_members_answer_at_once_and_the_conductor_merges() -> None:
    engines = three(
        coder=words("def ", "heap()"), reasoner=words("Count."), philosopher=words("Sorites…"),
        council=words("It ", "depends."),
    )  # fmt: skip
    engines.prefill = Usage(1000, 0, 0)
    events = await hold(stage(), engines, "council")
    assert progress(events) == "**coder**\n\ndef heap()\n\n**reasoner**\n\nCount.\n\n**philosopher**\n\nSorites…"
    assert content(events) == "It depends."
    end = finished(events)
    assert (end.finish_reason, end.usage) == ("stop", Usage(1400, 40, 360))
    assert states(events) == ["coder answered", "reasoner answered", "philosopher answered", "reasoner answered"]
    assert engines.together == [("big", 3)]
    assert (engines.models, engines.closed, engines.inside) == (["big"] * 4, 4, 0)
    assert [(one.model, one.requests, one.sharing) for one in end.sharing] == [("big", 3, Sharing.CLONED)]


async def test_answers_are_shown_in_the_members_order_whichever_comes_first() -> None:
    late = asyncio.Event()
    engines = three(
        coder=[Delta(content="first "), late, *words("last")],
        philosopher=[*words("early"), late.set],
    )  # fmt: skip
    events = await hold(stage(), engines, "council")
    assert progress(events) == "**coder**\n\nfirst last\n\n**reasoner**\n\nb\n\n**philosopher**\n\nearly"


async def test_the_first_member_is_shown_while_it_speaks_and_the_next_when_it_has_ended() -> None:
    gates = [asyncio.Event() for _ in range(2)]
    engines = three(
        coder=[Delta(content="one "), gates[0], *words("two")],
        reasoner=[Delta(content="three "), gates[1], *words("four")],
    )  # fmt: skip
    running = begin(stage(), engines, "council")
    seen = [await anext(running) for _ in range(2)]
    assert seen[1] == Progress("one ", "coder")
    gates[0].set()
    seen += [await anext(running) for _ in range(3)]
    assert [one.text for one in seen[2:] if isinstance(one, Progress)] == ["two", "\n\n**reasoner**\n\n", "three "]
    gates[1].set()
    rest = [one async for one in running]
    assert progress(rest) == "four\n\n**philosopher**\n\nc"


async def test_members_on_several_models_are_asked_side_by_side() -> None:
    roles = {"critic": {"model": "small"}}
    service = stage(roles, ModelName("big"), ModelName("small"), mixed={"roles": ["coder", "critic", "reasoner"]})
    both = asyncio.Event()
    engines = ScriptedEngines(
        coder=[both, *words("a")], critic=[both.set, *words("b")], reasoner=words("c"), mixed=words("d")
    )
    events = await hold(service, engines, "mixed")
    assert progress(events) == "**coder**\n\na\n\n**critic**\n\nb\n\n**reasoner**\n\nc"
    assert sorted(engines.together) == [("big", 2), ("small", 1)]
    assert [one.model for one in finished(events).branches] == ["big", "small", "big", "big"]
    assert {(one.model, one.requests) for one in finished(events).sharing} == {("big", 2)}


async def test_all_calls_share_everything_before_their_notes() -> None:
    tools = [{"type": "function", "function": {"name": "look"}}]
    engines = three()
    asked = request(tools=tools, tool_choice="auto", response_format={"type": "text"}, n=1)
    await hold(stage(), engines, "council", asked)
    for sent in engines.asked:
        messages = sent.messages()
        assert messages[:-1] == HISTORY[:-1]
        assert messages[-1]["content"].startswith("Is a heap a pile?\n\n[Role: ")
        assert sent.value("tools") == tools
        assert (sent.value("tool_choice"), sent.value("response_format")) == ("none", {"type": "text"})
        assert (sent.stream, sent.includes_usage, sent.value("n")) == (True, True, None)
    merging = engines.note_of("council")
    assert '<answer role="coder">\na\n</answer>' in merging
    assert '<answer role="philosopher">\nc\n</answer>' in merging


async def test_without_tools_no_tool_choice_is_sent() -> None:
    engines = three()
    await hold(stage(), engines, "council")
    assert all("tool_choice" not in one.fields for one in engines.asked)


async def test_the_smallest_limit_holds_for_each_call() -> None:
    engines = three()
    asked = request(max_completion_tokens=60)
    await hold(stage(), engines, "council", asked, branch_tokens=50, answer_tokens=70)
    assert [one.value("max_tokens") for one in engines.asked] == [50, 50, 50, 60]
    assert "max_completion_tokens" not in engines.asked[0].fields
    engines = three()
    await hold(stage(None, ModelName("tiny", output_limit=20)), engines, "council")
    assert [one.value("max_tokens") for one in engines.asked] == [20] * 4


async def test_the_layout_of_the_request_holds_for_the_members_and_the_merging_note_stays_with_the_message() -> None:
    engines = three()
    scripts = {role: engines.scripts[role][0] for role in ("coder", "reasoner", "philosopher")}
    engines.scripts[""] = list(scripts.values())
    await hold(stage(), engines, "council", options=RequestOptions(layout=Layout.CLASSIC))
    for sent in engines.asked[:3]:
        assert sent.messages()[-1] == HISTORY[-1]
        assert sent.messages()[0]["content"].endswith("\n\nBe kind.")
    assert engines.asked[3].messages()[:-1] == HISTORY[:-1]


async def test_thinking_is_not_passed_on_by_the_members() -> None:
    engines = three(
        coder=[Delta(reasoning="hidden "), Delta(content="<thi"), Delta(content="nk>hidden</think>said"), *words()],
        council=[Delta(reasoning="weighing"), *words("d")],
    )
    events = await hold(stage(), engines, "council")
    assert "hidden" not in progress(events)
    assert progress(events).startswith("**coder**\n\nsaid\n\n")
    assert "hidden" not in json.dumps(engines.asked[-1].messages())
    assert progress(events).endswith("weighing")
    assert content(events) == "d"


async def test_a_long_answer_is_clipped_for_the_conductor() -> None:
    engines = three(coder=[*(Delta(content="lengthy ") for _ in range(10)), *words()])
    await hold(stage(), engines, "council", branch_tokens=10)
    merging = engines.note_of("council")
    assert "lengthy lengthy […]\n</answer>" in merging
    assert merging.count("lengthy") == 7


async def test_a_member_that_fails_does_not_sink_the_rest() -> None:
    engines = three(
        coder=[Delta(content="half "), EngineError(text("it crashed"))], reasoner=[Delta(error={"message": "no room"})]
    )
    events = await hold(stage(), engines, "council")
    assert said(events)[0] == "The role 'coder' failed: it crashed"
    assert "no room" in said(events)[1]
    assert content(events) == "d"
    assert states(events) == ["coder failed", "reasoner failed", "philosopher answered", "reasoner answered"]
    # One piece of the first was heard before it broke off; nobody told what its prompt cost.
    assert finished(events).usage == Usage(200, 21, 180)
    assert "half" not in engines.note_of("council")


async def test_a_model_that_cannot_be_reached_fails_its_members_alone() -> None:
    service = stage(
        {"critic": {"model": "dead"}}, ModelName("big"), ModelName("dead"), mixed={"roles": ["critic", "coder"]}
    )
    engines = ScriptedEngines(coder=words("a"), mixed=words("d"))
    engines.entering["dead"] = UnavailableError(text("nobody answers there"))
    events = await hold(service, engines, "mixed", conductor="coder")
    assert said(events) == ["The role 'critic' failed: nobody answers there"]
    assert states(events) == ["critic failed", "coder answered", "coder answered"]


@pytest.mark.parametrize(
    ("first", "kind", "status"),
    [
        (EngineError(text("it crashed")), EngineError, 502),
        (UnavailableError(text("not ready")), UnavailableError, 503),
        (RequestError(text("too long"), code="context_length_exceeded"), RequestError, 400),
    ],
)
async def test_when_all_fail_the_first_error_is_told(first: AnsamblError, kind: type, status: int) -> None:
    engines = three(coder=[first], reasoner=[EngineError(text("second"))], philosopher=[EngineError(text("third"))])
    with pytest.raises(kind, match=str(first)) as caught:
        await hold(stage(), engines, "council")
    assert caught.value.status == status


async def test_an_empty_answer_counts_as_a_failure() -> None:
    thinker = [Delta(reasoning="hm"), Delta(finish_reason="length")]
    with pytest.raises(EngineError, match="'coder' used all its tokens for thinking; raise branch_tokens"):
        await hold(stage(), three(coder=thinker, reasoner=words(" "), philosopher=words("")), "council")
    with pytest.raises(EngineError, match="'coder' gave an empty answer"):
        await hold(
            stage(),
            three(coder=words("<think>only</think>"), reasoner=words(" "), philosopher=words("")),
            "council",
        )


async def test_what_is_said_when_the_time_is_near_its_end_is_merged() -> None:
    watch, moved = Watch(), asyncio.Event()
    engines = three(
        coder=[Delta(content="a"), watch.to(76.0), moved.set, Delta(content="b"), Delta(content=" lost")],
        philosopher=[moved, Delta(), *words("too late")],
    )
    engines.sharing = Sharing.IN_TURN
    service = stage(None, council={"seconds": 100, "roles": ["coder", "philosopher"]})
    events = await hold(service, engines, "council", watch=watch)
    assert "'coder' was cut at the time limit of 100 seconds" in said(events)[0]
    assert said(events)[1].startswith("The role 'philosopher' was skipped: 76 of 100 seconds")
    assert states(events) == ["coder cut", "philosopher skipped", "reasoner answered"]
    assert content(events) == "d"
    assert "lost" not in engines.note_of("council")


async def test_an_engine_that_says_nothing_is_cut_and_closed() -> None:
    engines = three(coder=[Delta(content="a"), asyncio.Event()])
    service = stage(None, council={"seconds": 0.2, "roles": ["coder"], "conductor": "reasoner"})
    events = await hold(service, engines, "council")
    assert states(events) == ["coder cut", "reasoner answered"]
    assert engines.closed == engines.opened == 2


async def test_a_place_that_is_not_granted_in_time_is_given_up() -> None:
    service = stage(
        {"critic": {"model": "busy"}}, ModelName("big"), ModelName("busy"),
        mixed={"roles": ["critic", "coder"], "conductor": "coder", "seconds": 0.2},
    )  # fmt: skip
    engines = ScriptedEngines(coder=words("a"), mixed=words("d"))
    engines.entering["busy"] = asyncio.Event()
    events = await hold(service, engines, "mixed")
    assert states(events) == ["critic skipped", "coder answered", "coder answered"]
    assert engines.inside == 0


async def test_a_conductor_that_is_out_of_time_ends_the_answer_where_it_is() -> None:
    watch = Watch()
    engines = three(council=[Delta(content="It"), watch.to(100.0), Delta(content=" lost")])
    events = await hold(stage(), engines, "council", watch=watch, seconds=100)
    assert finished(events).finish_reason == "length"
    assert content(events) == "It lost"
    assert "cut at the time limit" in said(events)[-1]
    watch = Watch()
    engines = three(council=[watch.to(101.0), Delta()])
    with pytest.raises(EngineError, match="could not be written within 100 seconds"):
        await hold(stage(), engines, "council", watch=watch, seconds=100)


async def test_the_time_limit_that_is_named_is_the_one_that_was_kept() -> None:
    """A request may ask for less time than the ensemble has."""
    watch = Watch()
    engines = three(council=[watch.to(5.0), Delta()])
    with pytest.raises(EngineError, match=r"could not be written within 1\.5 seconds"):
        await hold(stage(), engines, "council", watch=watch, seconds=100, options=RequestOptions(seconds=Seconds(1.5)))


@pytest.mark.parametrize(
    ("seconds", "shown"), [(300.0, "300"), (1, "1"), (0.25, "0.2"), (3600.0, "3600"), (1.5, "1.5")]
)
def test_seconds_are_named_without_idle_digits(seconds: float, shown: str) -> None:
    assert shown_seconds(seconds) == shown


async def test_too_few_tokens_for_all_answers_are_told_as_such() -> None:
    engines = three()
    with pytest.raises(EngineError, match="1 of 1 tokens are left, too few for the answers to come"):
        await hold(stage(), engines, "council", options=RequestOptions(tokens=1))
    assert engines.asked == []


async def test_a_conductor_that_fails_fails_the_answer() -> None:
    engines = three(council=[Delta(content="half"), EngineError(text("it crashed"))])
    with pytest.raises(EngineError, match="it crashed"):
        await hold(stage(), engines, "council")


async def test_more_than_one_answer_is_refused_before_anything_is_asked() -> None:
    engines = three()
    with pytest.raises(RequestError, match="one answer") as caught:
        await hold(stage(), engines, "council", request(n=2))
    assert caught.value.param == "n"
    assert engines.asked == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("n", 0), ("n", [1]), ("stream", "yes"), ("max_tokens", -5), ("max_tokens", "5"), ("max_completion_tokens", True)],
)
async def test_values_that_an_engine_would_refuse_are_refused(field: str, value: object) -> None:
    engines = three()
    with pytest.raises(RequestError) as caught:
        await hold(stage(), engines, "council", request(**{field: value}))
    assert caught.value.param == field
    assert engines.asked == []


async def test_a_short_merging_note_stands_again_in_the_next_turn_and_a_long_one_does_not() -> None:
    for spoken, kept in (("short", True), ("long " * 200, False)):
        service = stage()
        engines = three(
            coder=words(spoken), philosopher=words(spoken), reasoner=words(spoken), council=words("Merged.")
        )
        await hold(service, engines, "council")
        merging = engines.asked[-1].messages()
        after = [*HISTORY, {"role": "assistant", "content": "Merged."}, {"role": "user", "content": "Why?"}]
        sent = service.prepare(request(after), service.catalog.roles["brief"], key="k").request.messages()
        assert sent[3] == (merging[3] if kept else HISTORY[3])


async def test_what_a_client_saw_of_a_stopped_merge_is_remembered() -> None:
    service = stage()
    engines = three(council=[Delta(content="Half"), asyncio.Event()])
    running = begin(service, engines, "council")
    async for event in running:
        if isinstance(event, Content):
            break
    await running.aclose()
    after = [*HISTORY, {"role": "assistant", "content": "Half"}, {"role": "user", "content": "Go on."}]
    sent = service.prepare(request(after), service.catalog.roles["brief"], key="k").request.messages()
    assert sent[3]["content"].startswith("Is a heap a pile?\n\n[Role: council]")


async def test_samples_of_one_role_differ_by_their_seeds_and_are_warm() -> None:
    service = stage({"cold": {"temperature": 0, "instruction": "x"}}, alone={"roles": ["cold"], "samples": 3})
    engines = ScriptedEngines(cold=words("a"), alone=words("d"))
    events = await hold(service, engines, "alone", request(seed=7))
    assert [(one.value("seed"), one.value("temperature")) for one in engines.requests_of("cold")] == [
        (7, 0.7), (8, 0.7), (9, 0.7),
    ]  # fmt: skip
    assert progress(events) == "**cold (1)**\n\na\n\n**cold (2)**\n\na\n\n**cold (3)**\n\na"
    assert '<answer role="cold (3)">' in engines.note_of("alone")
    engines = ScriptedEngines(cold=words("a"), alone=words("d"))
    await hold(service, engines, "alone", request(temperature=0.3))
    assert {one.value("temperature") for one in engines.requests_of("cold")} == {0.3}


async def test_the_most_frequent_short_answer_wins_and_the_votes_are_shown() -> None:
    service = stage(None, jury={"roles": ["coder", "reasoner", "philosopher"], "merge": "vote"})
    engines = ScriptedEngines(
        coder=words("Counting gives\nAnswer: 41"), reasoner=words("17 + 25, so **Answer:** 42."),
        philosopher=words("42"),
    )  # fmt: skip
    engines.scripts["reasoner"] = [words("17 + 25\n**Answer:** 42.0")]
    events = await hold(service, engines, "jury")
    assert content(events) == "42.0"
    assert said(events) == ["Votes: 42.0: 2 (reasoner, philosopher); 41: 1 (coder)."]
    assert states(events) == ["coder answered", "reasoner answered", "philosopher answered"]
    assert "begins with 'Answer:'" in engines.note_of("coder")


async def test_a_tie_is_decided_by_the_conductors_own_answer() -> None:
    service = stage(None, jury={"roles": ["coder", "reasoner"], "merge": "vote", "conductor": "reasoner"})
    engines = ScriptedEngines(coder=words("yes"), reasoner=words("no"))
    events = await hold(service, engines, "jury")
    assert content(events) == "no"
    assert "A tie; it is decided for no." in said(events)[0]


async def test_free_text_cannot_be_voted_on_so_the_conductor_merges_it() -> None:
    service = stage(None, jury={"roles": ["coder", "reasoner"], "merge": "vote"})
    essay = "There is much to say about heaps, and none of it fits into one short line, as all who tried have found."
    engines = ScriptedEngines(coder=words(essay), reasoner=words(essay), jury=words("merged"))
    events = await hold(service, engines, "jury")
    assert content(events) == "merged"
    assert "cannot be voted on" in said(events)[0]


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


async def test_each_call_tells_when_its_first_word_came_and_thinking_is_none() -> None:
    watch = Watch()
    engines = three(
        coder=[Delta(reasoning="hm "), watch.to(3.0), *words("a"), watch.to(4.0)],
        reasoner=words("b"), philosopher=[Delta(reasoning="nothing to say")],
    )  # fmt: skip
    end = finished(await hold(stage(), engines, "council", watch=watch))
    coder = end.branches[0]
    assert coder.first == 3.0
    assert coder.seconds >= coder.first
    assert end.branches[2].first is None
