"""LangChain's classes for OpenAI and Anthropic against a model that calls tools, thinks and looks at images.

Prints what they understood as one JSON document. Arguments: address, model, a picture in base64.
"""

import json
import sys

from langchain_anthropic import ChatAnthropic
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

ADDRESS, MODEL, PICTURE = sys.argv[1:4]


class Weather(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


@tool
def weather(city: str) -> str:
    """Tells the weather."""
    return f"Snow in {city}."


def words(message):
    """The text of a message, whose content may be blocks."""
    if isinstance(message.content, str):
        return message.content
    return "".join(one.get("text", "") for one in message.content if one["type"] in {"text", "output_text"})


def loop(model):
    """A question, the calls of tools, their results, the answer; each turn as a stream."""
    ready = model.bind_tools([weather])
    messages = [HumanMessage("How is it in both?")]
    whole = None
    for chunk in ready.stream(messages):
        whole = chunk if whole is None else whole + chunk
    results = [ToolMessage(weather.invoke(one["args"]), tool_call_id=one["id"]) for one in whole.tool_calls]
    answer = ready.invoke([*messages, whole, *results])
    return {"calls": [one["args"] for one in whole.tool_calls], "answer": words(answer)}


def tried(model):
    """All that one class does."""
    picture = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PICTURE}"}}
    said = model.invoke("Привет, по-русски")
    streamed = list(model.stream("Привет, по-русски"))
    return {
        "text": words(said),
        "usage": {**said.usage_metadata},
        "streamed": "".join(words(one) for one in streamed),
        "streamed_usage": [one.usage_metadata for one in streamed if one.usage_metadata][-1],
        "pieces": len(streamed),
        "tools": loop(model),
        "object": model.with_structured_output(Weather).invoke("x").model_dump(),
        "image": words(model.invoke([HumanMessage([{"type": "text", "text": "What?"}, picture])])),
        "batch": [words(one) for one in model.batch(["a", "ab", "abc"])],
    }


def failed(model):
    """How an error looks."""
    try:
        model.invoke("x")
    except Exception as error:  # noqa: BLE001 - its kind is what is asked
        return [type(error).__name__, getattr(error, "status_code", None)]
    return None


common = {"model": MODEL, "max_retries": 0, "timeout": 20}
chat = {"base_url": f"{ADDRESS}/v1", "api_key": "any", **common}
sys.stdout.write(
    json.dumps(
        {
            "chat": tried(ChatOpenAI(**chat, stream_usage=True)),
            "responses": tried(ChatOpenAI(**chat, use_responses_api=True, store=False)),
            "messages": tried(ChatAnthropic(base_url=ADDRESS, api_key="any", max_tokens=200, **common)),
            "logprobs": ChatOpenAI(**chat)
            .bind(logprobs=True)
            .invoke("x")
            .response_metadata["logprobs"]["content"][0]["token"],
            "error": failed(ChatOpenAI(**{**chat, "model": "nobody"})),
        }
    )
)
