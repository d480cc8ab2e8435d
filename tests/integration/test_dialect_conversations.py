"""Anthropic messages and OpenAI responses on the real engine: changing roles, a council, tools, a count, a cancel."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from product import Started, running_product, wait_for

pytestmark = pytest.mark.engine

ROLES = ("coder", "brief", "philosopher", "coder")
QUESTIONS = (
    "Name one sorting algorithm and say when it is quick.",
    "How would you test it?",
    "Sum up what we said.",
    # The last one: the model that speaks no Russian answers with halves of letters, which no later turn may read again.
    "Напиши коротко, что такое кэш.",
)
FRAME = 16
"""Tokens of the template around one message and of a cut in the middle of a word, at most."""

Asked = tuple[int, int, int]
"""Prompt tokens, those of them from the cache, and tokens of the answer."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory, embedded_model_folder: Path) -> Iterator[Started]:
    """One for all tests: each has a conversation of its own."""
    with running_product(tmp_path_factory.mktemp("dialects"), embedded_model_folder) as started:
        yield started


@pytest.fixture
def claude(product: Started) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=product.address, api_key="any", max_retries=0, timeout=120,
                             _strict_response_validation=True) as client:  # fmt: skip
        yield client


@pytest.fixture
def gpt(product: Started) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{product.address}/v1", api_key="any", max_retries=0, timeout=120,
                       _strict_response_validation=True) as client:  # fmt: skip
        yield client


def in_messages(client: anthropic.Anthropic) -> Iterator[Asked]:
    """A conversation in which every answer goes back as it came, streamed and whole in turn."""
    messages: list[Any] = []
    for index, (role, question) in enumerate(zip(ROLES, QUESTIONS, strict=True)):
        messages.append({"role": "user", "content": question})
        # Without chance: what the tiny model makes up may be read again as other tokens than it was written in.
        wanted = {"model": role, "max_tokens": 30, "system": "You talk with an engineer.", "messages": messages,
                  "extra_body": {"temperature": 0.0}}  # fmt: skip
        if index % 2:
            with client.messages.stream(**wanted) as stream:
                answer = stream.get_final_message()
        else:
            answer = client.messages.create(**wanted)
        messages.append({"role": "assistant", "content": answer.content})
        usage = answer.usage
        cached = usage.cache_read_input_tokens or 0
        yield usage.input_tokens + cached, cached, usage.output_tokens


def in_responses(client: openai.OpenAI) -> Iterator[Asked]:
    items: list[Any] = []
    for index, (role, question) in enumerate(zip(ROLES, QUESTIONS, strict=True)):
        items.append({"role": "user", "content": question})
        wanted = {"model": role, "max_output_tokens": 30, "instructions": "You talk with an engineer.", "input": items,
                  "temperature": 0.0}  # fmt: skip
        if index % 2:
            *_, last = client.responses.create(**wanted, stream=True)
            answer = last.response
        else:
            answer = client.responses.create(**wanted)
        items += answer.output
        usage = answer.usage
        yield usage.input_tokens, usage.input_tokens_details.cached_tokens, usage.output_tokens


def check_prefix(turns: Iterator[Asked]) -> None:
    before = None
    for prompt, cached, answered in turns:
        if before is not None:
            assert cached >= before - FRAME
        before = prompt + answered
    assert before is not None
    assert before > 250


def test_messages_with_changing_roles_keep_their_prefix(claude: anthropic.Anthropic) -> None:
    check_prefix(in_messages(claude))


def test_responses_with_changing_roles_keep_their_prefix(gpt: openai.OpenAI) -> None:
    check_prefix(in_responses(gpt))


def test_a_council_answers_in_both_dialects(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    question = "Is it better to test before or after writing code?"
    asked = [{"role": "user", "content": question}]
    with claude.messages.stream(model="council", max_tokens=24, messages=asked) as stream:
        message = stream.get_final_message()
    assert [one.type for one in message.content] == ["thinking", "text"]
    assert all(name in message.content[0].thinking for name in ("coder", "reasoner", "philosopher"))
    assert message.content[1].text.strip()
    assert (message.usage.cache_read_input_tokens or 0) > 0
    events = list(gpt.responses.create(model="council", input=question, max_output_tokens=24, stream=True))
    kinds = [one.type for one in events]
    assert kinds.index("response.reasoning_text.delta") < kinds.index("response.output_text.delta")
    response = events[-1].response
    assert response.output_text.strip()
    assert response.usage.input_tokens_details.cached_tokens > 0


def test_a_loop_of_tools_goes_on_where_it_stood(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    # The embedded model's template shows no tools, so it calls none: the call is one that an earlier turn made.
    question, city = "What is the weather in Paris?", {"city": "Paris"}
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    messages: list[Any] = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "c1", "name": "get_weather", "input": city}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "Rain all day."}]},
    ]  # fmt: skip
    message = claude.messages.create(
        model="coder", max_tokens=16, messages=messages, tools=[{"name": "get_weather", "input_schema": schema}]
    )
    assert [one.type for one in message.content] == ["text"]
    items: list[Any] = [
        {"role": "user", "content": question},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city":"Paris"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "Rain all day."},
    ]
    function: Any = {"type": "function", "name": "get_weather", "parameters": schema, "strict": None}
    response = gpt.responses.create(model="coder", input=items, max_output_tokens=16, tools=[function])
    assert response.output_text.strip()
    assert response.usage is not None
    assert message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0) == response.usage.input_tokens
    assert response.usage.input_tokens_details.cached_tokens >= response.usage.input_tokens - FRAME


def test_an_answer_follows_a_schema(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string", "enum": ["Paris", "Rome"]}},
              "required": ["city"], "additionalProperties": False}  # fmt: skip
    wanted = {"type": "json_schema", "schema": schema}
    message = claude.messages.create(
        model="brief", max_tokens=60, messages=[{"role": "user", "content": "The capital of France, as JSON."}],
        output_config={"format": wanted},
    )  # fmt: skip
    assert json.loads(message.content[0].text)["city"] in {"Paris", "Rome"}
    response = gpt.responses.create(
        model="brief", input="The capital of France, as JSON.", max_output_tokens=60,
        text={"format": {**wanted, "name": "city", "strict": True}},
    )  # fmt: skip
    assert json.loads(response.output_text)["city"] in {"Paris", "Rome"}


@pytest.mark.parametrize("role", ["embedded", "coder"])
def test_the_count_of_a_prompt_is_what_the_answer_says(claude: anthropic.Anthropic, role: str) -> None:
    asked: dict[str, Any] = {
        "model": role, "system": "You talk with an engineer.",
        "messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Потому что."},
                     {"role": "user", "content": "I see. What follows from it?"}],
    }  # fmt: skip
    counted = claude.messages.count_tokens(**asked).input_tokens
    usage = claude.messages.create(**asked, max_tokens=1).usage
    assert counted == usage.input_tokens + (usage.cache_read_input_tokens or 0)


def test_a_client_that_stops_listening_frees_the_engine(
    product: Started, claude: anthropic.Anthropic, gpt: openai.OpenAI
) -> None:
    story = "Write a very long story about the sea."
    with claude.messages.stream(
        model="philosopher", max_tokens=3000, messages=[{"role": "user", "content": story}]
    ) as stream:
        next(stream.text_stream)
    wait_for(lambda: product.instance()["running"] == 0, "the engine to be free", 5)
    with gpt.responses.create(model="philosopher", max_output_tokens=3000, input=story, stream=True) as events:
        next(one for one in events if one.type == "response.output_text.delta")
    wait_for(lambda: product.instance()["running"] == 0, "the engine to be free", 5)
    began = time.monotonic()
    assert product.chat("brief", "Say hello.").status_code == 200
    assert time.monotonic() - began < 30


def test_a_prompt_over_the_context_is_an_error_of_the_dialect(claude: anthropic.Anthropic, gpt: openai.OpenAI) -> None:
    words = "many words " * 9000
    with pytest.raises(anthropic.BadRequestError, match="prompt is too long"):
        claude.messages.create(model="coder", max_tokens=5, messages=[{"role": "user", "content": words}])
    with pytest.raises(openai.BadRequestError) as raised:
        gpt.responses.create(model="coder", input=words)
    assert raised.value.code == "context_length_exceeded"
