from __future__ import annotations

from dataclasses import replace

import pytest
from ensemble_stage import ScriptedEngines, content, hold, request, said, stage, words
from hypothesis import given
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.errors import EngineError, RequestError
from ansambl.domain.role import ModelName, Role
from ansambl.domain.text import text
from ansambl.roles.context_share import estimate_tokens, instruction_is_large, with_instruction_named, within_share
from ansambl.roles.service import Prepared

MODEL = ModelName("big", context=1000)


class Counter:
    """An engine that can count, or not."""

    def __init__(self, tokens: int | None) -> None:
        self.tokens = tokens

    async def count_prompt(self, model: str, asked: ChatRequest) -> int | None:
        assert (model, asked.messages()[0]["role"]) == ("big", "system")
        return self.tokens


async def limited(share: float, engines: object, model: ModelName = MODEL, **fields: object) -> ChatRequest:
    prepared = Prepared("big", request(**fields), lambda _: None)
    return (await within_share(prepared, Role("r", "x", context_share=share), model, engines)).request


@pytest.mark.parametrize(
    ("tokens", "fields", "sent"),
    [
        (300, {}, (200, None)),
        (300, {"max_tokens": 150}, (150, None)),
        (300, {"max_tokens": 900}, (200, None)),
        (300, {"max_completion_tokens": 900}, (None, 200)),
        (499, {}, (1, None)),
    ],
)
async def test_the_answer_keeps_to_what_the_share_leaves(
    tokens: int, fields: dict[str, int], sent: tuple[int | None, int | None]
) -> None:
    asked = await limited(0.5, Counter(tokens), **fields)
    assert (asked.value("max_tokens"), asked.value("max_completion_tokens")) == sent


async def test_a_prompt_over_the_share_is_refused_in_one_line_that_says_it() -> None:
    with pytest.raises(RequestError) as caught:
        await limited(0.5, Counter(500))
    assert caught.value.code == "context_length_exceeded"
    assert "share of 500 tokens that the role 'r' may use of the context (50% of 1000)" in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_without_a_share_or_a_known_context_nothing_changes() -> None:
    for share, model in ((1.0, MODEL), (0.5, ModelName("big"))):
        assert "max_tokens" not in (await limited(share, Counter(10_000), model)).fields


@pytest.mark.parametrize("engines", [Counter(None), object()])
async def test_where_nobody_counts_the_estimate_is_safe(engines: object) -> None:
    asked = await limited(0.5, engines)
    assert asked.value("max_tokens") == 500 - estimate_tokens(request())
    with pytest.raises(RequestError, match="about"):
        await limited(0.01, engines)


@given(st.lists(st.text(max_size=40), min_size=1, max_size=4))
def test_the_estimate_counts_every_character(texts: list[str]) -> None:
    messages = [{"role": "user", "content": one} for one in texts]
    parts = [{"role": "user", "content": [{"type": "text", "text": one}]} for one in texts]
    assert estimate_tokens(request(messages)) == estimate_tokens(request(parts)) >= sum(map(len, texts)) / 2
    assert estimate_tokens(request(messages, tools=[{"a": 1}])) > estimate_tokens(request(messages))


def test_an_instruction_is_named_when_it_is_much_of_what_is_too_long() -> None:
    role = Role("r", "x" * 100)
    short, long = [{"role": "user", "content": "y" * 100}], [{"role": "user", "content": "y" * 1000}]
    too_long = EngineError(text("too long"), code="context_length_exceeded")
    clearer = with_instruction_named(too_long, role, short)
    assert str(clearer) == (
        "The instruction of the role 'r' alone has 100 letters; shorten roles.r.instruction. "
        "(The engine said: too long)"
    )
    assert (clearer.code, clearer.status) == ("context_length_exceeded", 400)
    assert with_instruction_named(too_long, role, long) is too_long
    other = EngineError(text("it crashed"))
    assert with_instruction_named(other, role, short) is other
    assert instruction_is_large(replace(role, instruction="", instructions={"ru": "x" * 100}), short) is not None


async def test_members_of_an_ensemble_keep_to_their_shares() -> None:
    service = stage(
        {"narrow": {"instruction": "x", "context_share": 0.2}, "tiny": {"instruction": "x", "context_share": 0.01}},
        ModelName("big", context=1000), both={"roles": ["narrow", "tiny"], "conductor": "coder"},
    )  # fmt: skip
    engines = ScriptedEngines(narrow=words("n"), both=words("done"))
    events = await hold(service, engines, "both")
    assert content(events) == "done"
    assert "more than the share of 10 tokens that the role 'tiny' may use" in said(events)[0]
    assert engines.requests_of("narrow")[0].value("max_tokens") < 200
