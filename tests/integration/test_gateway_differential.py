"""What comes through Ansambl is what the engine says: the same requests to both, compared byte for byte.

A plain model's chat completions are the engine's own. Three things differ from one answer to the next by nature, and
are masked: the ids that the engine draws, the second of its clock, and how long it took. Nothing else is.
"""

from __future__ import annotations

import json
import re

import httpx
import psutil
import pytest

MASKS = (
    (rb'"id":"chatcmpl-[A-Za-z0-9]{32}"', b'"id":"chatcmpl-"'),
    # Those of tool calls.
    (rb'"id":"[A-Za-z0-9]{32}"', b'"id":""'),
    (rb'"created":[0-9]{10}\b', b'"created":0'),
    (rb'"timings":\{"cache_n"[^{}]*\}', b'"timings":{}'),
    (rb'"time_ms":[0-9]+', b'"time_ms":0'),
)
ASK = [{"role": "user", "content": "Say hi."}]
LONG = [{"role": "user", "content": "word " * 3000}]
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Omsk", "Paris"]}},
            "required": ["city"],
        },
    },
}
CALLING = [
    message
    for number, city in enumerate(["Omsk", "Paris", "Omsk"])
    for message in (
        {"role": "user", "content": f"What is the weather in {city}?"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": f"c{number}", "type": "function",
             "function": {"name": "weather", "arguments": json.dumps({"city": city})}}]},
    )
] + [{"role": "user", "content": "What is the weather in Paris?"}]  # fmt: skip
"""A conversation after which also a small model calls the tool."""

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "status",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"status": {"type": "string", "enum": ["ok"]}, "count": {"type": "integer"}},
            "required": ["status", "count"],
            "additionalProperties": False,
        },
    },
}
ANSWERED = {
    "plain": {},
    "several turns": {
        "messages": [
            {"role": "system", "content": "You are brief."}, *ASK,
            {"role": "assistant", "content": "Hi."}, {"role": "user", "content": [{"type": "text", "text": "Again."}]},
        ],
    },
    "russian and signs": {"messages": [{"role": "user", "content": 'Привет! 😀 «ёлка» \u2028 \x7f \\ " \t é'}]},
    "seed": {"temperature": 1.5, "seed": 42},
    "sampling of llama.cpp": {"temperature": 1.0, "seed": 7, "top_k": 5, "min_p": 0.1, "repeat_penalty": 1.2,
                              "samplers": ["top_k", "temperature"]},
    "stop": {"max_tokens": 24, "stop": ["a", "you"]},
    "logprobs": {"logprobs": True, "top_logprobs": 3},
    "n_probs": {"n_probs": 2, "post_sampling_probs": True},
    "several answers": {"n": 2},
    "json schema": {"max_tokens": 40, "response_format": SCHEMA},
    "json object": {"max_tokens": 12, "response_format": {"type": "json_object"}},
    "grammar": {"grammar": 'root ::= "yes" | "no"'},
    "tools": {"tools": [TOOL], "tool_choice": "auto"},
    "a call": {"messages": CALLING, "max_tokens": 60, "tools": [TOOL], "tool_choice": "required"},
    "the result of a call": {
        "messages": [
            *ASK,
            {"role": "assistant", "content": None, "tool_calls": [
                {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Omsk"}'}}]},
            {"role": "tool", "tool_call_id": "c1", "content": "Snow."},
        ],
        "tools": [TOOL],
    },
    "fields of llama.cpp": {"return_tokens": True, "timings_per_token": True, "return_progress": True},
    "fields of nobody": {"x_unknown": {"a": [1, None, 1.50, "é"]}, "metadata": {"k": "v"}, "store": True},
}  # fmt: skip
REFUSED = {
    "a limit that is text": {"max_tokens": "many"},
    "an image": {"messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]},
    "a prompt that is too long": {"messages": LONG},
    "a grammar that is none": {"grammar": "root ::= ("},
    "a schema that is none": {"response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "odd"}}}},
    "a choice that is none": {"tools": [TOOL], "tool_choice": "perhaps"},
    "a part that is none": {"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
    "a call without a name": {"messages": [*ASK, {"role": "assistant", "tool_calls": [{"type": "function"}]}, *ASK]},
}  # fmt: skip
TEMPLATE = (
    "{%- if tools %}<|im_start|>system\n<tools>{%- for tool in tools %}\n{{ tool | tojson }}{%- endfor %}\n</tools>\n"
    'A call is <tool_call>\n{"name": <name>, "arguments": <object>}\n</tool_call><|im_end|>\n{%- endif %}'
    "{%- for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content or '' }}"
    "{%- for call in message.tool_calls or [] %}<tool_call>\n"
    '{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}\n</tool_call>'
    "{%- endfor %}<|im_end|>\n{%- endfor %}{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""With tools, of which the model's own template knows nothing."""

CONFIGURATION = """
[models.plain]
checkpoint = {file}
context = 2048
parallel = 2
arguments = ["--chat-template", {template}]
"""

pytestmark = pytest.mark.engine


class Both:
    """Sends a request to the engine itself and through Ansambl."""

    def __init__(self, started):
        found = started.instance("plain")
        key = psutil.Process(found["pid"]).environ()["ANSAMBL_ENGINE_KEY"]
        self._straight = httpx.Client(
            base_url=found["address"], headers={"authorization": f"Bearer {key}"}, timeout=60, trust_env=False
        )
        self._through = httpx.Client(base_url=f"{started.address}/v1", timeout=60, trust_env=False)

    def __call__(self, fields):
        # Nothing is taken from a cache, so both read the whole prompt.
        body = {"model": "plain", "messages": ASK, "max_tokens": 8, "temperature": 0, "cache_prompt": False}
        return [one.post("/chat/completions", json={**body, **fields}) for one in (self._straight, self._through)]

    def close(self):
        self._straight.close()
        self._through.close()


def masked(body):
    for pattern, instead in MASKS:
        body = re.sub(pattern, instead, body)
    return body


@pytest.fixture
def both(start, embedded_model_folder):
    # Its file under another name: to a model that the configuration says nothing of, nothing is added.
    (file,) = embedded_model_folder.glob("*.gguf")
    made = Both(start(CONFIGURATION.format(file=json.dumps(str(file)), template=json.dumps(TEMPLATE))))
    yield made
    made.close()


def test_whole_answers_are_the_engines_byte_for_byte(both):
    for name, fields in ANSWERED.items():
        straight, through = both(fields)
        assert straight.status_code == through.status_code == 200, (name, straight.text, through.text)
        assert masked(through.content) == masked(straight.content), name
        assert through.headers["content-type"] == straight.headers["content-type"], name
        assert masked(straight.content) != straight.content, "the masks fit what the engine writes"
        calls = straight.json()["choices"][0]["message"].get("tool_calls", [])
        assert len(calls) == (name == "a call"), name


def test_streams_are_the_engines_byte_for_byte(both):
    for number, (name, fields) in enumerate(ANSWERED.items()):
        options = {"stream_options": {"include_usage": True}} if number % 2 else {}
        straight, through = both({**fields, **options, "stream": True})
        assert straight.status_code == through.status_code == 200, (name, straight.text, through.text)
        assert masked(through.content) == masked(straight.content), name
        assert through.content.endswith(b"data: [DONE]\n\n"), name
        assert (b'"tool_calls":[{"index":0' in straight.content) == (name == "a call"), name
        kinds = [one.headers["content-type"].partition(";")[0] for one in (straight, through)]
        assert kinds == ["text/event-stream"] * 2, name


def test_a_named_tool_is_called_although_llama_cpp_takes_no_name(both):
    """It takes a name for "auto", and its model answers as it likes; so the request goes out with that tool alone."""
    other = {"type": "function", "function": {"name": "forecast", "parameters": TOOL["function"]["parameters"]}}
    fields = {"messages": CALLING, "max_tokens": 90, "tools": [TOOL, other]}
    for name in ("weather", "forecast"):
        named = {"type": "function", "function": {"name": name}}
        answer = both({**fields, "tool_choice": named})[1].json()
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        assert call["function"]["name"] == name
        assert json.loads(call["function"]["arguments"])["city"] in {"Omsk", "Paris"}


def test_refusals_keep_the_engines_words_in_openais_shape(both):
    """Three things are mended: the type and the code are words (llama.cpp's code is a number), `param` is always
    there, and what can never succeed is no 500, which the official clients would send again."""
    for name, fields in REFUSED.items():
        for stream in (False, True):
            straight, through = both({**fields, "stream": stream})
            theirs, ours = straight.json()["error"], through.json()["error"]
            assert straight.status_code >= 400, name
            assert ours["message"] == theirs["message"], name
            assert {"message", "type", "param", "code"} <= set(ours), name
            assert set(theirs) <= set(ours), name
            assert (through.status_code, ours["type"]) == (400, "invalid_request_error"), name
            assert ours["code"] == ("context_length_exceeded" if name == "a prompt that is too long" else None), name
            untouched = set(theirs) - {"type", "code"}
            assert {key: ours[key] for key in untouched} == {key: theirs[key] for key in untouched}, name
