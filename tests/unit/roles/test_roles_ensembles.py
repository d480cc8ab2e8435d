"""Chain, debate, ensembles inside ensembles; limits, cancelling and what it all costs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import replace
from typing import Any

import pytest
from ensemble_stage import (
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
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import Delta, Usage
from ansambl.domain.errors import AnsamblError, EngineError, UnavailableError
from ansambl.domain.role import ModelName
from ansambl.domain.text import text
from ansambl.domain.units import Seconds
from ansambl.roles.ensembles.events import Content, EnsembleEvent, Sharing
from ansambl.roles.records import RequestOptions
from ansambl.roles.service import RoleService

CHAIN = {"pattern": "chain", "roles": ["reasoner", "critic"], "rounds": 1}
DEBATE = {"pattern": "debate", "roles": ["reasoner", "philosopher"], "conductor": "coder", "rounds": 1}


# --- chain ------------------------------------------------------------------------------------------------------------


async def test_a_chain_drafts_reviews_and_revises() -> None:
    engines = ScriptedEngines(reasoner=[words("a dra", "ft"), words("the ", "revision")], critic=words("Say more."))
    events = await hold(stage(None, line=CHAIN), engines, "line")
    assert progress(events) == "**reasoner**\n\na draft\n\n**critic**\n\nSay more."
    assert content(events) == "the revision"
    assert [one.text for one in events if isinstance(one, Content)] == ["the ", "revision"]
    assert states(events) == ["reasoner answered", "critic answered", "reasoner answered"]
    assert finished(events).usage == Usage(300, 30, 270)
    assert '<draft role="reasoner">\na draft\n</draft>' in engines.note_of("critic")
    assert '<review role="critic">\nSay more.\n</review>' in engines.note_of("reasoner")


@pytest.mark.parametrize("word", ["APPROVED", "approved.", "**Approved**", " APPROVED\n"])
async def test_a_review_that_asks_for_nothing_ends_the_chain(word: str) -> None:
    service = stage(None, line=CHAIN)
    engines = ScriptedEngines(reasoner=words("a dra", "ft"), critic=words(word))
    events = await hold(service, engines, "line")
    assert [one for one in events if isinstance(one, Content)] == [Content("a draft")]
    assert said(events) == ["No review asks for a change, so the draft is the answer."]
    assert len(engines.asked) == 2
    # The draft is what a role said with its own note, so that note stands again in the next turn.
    after = [*request().messages(), {"role": "assistant", "content": "a draft"}, {"role": "user", "content": "Why?"}]
    sent = service.prepare(request(after), service.catalog.roles["brief"], key="k").request.messages()
    assert sent[3] == engines.asked[0].messages()[3]


async def test_a_word_of_approval_with_a_wish_behind_it_is_a_wish() -> None:
    engines = ScriptedEngines(reasoner=[words("draft"), words("better")], critic=words("Approved, but shorten it."))
    events = await hold(stage(None, line=CHAIN), engines, "line")
    assert content(events) == "better"


async def test_each_round_reviews_the_newest_text_and_the_last_revision_is_the_answer() -> None:
    service = stage(None, line={**CHAIN, "rounds": 3})
    engines = ScriptedEngines(
        reasoner=[words("one"), words("two"), words("three")],
        critic=[words("shorter"), words("longer"), words("APPROVED")],
    )
    events = await hold(service, engines, "line")
    assert content(events) == "three"
    assert "\n\n**critic (2)**\n\nlonger" in progress(events)
    assert '<draft role="reasoner">\ntwo\n</draft>' in engines.note_of("critic", 1)
    engines = ScriptedEngines(reasoner=[words("one"), words("two")], critic=words("again"))
    events = await hold(service, engines, "line", options=RequestOptions(rounds=1))
    assert content(events) == "two"


async def test_without_a_review_or_a_revision_the_draft_is_the_answer() -> None:
    failing = [EngineError(text("it crashed"))]
    events = await hold(stage(None, line=CHAIN), ScriptedEngines(reasoner=words("draft"), critic=failing), "line")
    assert content(events) == "draft"
    assert said(events) == ["The role 'critic' failed: it crashed", "There is no review, so the draft is the answer."]
    engines = ScriptedEngines(reasoner=[words("draft"), failing], critic=words("more"))
    events = await hold(stage(None, line=CHAIN), engines, "line")
    assert content(events) == "draft"
    assert said(events)[-1] == "There is no revision, so the draft is the answer."
    assert states(events) == ["reasoner answered", "critic answered", "reasoner failed"]


async def test_a_chain_without_a_draft_fails_and_so_does_one_that_breaks_in_its_answer() -> None:
    with pytest.raises(EngineError, match="No role of 'line' could answer: it crashed"):
        await hold(stage(None, line=CHAIN), ScriptedEngines(reasoner=[EngineError(text("it crashed"))]), "line")
    broken = [words("draft"), [Delta(content="half"), EngineError(text("it broke"))]]
    with pytest.raises(EngineError, match="it broke"):
        await hold(stage(None, line=CHAIN), ScriptedEngines(reasoner=broken, critic=words("more")), "line")


# --- debate -----------------------------------------------------------------------------------------------------------


async def test_a_debate_answers_rebuts_and_decides() -> None:
    engines = ScriptedEngines(
        reasoner=[words("R1"), words("R2")], philosopher=[words("P1"), words("P2")], talk=words("verdict")
    )
    events = await hold(stage(None, talk=DEBATE), engines, "talk")
    assert progress(events) == (
        "**reasoner**\n\nR1\n\n**philosopher**\n\nP1\n\n**reasoner (2)**\n\nR2\n\n**philosopher (2)**\n\nP2"
    )
    assert content(events) == "verdict"
    second = engines.note_of("reasoner")
    assert '<answer role="philosopher">\nP1\n</answer>' in second
    assert '<yours role="reasoner">\nR1\n</yours>' in second
    assert 'role="philosopher">\nP2' in engines.note_of("talk")
    assert "P1" not in engines.note_of("talk")
    assert engines.together == [("big", 2), ("big", 2)]
    assert states(events)[-1] == "coder answered"
    for sent in engines.asked:
        assert sent.messages()[:-1] == request().messages()[:-1]


async def test_a_member_that_fails_leaves_the_debate_and_what_it_said_still_counts() -> None:
    engines = ScriptedEngines(
        reasoner=[words("R1"), words("R2"), words("R3")],
        philosopher=[words("P1"), [EngineError(text("it crashed"))]], talk=words("verdict"),
    )  # fmt: skip
    events = await hold(stage(None, talk={**DEBATE, "rounds": 2}), engines, "talk")
    assert len(engines.requests_of("philosopher")) == 2
    assert len(engines.requests_of("reasoner")) == 3
    assert "P1" in engines.note_of("talk")
    assert "R3" in engines.note_of("talk")
    assert said(events) == ["The role 'philosopher' failed: it crashed"]


async def test_nobody_debates_alone() -> None:
    engines = ScriptedEngines(reasoner=words("R1"), philosopher=[EngineError(text("x"))], talk=words("verdict"))
    await hold(stage(None, talk={**DEBATE, "rounds": 5}), engines, "talk")
    assert len(engines.asked) == 3


async def test_a_debate_ends_when_its_time_does() -> None:
    watch = Watch()
    engines = ScriptedEngines(
        reasoner=[words("R1"), [watch.to(80.0), *words("R2")]], philosopher=words("P1"), talk=words("verdict")
    )
    service = stage(None, talk={**DEBATE, "rounds": 4, "seconds": 100})
    events = await hold(service, engines, "talk", watch=watch)
    assert "The debate ends after 1 of 4 rounds: its limit is reached." in said(events)
    assert content(events) == "verdict"


# --- ensembles inside ensembles ---------------------------------------------------------------------------------------


def nested() -> RoleService:
    return stage(
        None,
        inner={"roles": ["coder", "brief"], "conductor": "coder", "answer_tokens": 40, "seconds": 50},
        outer={"roles": ["inner", "reasoner"], "conductor": "reasoner", "branch_tokens": 30, "seconds": 100},
    )


async def test_a_member_may_be_an_ensemble() -> None:
    engines = ScriptedEngines(
        coder=words("c"), brief=words("b"), inner=words("in", "ner"), reasoner=words("r"), outer=words("done")
    )
    events = await hold(nested(), engines, "outer")
    assert progress(events) == (
        "**inner**\n\n**inner / coder**\n\nc\n\n**inner / brief**\n\nb\n\n**inner**\n\ninner\n\n**reasoner**\n\nr"
    )
    assert content(events) == "done"
    assert states(events) == [
        "inner/coder answered", "inner/brief answered", "inner/coder answered", "reasoner answered",
        "reasoner answered",
    ]  # fmt: skip
    assert finished(events).usage == Usage(500, 50, 450)
    assert '<answer role="inner">\ninner\n</answer>' in engines.note_of("outer")
    # The parent's limit of a branch is the nested ensemble's limit of its answer.
    assert engines.requests_of("inner")[0].value("max_tokens") == 30


async def test_what_a_nested_ensemble_is_told_reaches_its_members() -> None:
    service = stage(
        None, jury={"roles": ["critic", "brief"], "conductor": "critic"},
        line={"pattern": "chain", "roles": ["reasoner", "jury"]},
    )  # fmt: skip
    engines = ScriptedEngines(
        reasoner=[words("draft"), words("better")], critic=words("x"), brief=words("y"), jury=words("more!")
    )
    events = await hold(service, engines, "line")
    assert content(events) == "better"
    for role in ("critic", "brief", "jury"):
        assert '<draft role="reasoner">\ndraft\n</draft>' in engines.note_of(role)
    assert '<review role="jury">\nmore!\n</review>' in engines.note_of("reasoner")


async def test_an_ensemble_that_drafts_revises_too_and_its_answer_is_content() -> None:
    service = stage(None, pair={"roles": ["coder", "brief"]}, line={"pattern": "chain", "roles": ["pair", "critic"]})
    engines = ScriptedEngines(
        coder=words("c"), brief=words("b"), pair=[words("draft"), words("final")], critic=words("more")
    )
    events = await hold(service, engines, "line")
    assert content(events) == "final"
    assert progress(events).count("**pair / coder**") == 2


async def test_a_nested_ensemble_that_fails_is_a_branch_that_fails_and_what_it_cost_is_counted() -> None:
    crash = [Delta(content="x"), EngineError(text("it crashed"))]
    engines = ScriptedEngines(coder=crash, brief=crash, reasoner=words("r"), outer=words("done"))
    events = await hold(nested(), engines, "outer")
    assert "The ensemble 'inner' failed: No role of 'inner' could answer: it crashed" in said(events)
    assert content(events) == "done"
    assert states(events)[:2] == ["inner/coder failed", "inner/brief failed"]
    assert finished(events).usage == Usage(200, 22, 180)


async def test_a_nested_ensemble_ends_with_its_parents_time() -> None:
    engines = ScriptedEngines(
        coder=[asyncio.Event()], brief=[asyncio.Event()], reasoner=words("r"), outer=words("done")
    )
    events = await hold(nested(), engines, "outer", seconds=Seconds(0.3))
    assert content(events) == "done"
    assert engines.closed == engines.opened


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_the_tokens_of_all_answers_are_shared_among_those_to_come() -> None:
    engines = ScriptedEngines(
        coder=words("a"), reasoner=words("b"), philosopher=words("c"), council=words("d", usage=Usage(1, 1))
    )
    await hold(stage(), engines, "council", tokens=100)
    # 25 each; the members took 10 each, so 70 are left for the conductor.
    assert [one.value("max_tokens") for one in engines.asked] == [25, 25, 25, 70]


async def test_options_tighten_and_never_widen() -> None:
    engines = ScriptedEngines(coder=words("a"), reasoner=words("b"), philosopher=words("c"), council=words("d"))
    await hold(stage(), engines, "council", tokens=40, options=RequestOptions(tokens=100))
    assert engines.asked[0].value("max_tokens") == 10
    await hold(stage(), engines, "council", tokens=40, options=RequestOptions(tokens=20))
    assert engines.asked[4].value("max_tokens") == 5


async def test_without_tokens_for_a_final_answer_the_first_one_is_the_result() -> None:
    greedy = words("long", usage=Usage(10, 500))
    engines = ScriptedEngines(coder=greedy, reasoner=greedy, philosopher=greedy)
    events = await hold(stage(), engines, "council", tokens=80)
    assert content(events) == "long"
    assert said(events) == ["No tokens are left for a final answer; that of the role 'reasoner' is the result."]
    assert finished(events).finish_reason == "length"
    assert finished(events).usage == Usage(30, 1500)


def chatter(pieces: int) -> list[Any]:
    """An engine that never ends and reports no usage."""
    return [Delta(content=f"w{number} ") for number in range(pieces)]


async def test_an_engine_that_ignores_its_limit_is_cut_and_it_is_said() -> None:
    engines = ScriptedEngines(coder=chatter(50), reasoner=words("b"), philosopher=words("c"), council=chatter(50))
    events = await hold(stage(), engines, "council", branch_tokens=5, answer_tokens=7)
    assert content(events).split() == [f"w{number}" for number in range(7)]
    assert said(events) == [
        "The role 'coder' was cut at its limit of 5 tokens; what it had said is used.",
        "The role 'reasoner' was cut at its limit of 7 tokens; what it had said is used.",
    ]
    assert finished(events).finish_reason == "length"
    # 5 and 7 pieces were heard of the two that reported nothing.
    assert finished(events).usage == Usage(200, 32, 180)


async def test_a_cut_at_the_clients_own_limit_is_told_by_the_finish_reason_alone() -> None:
    engines = ScriptedEngines(coder=words("a"), reasoner=words("b"), philosopher=words("c"), council=chatter(50))
    events = await hold(stage(), engines, "council", request(max_tokens=3))
    assert (content(events), said(events)) == ("w0 w1 w2 ", [])
    assert finished(events).finish_reason == "length"
    assert states(events)[-1] == "reasoner cut"


async def test_a_whole_answer_at_once_is_cut_too() -> None:
    engines = ScriptedEngines(
        coder=words("x" * 10_000), reasoner=words("b"), philosopher=words("c"), council=words("d")
    )
    events = await hold(stage(), engines, "council", branch_tokens=10)
    assert len(progress(events)) < 500
    assert "'coder' was cut at its limit of 10 tokens" in said(events)[0]


@settings(max_examples=60, deadline=None)
@given(
    pattern=st.sampled_from(["council", "chain", "debate"]),
    tokens=st.integers(1, 60),
    lengths=st.lists(st.integers(0, 80), min_size=3, max_size=3),
    rounds=st.integers(1, 3),
    samples=st.integers(1, 3),
    reports=st.booleans(),
)
def test_no_engine_makes_an_ensemble_say_more_than_its_tokens(
    pattern: str, tokens: int, lengths: list[int], rounds: int, samples: int, reports: bool
) -> None:
    names = ["coder", "reasoner", "philosopher"]
    service = stage(None, some={"pattern": pattern, "roles": names, "rounds": rounds, "samples": samples})
    scripts = {
        name: [*chatter(length), *([Delta(usage=Usage(5, length))] if reports else [])]
        for name, length in zip(names, lengths, strict=True)
    }
    engines = ScriptedEngines(**scripts, some=chatter(100))
    events: list[EnsembleEvent] = []

    async def collect() -> None:
        async for event in begin(service, engines, "some", tokens=tokens):
            events.append(event)  # noqa: PERF401 - what came before an error counts too

    with suppress(AnsamblError):
        asyncio.run(collect())
    # A text that was shown as progress and became the answer was generated once.
    written_by = "some" if pattern != "chain" else "coder"
    fresh = len(content(events).split()) if written_by == "some" and engines.requests_of("some") else 0
    if pattern == "chain" and len(engines.requests_of("coder")) > rounds:
        fresh = len(content(events).split())
    shown = [one for one in progress(events).split() if one.startswith("w")]
    assert len(shown) + fresh <= tokens
    assert engines.closed == engines.opened


# --- cancelling -------------------------------------------------------------------------------------------------------


CANCELLED = {
    "council": (stage(), "council"),
    "chain": (stage(None, line={**CHAIN, "rounds": 2}), "line"),
    "debate": (stage(None, talk=DEBATE), "talk"),
    "nested": (nested(), "outer"),
}


@pytest.mark.parametrize("pattern", CANCELLED)
@pytest.mark.parametrize("way", ["cancel", "close"])
async def test_whenever_it_is_ended_every_branch_is_closed(pattern: str, way: str) -> None:
    service, name = CANCELLED[pattern]
    ended = moment = 0
    while not ended:
        moment += 1
        assert moment < 2000
        roles = [*service.catalog.roles, *service.catalog.ensembles]
        engines = ScriptedEngines(**{one: words("one ", "two") for one in roles})
        running = begin(service, engines, name)

        async def read(running: Any = running) -> None:
            async with AsyncExitStack() as stack:
                if way == "cancel":
                    await stack.enter_async_context(aclosing(running))
                async for _ in running:
                    # As a client that takes its time between two events.
                    await asyncio.sleep(0)

        task = asyncio.create_task(read())
        for _ in range(moment):
            await asyncio.sleep(0)
        ended = task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if way == "close":
            await running.aclose()
        assert (engines.closed, engines.inside) == (engines.opened, 0), moment
        assert len(asyncio.all_tasks()) == 1, moment
    assert moment > 20


async def test_cancelling_while_places_are_waited_for_gives_them_up() -> None:
    service = stage(
        {"critic": {"model": "busy"}}, ModelName("big"), ModelName("busy"), mixed={"roles": ["critic", "coder"]}
    )
    engines = ScriptedEngines(coder=[asyncio.Event()], mixed=words("x"))
    engines.entering["busy"] = asyncio.Event()
    running = begin(service, engines, "mixed")
    await anext(running)
    waiting = asyncio.create_task(anext(running))
    for _ in range(20):
        await asyncio.sleep(0)
    assert (engines.inside, engines.opened) == (2, 1)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert (engines.inside, engines.opened, engines.closed) == (0, 1, 1)
    assert len(asyncio.all_tasks()) == 1


async def test_what_fails_for_no_known_reason_is_raised_and_ends_the_rest() -> None:
    def bug() -> None:
        raise ZeroDivisionError

    engines = ScriptedEngines(
        coder=[bug], reasoner=[asyncio.Event()], philosopher=[asyncio.Event()], council=words("x")
    )
    with pytest.raises(ExceptionGroup) as caught:
        await hold(stage(), engines, "council")
    assert caught.value.subgroup(ZeroDivisionError) is not None
    assert engines.closed == engines.opened


async def test_unavailable_on_entering_keeps_its_status_when_nobody_else_answers() -> None:
    engines = ScriptedEngines()
    engines.entering["big"] = UnavailableError(text("not ready"))
    with pytest.raises(UnavailableError, match="not ready"):
        await hold(stage(), engines, "council")


async def test_sharing_is_told_for_each_group_and_its_prefill_is_counted_once() -> None:
    engines = ScriptedEngines(coder=words("a"), reasoner=words("b"), philosopher=words("c"), council=words("d"))
    engines.sharing, engines.prefill = Sharing.CACHED, Usage(900, 0, 100)
    end = finished(await hold(stage(), engines, "council"))
    assert end.usage == Usage(1300, 40, 460)
    assert [(one.sharing, one.usage) for one in end.sharing] == [(Sharing.CACHED, Usage(900, 0, 100))]


async def test_a_reload_that_takes_its_roles_away_is_for_the_next_request() -> None:
    service, smaller = stage(None, talk=DEBATE), stage(None)
    roles = {name: one for name, one in smaller.catalog.roles.items() if name not in {"coder", "philosopher"}}

    def reload() -> None:
        service.use(replace(smaller.catalog, roles=roles, ensembles={}))

    engines = ScriptedEngines(
        reasoner=[[reload, *words("R1")], words("R2")], philosopher=[words("P1"), words("P2")], talk=words("verdict")
    )
    assert content(await hold(service, engines, "talk")) == "verdict"
    assert "talk" not in service.catalog.ensembles
