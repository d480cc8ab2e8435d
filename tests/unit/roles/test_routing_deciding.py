"""The order of a route's steps, asking a model, and what it said."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.errors import RequestError
from ansambl.domain.role import Ensemble, Role, RouteRule
from ansambl.domain.text import Text
from ansambl.roles.routing.deciding import NeedsAnswer, NeedsVector, Route
from ansambl.roles.routing.likeness import Alike, VectorLikeness, examples_of
from ansambl.roles.routing.question import question, read_answer
from ansambl.roles.routing.records import Decision, How, Member, read_input

CODER = Role("coder", "Code.", "Writes\ncode", aliases=("кодер",), examples=("Write a Python function", "Исправь код"))
COOK = Role("cook", "Cook.", "Cooks", aliases=("повар",), examples=("How do I bake bread?", "Рецепт борща"))
COUNCIL = Ensemble("council", "council", ("coder", "cook"), aliases=("совет",))
MEMBERS = (CODER, COOK, COUNCIL)
ROUTE = Ensemble(
    "auto",
    "route",
    ("coder", "cook", "council"),
    rules=(RouteRule("council", words=("vote",)),),
    default="cook",
    threshold=0.3,
)
NAMES = {"coder", "cook", "council"}
LISTED = tuple(Member.of(one) for one in MEMBERS)


def route(**changes):
    return Route(dataclasses.replace(ROUTE, **changes), LISTED)


def user(said):
    return {"role": "user", "content": said}


def decided(said, asked_of=None, **how):
    step = (asked_of or route()).decide(read_input([user(said)]), **how)
    assert isinstance(step, Decision)
    return step


def test_a_name_goes_before_everything():
    tools = [user("@cook vote on this Python function"), {"role": "assistant", "tool_calls": []}]
    step = route().decide(read_input(tools), previous="coder")
    assert isinstance(step, Decision)
    assert (step.role, step.how) == ("cook", How.FORCED)
    assert decided("@совет what now?").role == "council"
    assert decided("@coder vote", wanted="council").role == "council"
    with pytest.raises(RequestError):
        decided("hello", wanted="nobody")


def test_a_tool_loop_stays_with_who_began_it():
    messages = [user("vote on bread"), {"role": "assistant", "tool_calls": []}, {"role": "tool", "content": "rain"}]
    step = route().decide(read_input(messages), previous="coder")
    assert isinstance(step, Decision)
    assert (step.role, step.how) == ("coder", How.STICKY)
    unknown = route().decide(read_input(messages), previous="someone of another ensemble")
    assert isinstance(unknown, Decision)
    assert (unknown.role, unknown.how) == ("council", How.RULE)


def test_a_rule_goes_before_likeness():
    found = decided("Let us vote: write a Python function or not?")
    assert (found.role, found.how) == ("council", How.RULE)


def test_a_message_that_asks_to_go_on_stays_with_who_answered():
    messages = [user("Write a Python function"), {"role": "assistant", "content": "…"}, user("дальше")]
    assert route().decide(read_input(messages), previous="cook") == Decision(
        "cook", How.STICKY, Text("the message goes on with what it answered before")
    )


def test_without_knowing_who_answered_the_earlier_message_decides():
    talk = [{"role": "assistant", "content": "…"}, user("continue")]
    named = route().decide(read_input([user("@council what now?"), *talk]))
    assert isinstance(named, Decision)
    assert (named.role, named.how) == ("council", How.STICKY)
    alike = route().decide(read_input([user("Write a Python function"), *talk]))
    assert isinstance(alike, Decision)
    assert (alike.role, alike.how) == ("coder", How.LIKENESS)


def test_likeness_says_the_example_and_the_score():
    found = decided("How do I bake bread?")
    assert found.score == pytest.approx(1.0)
    assert (found.role, found.how) == ("cook", How.LIKENESS)
    assert found.score is not None
    assert str(found.reason) == f"most like its examples, such as 'How do I bake bread?' ({found.score:.2f})"


def test_below_the_threshold_the_default_answers_and_says_so():
    found = decided("zzz qqq", route(default="coder"))
    assert (found.role, found.how) == ("coder", How.DEFAULT)
    assert found.score is not None
    assert str(found.reason).startswith("the default; no example is alike enough (0.")
    assert "of 0.30" in str(found.reason)
    assert decided("zzz qqq", route(default=None)).role == "coder"
    assert decided("How do I bake a cake?", route(threshold=1.0, default="coder")).how is How.DEFAULT


def test_a_threshold_of_nothing_does_not_choose_by_nothing():
    assert decided("", route(threshold=0.0)).how is How.DEFAULT


def test_the_model_is_asked_only_if_the_route_asks():
    step = route(asks=True).decide(read_input([user("Что-то совсем иное, чего никто не знает")]))
    assert isinstance(step, NeedsAnswer)
    assert "Не отвечай" in step.instruction
    assert "1. coder: Writes code\n2. cook: Cooks\n3. council" in step.instruction
    named = step.answered("Повар")
    assert (named.role, named.how) == ("cook", How.QUESTION)
    for said, why in ((None, "gave no answer"), ("no idea", "named no member")):
        found = step.answered(said)
        assert (found.role, found.how) == ("cook", How.DEFAULT)
        assert "no example is alike enough" in str(found.reason)
        assert why in str(found.reason)
    assert "asking the model failed: it is not running" in str(step.answered(None, Text("it is not running")).reason)


def test_a_likeness_that_is_enough_asks_no_model():
    assert decided("How do I bake bread?", route(asks=True)).how is How.LIKENESS


def test_with_an_embedder_the_vector_decides():
    step = route(embedder="small").decide(read_input([user("Anything at all")]))
    assert isinstance(step, NeedsVector)
    assert step.topic == "Anything at all"
    assert examples_of(step.members) == (*CODER.examples, *COOK.examples)
    likeness = VectorLikeness(step.members, [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    found = step.measured(likeness.of([1.0, 0.05]))
    assert isinstance(found, Decision)
    assert (found.role, found.how) == ("coder", How.LIKENESS)
    low = route(embedder="small", asks=True).decide(read_input([user("Anything at all")]))
    assert isinstance(low, NeedsVector)
    assert isinstance(low.measured((Alike("coder", 0.1, "x"),)), NeedsAnswer)


def test_words_decide_when_there_is_no_vector():
    step = route(embedder="small").decide(read_input([user("How do I bake bread?")]))
    assert isinstance(step, NeedsVector)
    assert step.measured(None) == decided("How do I bake bread?")
    told = step.measured(None, Text("it is not running"))
    assert isinstance(told, Decision)
    assert "'How do I bake bread?'" in str(told.reason)
    assert str(told.reason).endswith("compared by words: it is not running")


def test_members_without_examples_leave_rules_and_the_default():
    bare = Route(dataclasses.replace(ROUTE, roles=("council",), default=None, rules=(), embedder="small"), LISTED[2:])
    found = decided("How do I bake bread?", bare)
    assert (found.role, found.how) == ("council", How.DEFAULT)


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("coder", "coder"),
        ("**Coder**", "coder"),
        ("2", "cook"),
        ("2.", "cook"),
        ("2. cook", "cook"),
        ("The best one is number 2", "cook"),
        ('{"role": "cook"}', "cook"),
        ("I would say the cook should answer.", "cook"),
        ("Кодер", "coder"),
        ("Я бы отдал это повару", "cook"),
        ("Лучше спросить кодера", "coder"),
        ("Cook, and not coder.", "cook"),
        ("<think>coder? cook? council?</think>council", "council"),
    ],
)
def test_what_a_model_says_is_read_tolerantly(said, name):
    found = read_answer(said, LISTED)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "said",
    [
        "",
        "4",
        "0",
        "I do not know",
        "either coder or cook",
        "codercook",
        "12",
        "1 or 2",
        "<think>cook",
        "9" * 9_000,
        "***",
    ],
)
def test_what_is_unclear_names_nobody(said):
    assert read_answer(said, LISTED) is None


def test_the_question_is_in_english_for_other_languages():
    assert question(LISTED, "de") == question(LISTED, None) == question(LISTED, "en")
    assert question(LISTED, "ru") != question(LISTED, "en")


@given(st.text(max_size=100))
def test_anything_said_names_a_member_or_nobody(said):
    assert read_answer(said, LISTED) in (*LISTED, None)


_TEXT = st.one_of(
    st.text(max_size=60), st.sampled_from(["@coder ", "@кодер, vote", "continue", "Рецепт борща", "bread"])
)
_PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "image_url", "?"]), "text": st.one_of(_TEXT, st.none())}
)
_MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "user", "assistant", "tool"]),
        "content": st.one_of(st.none(), _TEXT, st.lists(_PART, max_size=3)),
    }
)
_ROUTES = tuple(route(asks=asks, embedder=embedder) for asks in (False, True) for embedder in (None, "small"))


@given(
    st.lists(_MESSAGE, max_size=5),
    st.sampled_from(_ROUTES),
    st.sampled_from([None, "coder", "council", "gone"]),
    st.one_of(st.none(), st.just((Alike("cook", 0.9, "x"),)), st.just((Alike("gone", 0.9, "x"),)), st.just(())),
    st.one_of(st.none(), st.text(max_size=30)),
)
def test_every_decision_is_a_member_with_a_reason_of_one_line(messages, asked_of, previous, alike, said):
    step = asked_of.decide(read_input(messages), previous=previous)
    if isinstance(step, NeedsVector):
        step = step.measured(alike)
    if isinstance(step, NeedsAnswer):
        step = step.answered(said)
    assert isinstance(step, Decision)
    assert step.role in NAMES
    assert step.reason.render().strip()
    assert len(step.reason.render().splitlines()) == 1
