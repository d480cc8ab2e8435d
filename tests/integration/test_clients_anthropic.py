"""The official Anthropic client, with its helpers, in front of a model that calls tools, thinks and looks at images."""

from __future__ import annotations

import asyncio
import json

import anthropic
import httpx2
import pydantic
import pytest
import scripted_model
from anthropic import beta_async_tool
from gateway_stage import until

from ansambl.domain.serving import Serving

TOOL = {
    "name": "weather",
    "description": "Tells the weather.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
NAMES = ["big", "coder"]
IMAGE = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": scripted_model.IMAGE},
}


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


@pytest.fixture
async def claude(running):
    running.engine.script = scripted_model.answer
    async with anthropic.AsyncAnthropic(
        base_url=f"http://127.0.0.1:{running.port}", api_key="any", max_retries=0, timeout=20,
        _strict_response_validation=True,
    ) as client:  # fmt: skip
        yield client


def asked(words, model="coder", **more):
    return {"model": model, "max_tokens": 100, "messages": [{"role": "user", "content": words}], **more}


@pytest.mark.parametrize("model", NAMES)
async def test_a_loop_of_tools_with_thoughts(running, claude, model):
    request = asked("Please think aloud. How is it in both?", model, tools=[TOOL],
                    thinking={"type": "enabled", "budget_tokens": 1024})  # fmt: skip
    first = await claude.messages.create(**request)
    assert [one.type for one in first.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert first.content[0].thinking == "Snow is cold. Мороз."
    assert [one.input for one in first.content[2:]] == [{"city": "Omsk"}, {"city": "Paris"}]
    assert first.stop_reason == "tool_use"
    results = [
        {
            "type": "tool_result",
            "tool_use_id": first.content[2].id,
            "content": [{"type": "text", "text": "Snow."}, IMAGE],
        },
        {"type": "tool_result", "tool_use_id": first.content[3].id, "content": "No road.", "is_error": True},
    ]
    request["messages"] += [{"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    second = await claude.messages.create(**request)
    assert second.content[-1].text == "The tool says: Error: No road."
    said, *sent = json.loads(running.engine.calls[1].body)["messages"][-3:]
    assert (said["reasoning_content"], said["content"]) == ("Snow is cold. Мороз.", "Let me see.")
    assert [one["role"] for one in sent] == ["tool", "tool"]
    assert sent[0]["content"][1]["type"] == "image_url"


@pytest.mark.parametrize("model", NAMES)
async def test_a_stream_of_all_kinds_of_blocks(claude, model):
    async with claude.messages.stream(**asked("Please think aloud. In both?", model, tools=[TOOL])) as stream:
        events = [one async for one in stream]
        message = await stream.get_final_message()
    assert [one.type for one in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert message.content[3].input == {"city": "Paris"}
    assert (message.usage.cache_read_input_tokens, message.usage.output_tokens) == (4, 2)
    kinds = [one.type for one in events]
    assert kinds.index("message_start") == 0
    assert kinds[-1] == "message_stop"
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 4
    assert [one.index for one in events if one.type == "content_block_start"] == [0, 1, 2, 3]
    assert len([one for one in events if one.type == "input_json"]) > 2


async def test_the_clients_own_loop_of_tools(running, claude):
    called = []

    @beta_async_tool
    async def weather(city: str) -> str:
        """Tells the weather.

        Args:
            city: Where.
        """
        called.append(city)
        return "Snow."

    runner = claude.beta.messages.tool_runner(**asked("How is it in both?"), tools=[weather])
    last = await runner.until_done()
    assert called == ["Omsk", "Paris"]
    assert last.content[0].text == "The tool says: Snow."
    sent = json.loads(running.engine.calls[1].body)
    assert [one["role"] for one in sent["messages"]] == ["user", "assistant", "tool", "tool"]
    assert len(sent["tools"]) == 1


async def test_a_thread_goes_on_although_nothing_is_kept_here(running, claude):
    """The client sends what is new, is told that nothing is known here, and sends all of it."""
    thread = claude.beta.messages.thread(model="coder", max_tokens=100)
    for words in ("First", "Second", "Third"):
        await thread.send({"role": "user", "content": words})
    sent = [json.loads(one.body)["messages"] for one in running.engine.calls]
    assert [len(one) for one in sent] == [1, 3, 5]
    with pytest.raises(anthropic.NotFoundError, match="send the whole conversation") as raised:
        await claude.beta.messages.create(**asked("x"), thread={"type": "continue", "previous_message_id": "msg_1"})
    assert raised.value.body["error"]["details"] == {"error_code": "thread_not_found"}


async def test_a_thread_goes_on_where_the_engine_speaks_messages_itself(running, claude):
    running.instance.serving = Serving("vLLM", native=frozenset({"anthropic_messages"}))
    thread = claude.beta.messages.thread(model="big", max_tokens=100)
    for words in ("First", "Second"):
        await thread.send({"role": "user", "content": words})
    sent = [json.loads(one.body)["messages"] for one in running.engine.calls]
    assert [len(one) for one in sent] == [1, 3]


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ({"type": "auto"}, "auto"),
        ({"type": "any"}, "required"),
        ({"type": "none"}, "none"),
        ({"type": "tool", "name": "weather"}, "required"),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto"),
    ],
)
async def test_choices_of_tools(running, claude, choice, sent):
    answer = await claude.messages.create(**asked("How is it?", tools=[TOOL], tool_choice=choice))
    assert answer.stop_reason == ("end_turn" if sent == "none" else "tool_use")
    found = json.loads(running.engine.calls[0].body)
    assert (found["tool_choice"], found.get("parallel_tool_calls")) == (
        sent,
        False if "disable_parallel_tool_use" in choice else None,
    )


async def test_structured_output(claude):
    parsed = await claude.messages.parse(**asked("x"), output_format=Weather)
    assert parsed.parsed_output == Weather(city="Omsk", degrees=-5)


async def test_images_documents_and_russian(claude):
    url = f"data:image/png;base64,{scripted_model.IMAGE}"
    seen = await claude.messages.create(**asked([{"type": "text", "text": "What?"}, IMAGE]))
    assert seen.content[0].text == f"An image of {len(url)} letters."
    document = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Snow."}}
    read = await claude.messages.create(**asked([document, {"type": "text", "text": "What?"}], "big"))
    assert read.content[0].text == f"You said {len('Snow. What?')} letters."
    async with claude.messages.stream(**asked("Ответь по-русски")) as stream:
        said = [one async for one in stream.text_stream]
    assert "".join(said) == "Здравствуйте! Это ответ 😀."


async def test_what_cannot_be_read_is_named(claude):
    pdf = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="}}
    with pytest.raises(anthropic.BadRequestError, match=r"messages\[0\]\.content\[0\]\.source\.type"):
        await claude.messages.create(**asked([pdf]))
    with pytest.raises(anthropic.NotFoundError):
        await claude.messages.create(**asked("x", "nobody-of-this-name"))


async def test_models_are_listed(running):
    async with anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{running.port}", api_key="any") as client:
        assert "coder" in [one.id async for one in client.models.list()]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_time_out_frees_the_engine(running, claude, stream):
    hasty = claude.with_options(timeout=0.3)

    async def listen():
        answer = await hasty.messages.create(**asked("wait for ever"), stream=stream)
        async for _ in answer:
            pass

    with pytest.raises((anthropic.APITimeoutError, httpx2.ReadTimeout)):
        await listen()
    await asyncio.wait_for(running.engine.calls[0].left.wait(), 5)
    await until(lambda: running.gateway.answering.running == 0, "the request is over")


async def test_a_busy_engine_is_asked_again_by_the_client(running, claude):
    asks = []

    async def script(call, writer):
        asks.append(call)
        if len(asks) == 1:
            call.body = call.body.replace(b"hello", b"be busy")
        return await scripted_model.answer(call, writer)

    running.engine.script = script
    answer = await claude.with_options(max_retries=2).messages.create(**asked("hello", "big"))
    assert answer.content[0].text == "You said 5 letters."
    assert len(asks) == 2
    with pytest.raises(anthropic.APIStatusError, match="Too busy") as raised:
        await claude.messages.create(**asked("be busy", "big"))
    assert (raised.value.status_code, raised.value.body["error"]["type"]) == (503, "overloaded_error")
