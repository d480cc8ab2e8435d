"""The official OpenAI client, with its helpers, in front of a model that calls tools, thinks and looks at images."""

from __future__ import annotations

import asyncio
import json

import httpx2
import openai
import pydantic
import pytest
import scripted_model
from gateway_stage import until

TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
FUNCTION = {"type": "function", "strict": False, **TOOL["function"]}
NAMES = ["big", "coder"]


class Weather(pydantic.BaseModel):
    city: str
    degrees: int


@pytest.fixture
async def gpt(running):
    running.engine.script = scripted_model.answer
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{running.port}/v1", api_key="any", max_retries=0, timeout=20,
        _strict_response_validation=True,
    ) as client:  # fmt: skip
        yield client


def user(words):
    return [{"role": "user", "content": words}]


# --- chat completions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", NAMES)
async def test_a_loop_of_tools(running, gpt, model):
    messages = user("How is it in both?")
    first = await gpt.chat.completions.create(model=model, messages=messages, tools=[TOOL], tool_choice="auto")
    said = first.choices[0].message
    assert first.choices[0].finish_reason == "tool_calls"
    assert [json.loads(one.function.arguments)["city"] for one in said.tool_calls] == ["Omsk", "Paris"]
    results = [{"role": "tool", "tool_call_id": one.id, "content": "Snow."} for one in said.tool_calls]
    second = await gpt.chat.completions.create(model=model, messages=[*messages, said, *results], tools=[TOOL])
    assert second.choices[0].message.content.startswith("The tool says: Snow.")
    sent = json.loads(running.engine.calls[1].body)["messages"]
    assert [one["role"] for one in sent[-3:]] == ["assistant", "tool", "tool"]
    assert [one["id"] for one in sent[-3]["tool_calls"]] == ["call_Omsk", "call_Paris"]


@pytest.mark.parametrize("model", NAMES)
async def test_tool_calls_and_thoughts_in_a_stream(gpt, model):
    async with gpt.chat.completions.stream(
        model=model, messages=user("Please think aloud. How is it in both?"), tools=[TOOL],
        stream_options={"include_usage": True},
    ) as stream:  # fmt: skip
        events = [one async for one in stream]
        whole = await stream.get_final_completion()
    done = [one for one in events if one.type == "tool_calls.function.arguments.done"]
    assert [(one.name, json.loads(one.arguments)) for one in done] == [
        ("weather", {"city": "Omsk"}),
        ("weather", {"city": "Paris"}),
    ]
    message = whole.choices[0].message
    assert message.content == "Let me see."
    assert [one.id for one in message.tool_calls] == ["call_Omsk", "call_Paris"]
    thoughts = "".join(
        getattr(one.chunk.choices[0].delta, "reasoning_content", None) or ""
        for one in events
        if one.type == "chunk" and one.chunk.choices
    )
    assert thoughts == "Snow is cold. Мороз."
    assert whole.usage.prompt_tokens_details.cached_tokens == 4


@pytest.mark.parametrize("model", NAMES)
async def test_structured_output(running, gpt, model):
    parsed = await gpt.chat.completions.parse(model=model, messages=user("x"), response_format=Weather)
    assert parsed.choices[0].message.parsed == Weather(city="Omsk", degrees=-5)
    async with gpt.chat.completions.stream(model=model, messages=user("x"), response_format=Weather) as stream:
        assert (await stream.get_final_completion()).choices[0].message.parsed == Weather(city="Omsk", degrees=-5)
    schema = json.loads(running.engine.calls[0].body)["response_format"]["json_schema"]
    assert (schema["name"], schema["strict"]) == ("Weather", True)


async def test_probabilities_several_answers_and_images(running, gpt):
    url = f"data:image/png;base64,{scripted_model.IMAGE}"
    content = [{"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]
    answer = await gpt.chat.completions.create(
        model="big", messages=user(content), n=2, logprobs=True, top_logprobs=2, seed=1, stop=["END"],
        logit_bias={"5": -1}, user="u", metadata={"a": "b"}, extra_body={"min_p": 0.1},
    )  # fmt: skip
    assert [one.index for one in answer.choices] == [0, 1]
    assert answer.choices[1].message.content == f"An image of {len(url)} letters."
    tokens = answer.choices[0].logprobs.content
    assert "".join(one.token for one in tokens) == answer.choices[0].message.content
    assert len(tokens[0].top_logprobs) == 2
    sent = json.loads(running.engine.calls[0].body)
    assert (sent["seed"], sent["stop"], sent["logit_bias"], sent["min_p"]) == (1, ["END"], {"5": -1}, 0.1)


async def test_words_of_two_bytes_survive_a_stream_that_cuts_them(gpt):
    stream = await gpt.chat.completions.create(model="coder", messages=user("Ответь по-русски"), stream=True)
    said = "".join([one.choices[0].delta.content or "" async for one in stream if one.choices])
    assert said == "Здравствуйте! Это ответ 😀."


# --- responses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", NAMES)
async def test_a_loop_of_tools_in_responses(running, gpt, model):
    items = user("Please think. How is it in both?")
    first = await gpt.responses.create(model=model, input=items, tools=[FUNCTION], parallel_tool_calls=True)
    calls = [one for one in first.output if one.type == "function_call"]
    assert [json.loads(one.arguments)["city"] for one in calls] == ["Omsk", "Paris"]
    items += first.output
    items += [{"type": "function_call_output", "call_id": one.call_id, "output": "Snow."} for one in calls]
    second = await gpt.responses.create(model=model, input=items, tools=[FUNCTION])
    assert second.output_text.startswith("The tool says: Snow.")
    said, *results = json.loads(running.engine.calls[1].body)["messages"][-3:]
    assert (said["reasoning_content"], len(said["tool_calls"])) == ("Snow is cold. Мороз.", 2)
    assert [one["tool_call_id"] for one in results] == ["call_Omsk", "call_Paris"]


async def test_tool_calls_in_a_streamed_response(gpt):
    async with gpt.responses.stream(model="coder", input="How is it aloud?", tools=[FUNCTION]) as stream:
        events = [one async for one in stream]
        response = await stream.get_final_response()
    pieces = [one.delta for one in events if one.type == "response.function_call_arguments.delta"]
    assert len(pieces) > 1
    assert json.loads("".join(pieces)) == {"city": "Omsk"}
    assert [one.type for one in response.output] == ["message", "function_call"]
    assert [one.sequence_number for one in events] == list(range(len(events)))


async def test_structured_output_of_responses(running, gpt):
    parsed = await gpt.responses.parse(model="coder", input="x", text_format=Weather)
    assert parsed.output_parsed == Weather(city="Omsk", degrees=-5)
    async with gpt.responses.stream(model="coder", input="x", text_format=Weather) as stream:
        assert (await stream.get_final_response()).output_parsed == Weather(city="Omsk", degrees=-5)
    found = json.loads(running.engine.calls[0].body)["response_format"]
    assert (found["type"], found["json_schema"]["strict"]) == ("json_schema", True)


async def test_summaries_and_probabilities_of_responses(running, gpt):
    asked = {"model": "coder", "input": "Please think.", "reasoning": {"effort": "high", "summary": "auto"},
             "include": ["message.output_text.logprobs"], "top_logprobs": 2}  # fmt: skip
    whole = await gpt.responses.create(**asked)
    assert whole.output[0].summary[0].text == "Snow is cold. Мороз."
    async with gpt.responses.stream(**asked) as stream:
        events = [one async for one in stream]
        response = await stream.get_final_response()
    summary = "".join(one.delta for one in events if one.type == "response.reasoning_summary_text.delta")
    assert summary == "Snow is cold. Мороз."
    for found in (whole, response):
        (part,) = found.output[1].content
        assert "".join(one.token for one in part.logprobs) == part.text
        assert len(part.logprobs[0].top_logprobs) == 2
    assert json.loads(running.engine.calls[0].body)["reasoning_effort"] == "high"


async def test_images_in_responses(gpt):
    url = f"data:image/png;base64,{scripted_model.IMAGE}"
    parts = [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": url, "detail": "auto"}]
    response = await gpt.responses.create(model="coder", input=[{"role": "user", "content": parts}])
    assert response.output_text == f"An image of {len(url)} letters."


# --- what goes wrong, and what is stopped ----------------------------------------------------------------------------


async def test_models_are_listed_one_by_one(gpt):
    names = [one.id async for one in gpt.models.list()]
    assert {"big", "coder", "council"} <= set(names)
    assert (await gpt.models.retrieve("coder")).object == "model"
    with pytest.raises(openai.NotFoundError) as raised:
        await gpt.models.retrieve("nobody")
    assert raised.value.code == "model_not_found"


async def test_wrong_requests_are_the_clients_errors(gpt):
    with pytest.raises(openai.NotFoundError, match="nearest"):
        await gpt.chat.completions.create(model="codr", messages=user("x"))
    with pytest.raises(openai.BadRequestError) as raised:
        await gpt.chat.completions.create(model="coder", messages=[{"role": "user", "content": 5}])
    assert raised.value.param == "messages[0].content"
    with pytest.raises(openai.BadRequestError) as raised:
        await gpt.responses.create(model="coder", input=[{"role": "user", "content": [{"type": "input_file"}]}])
    assert raised.value.param == "input[0].content[0].type"


@pytest.mark.parametrize("ask", ["chat", "responses"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_time_out_frees_the_engine(running, gpt, ask, stream):
    hasty = gpt.with_options(timeout=0.3)

    async def listen():
        if ask == "chat":
            answer = await hasty.chat.completions.create(model="big", messages=user("wait for ever"), stream=stream)
        else:
            answer = await hasty.responses.create(model="big", input="wait for ever", stream=stream)
        async for _ in answer:
            pass

    with pytest.raises((openai.APITimeoutError, httpx2.ReadTimeout)):
        await listen()
    await asyncio.wait_for(running.engine.calls[0].left.wait(), 5)
    await until(lambda: running.gateway.answering.running == 0, "the request is over")


@pytest.mark.parametrize("ask", ["chat", "responses"])
async def test_a_stream_that_is_closed_frees_the_engine(running, gpt, ask):
    if ask == "chat":
        stream = await gpt.chat.completions.create(model="coder", messages=user("wait for ever"), stream=True)
    else:
        stream = await gpt.responses.create(model="coder", input="wait for ever", stream=True)
    async for _ in stream:
        break
    await stream.close()
    await asyncio.wait_for(running.engine.calls[0].left.wait(), 5)
    await until(lambda: running.gateway.answering.running == 0, "the request is over")


async def test_a_busy_engine_is_asked_again_by_the_client(running, gpt):
    """The official client sends a request again after 503; the second answer is an answer."""
    asked = []

    async def script(call, writer):
        asked.append(call)
        if len(asked) == 1:
            call.body = call.body.replace(b"hello", b"be busy")
        return await scripted_model.answer(call, writer)

    running.engine.script = script
    patient = gpt.with_options(max_retries=2)
    answer = await patient.chat.completions.create(model="big", messages=user("hello"))
    assert answer.choices[0].message.content == "You said 5 letters."
    assert len(asked) == 2
    with pytest.raises(openai.InternalServerError, match="Too busy") as raised:
        await gpt.chat.completions.create(model="coder", messages=user("be busy"))
    assert raised.value.response.headers["retry-after"] == "1"
    with pytest.raises(openai.InternalServerError, match="Too busy"):
        await gpt.responses.create(model="big", input="be busy")
