"""A route at work: who is chosen, what it costs, and what is passed on. The deciding itself has tests of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ensemble_stage import ScriptedEngines, content, finished, hold, progress, request, said, stage, states, words

from ansambl.dialects.openai_chat import Answer, ChatRequest, Delta, Message, Usage
from ansambl.domain.errors import EngineError, RequestError
from ansambl.domain.role import Ensemble, ModelName, Role
from ansambl.domain.text import text
from ansambl.roles.ensembles.route import QUESTION_TOKENS, Choice, choose
from ansambl.roles.records import NO_OPTIONS, RequestOptions
from ansambl.roles.service import RoleService

ROLES = {
    "cook": {"instruction": "You cook.", "examples": ["How do I boil an egg?", "A recipe for bread, please"]},
    "pilot": {"instruction": "You fly.", "examples": ["How do I land a plane?", "What lifts a wing?"]},
}
ROUTE: dict[str, Any] = {"pattern": "route", "roles": ["cook", "pilot"], "default": "pilot", "conductor": "cook"}
TOOLS = [{"type": "function", "function": {"name": "look", "parameters": {}}}]


def ask(words_: str, **fields: Any) -> ChatRequest:
    return request([{"role": "user", "content": words_}], **fields)


async def chosen(
    service: RoleService, asked: ChatRequest, engines: ScriptedEngines | None = None,
    options: RequestOptions = NO_OPTIONS, embeds: Any = None, name: str = "way",
) -> Choice:  # fmt: skip
    return await choose(
        service.catalog.ensembles[name], asked, service=service, engines=engines or ScriptedEngines(), key="k",
        options=options, clock=lambda: 0.0, embeds=embeds,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "options", "role", "how"),
    [
        (ask("How do I boil an egg for long?"), NO_OPTIONS, "cook", "likeness"),
        (ask("How do I land a heavy plane?"), NO_OPTIONS, "pilot", "likeness"),
        (ask("zzz"), NO_OPTIONS, "pilot", "default"),
        (ask("@cook, land the plane"), NO_OPTIONS, "cook", "forced"),
        (ask("How do I boil an egg?"), RequestOptions(role="PILOT"), "pilot", "forced"),
        (ask("fly me to the kitchen"), NO_OPTIONS, "cook", "rule"),
    ],
)
async def test_who_is_chosen_and_why(asked: ChatRequest, options: RequestOptions, role: str, how: str) -> None:
    service = stage(ROLES, way={**ROUTE, "rules": [{"role": "cook", "words": ["kitchen"]}]})
    choice = await chosen(service, asked, options=options)
    assert (choice.member.name, choice.how) == (role, how)
    assert str(choice.reason)
    assert (choice.usage, choice.branches) == (None, ())


async def test_a_name_that_is_no_member_is_refused() -> None:
    with pytest.raises(RequestError, match="cook, pilot") as caught:
        await chosen(stage(ROLES, way=ROUTE), ask("x"), options=RequestOptions(role="coder"))
    assert caught.value.param == "ansambl.role"


async def test_in_a_tool_loop_the_role_that_began_it_goes_on() -> None:
    service = stage(ROLES, way=ROUTE)
    messages: list[Message] = [{"role": "user", "content": "weigh the flour for the bread"}]
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    prepared = service.prepare(request(messages, tools=TOOLS), service.catalog.roles["pilot"], key="k")
    prepared.remember(Answer(tool_calls=[call]))
    messages += [
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "5"},
    ]
    choice = await chosen(service, request(messages, tools=TOOLS))
    assert (choice.member.name, choice.how) == ("pilot", "sticky")
    other = await choose(
        service.catalog.ensembles["way"], request(messages, tools=TOOLS), service=service, engines=ScriptedEngines(),
        key="another", options=NO_OPTIONS, clock=lambda: 0.0,
    )  # fmt: skip
    assert other.how != "sticky"


async def test_the_model_is_asked_on_the_shared_prefix_and_what_it_costs_is_counted() -> None:
    service = stage(ROLES, way={**ROUTE, "asks": True})
    engines = ScriptedEngines(way=words("cook", usage=Usage(50, 1)))
    choice = await chosen(service, ask("zzz"), engines)
    assert (choice.member.name, choice.how, choice.usage) == ("cook", "question", Usage(50, 1))
    (sent,) = engines.asked
    assert sent.value("max_tokens") == QUESTION_TOKENS
    assert sent.value("temperature") == 0
    assert str(sent.messages()[0]["content"]).startswith("zzz\n\n[Role: way]\n")
    assert [(one.role, one.model, one.state.value) for one in choice.branches] == [("cook", "big", "answered")]


@pytest.mark.parametrize("script", [[EngineError(text("it crashed"))], words("nobody"), words("")])
async def test_a_question_that_fails_leaves_the_default_and_says_so(script: Any) -> None:
    service = stage(ROLES, way={**ROUTE, "asks": True})
    choice = await chosen(service, ask("zzz"), ScriptedEngines(way=script))
    assert (choice.member.name, choice.how) == ("pilot", "default")
    assert len(choice.branches) == 1
    if isinstance(script[0], EngineError):
        assert "it crashed" in str(choice.reason)


class Vectors:
    """An embeddings model that knows two directions."""

    def __init__(self, failure: EngineError | None = None) -> None:
        self.failure = failure
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def examples(self, model: str, texts: Sequence[str], /) -> list[list[float]]:
        return await self.vectors(model, texts)

    async def vectors(self, model: str, texts: Sequence[str], /) -> list[list[float]]:
        if self.failure is not None:
            raise self.failure
        self.asked.append((model, tuple(texts)))
        return [[1.0, 0.0] if "egg" in one or "bread" in one or "soup" in one else [0.0, 1.0] for one in texts]


async def test_likeness_is_measured_by_vectors_where_the_route_names_a_model() -> None:
    service = stage(ROLES, ModelName("big"), ModelName("mini"), way={**ROUTE, "embedder": "mini"})
    vectors = Vectors()
    choice = await chosen(service, ask("borscht soup"), embeds=vectors)
    assert (choice.member.name, choice.how) == ("cook", "likeness")
    assert [(model, len(texts)) for model, texts in vectors.asked] == [("mini", 4), ("mini", 1)]
    choice = await chosen(service, ask("How do I boil an egg?"), embeds=Vectors(EngineError(text("no vectors"))))
    assert choice.member.name == "cook"
    assert "no vectors" in str(choice.reason)


async def test_a_route_in_a_route_chooses_in_its_turn() -> None:
    service = stage(ROLES, way=ROUTE, outer={"pattern": "route", "roles": ["way", "coder"], "conductor": "coder"})
    choice = await chosen(service, ask("How do I boil an egg?"), name="outer", options=RequestOptions(role="way"))
    assert choice.member.name == "cook"
    assert "asks for it by name; most like" in str(choice.reason)


def test_only_a_limit_of_its_own_bounds_the_answer() -> None:
    role = Role("r", "x")
    assert Choice(role, "rule", text("x")).limited(ask("x")).fields == ask("x").fields
    assert Choice(role, "rule", text("x"), tokens=5).limited(ask("x")).value("max_tokens") == 5
    bounded = Choice(role, "rule", text("x"), tokens=5).limited(ask("x", max_completion_tokens=9))
    assert (bounded.value("max_completion_tokens"), bounded.value("max_tokens")) == (5, None)
    assert Choice(role, "rule", text("x"), tokens=5).limited(ask("x", max_tokens=3)).value("max_tokens") == 3


async def test_a_route_inside_a_council_answers_with_whom_it_chose() -> None:
    service = stage(ROLES, way=ROUTE, all={"roles": ["way", "coder"], "conductor": "coder"})
    engines = ScriptedEngines(cook=words("Boil it."), coder=words("egg()"), all=words("done"))
    events = await hold(service, engines, "all", ask("How do I boil an egg?"))
    assert "Boil it." in progress(events)
    assert said(events)[0].startswith("cook answers: most like its examples")
    assert states(events) == ["way/cook answered", "coder answered", "coder answered"]
    assert (content(events), finished(events).usage) == ("done", Usage(300, 30, 270))


async def test_a_failing_member_fails_the_route() -> None:
    engines = ScriptedEngines(cook=[Delta(content="x"), EngineError(text("it crashed"))])
    with pytest.raises(EngineError, match="it crashed"):
        await hold(stage(ROLES, way=ROUTE), engines, "way", ask("@cook hi"))


def test_the_shipped_route_has_members_that_exist() -> None:
    catalog = stage().catalog
    auto = catalog.ensembles["auto"]
    assert isinstance(auto, Ensemble)
    assert all(name in catalog.roles for name in auto.roles)
