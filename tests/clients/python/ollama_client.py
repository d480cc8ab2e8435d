"""Ollama's own Python client against a model that calls tools, thinks and looks at images.

Prints what it understood as one JSON document. Arguments: address, model, a picture in base64.
"""

import json
import sys

import ollama

ADDRESS, MODEL, PICTURE = sys.argv[1:4]
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}}}
client = ollama.Client(host=ADDRESS, timeout=20)


def user(words, **more):
    """One message."""
    return [{"role": "user", "content": words, **more}]


def weather(city: str) -> str:
    """Tells the weather.

    Args:
      city: where
    """
    return f"Snow in {city}."


def loop():
    """A question, the calls of tools, their results, the answer; each turn as a stream."""
    messages = user("How is it in both?")
    calls, thoughts = [], ""
    for part in client.chat(MODEL, messages, tools=[weather], stream=True):
        calls += part.message.tool_calls or []
        thoughts += part.message.thinking or ""
    messages.append({"role": "assistant", "content": "", "tool_calls": calls})
    messages += [
        {"role": "tool", "tool_name": one.function.name, "content": weather(**one.function.arguments)} for one in calls
    ]
    answer = client.chat(MODEL, messages, tools=[weather])
    return {"calls": [dict(one.function.arguments) for one in calls], "answer": answer.message.content}


def refused(ask):
    """The status and the words of an error."""
    try:
        ask()
    except ollama.ResponseError as error:
        return [error.status_code, error.error]
    return None


whole = client.chat(MODEL, user("Please think, по-русски"), options={"num_predict": 50, "num_ctx": 4096})
parts = list(client.chat(MODEL, user("Please think, по-русски"), stream=True))
first = client.generate(MODEL, "Hello", system="Be kind.")
listed = client.list().models
found = {
    "text": [whole.message.content, whole.message.thinking, whole.done_reason, whole.prompt_eval_count],
    "times": [whole.total_duration >= whole.load_duration + whole.eval_duration, whole.eval_duration > 0],
    "streamed": ["".join(one.message.content for one in parts), "".join(one.message.thinking or "" for one in parts)],
    "pieces": len(parts),
    "last": [parts[-1].done, parts[-1].done_reason, parts[-1].eval_count],
    "hidden": client.chat(MODEL, user("Please think, по-русски"), think=False).message.thinking,
    "tools": loop(),
    "parsed": json.loads(client.chat(MODEL, user("Weather"), format=WEATHER).message.content),
    "image": client.chat(MODEL, user("", images=[PICTURE])).message.content,
    "logprobs": [one.logprob for one in client.chat(MODEL, user("Hi"), logprobs=True).logprobs],
    "generated": [first.response, client.generate(MODEL, "more", context=first.context).response],
    "generated_stream": "".join(one.response for one in client.generate(MODEL, "по-русски", stream=True)),
    "loaded": client.generate(MODEL).done_reason,
    "listed": [one.model for one in listed],
    "running": [one.model for one in client.ps().models],
    "shown": client.show(MODEL).capabilities,
    "errors": {
        "name": refused(lambda: client.chat("nobody", user("Hi")))[0],
        "stream": refused(lambda: list(client.chat("nobody", user("Hi"), stream=True)))[0],
        "busy": refused(lambda: client.chat(MODEL, user("be busy")))[0],
        "pull": refused(lambda: client.pull("llama3")),
    },
}  # fmt: skip
sys.stdout.write(json.dumps(found))
