"""A conversation that goes on in its own dialect is known again: the notes of its roles return to their turns."""

import json

import pytest

from ansambl.dialects.anthropic_messages import requests as messages
from ansambl.dialects.openai_chat import Delta
from ansambl.dialects.openai_responses import requests as responses
from ansambl.dialects.translation import Frame
from ansambl.roles.turns import Note, TurnMemory

NOTE = Note("coder", "[Role: coder] …")
FRAME = Frame("a1", 1, "coder")
CALLS = (
    {"index": 0, "id": "c1", "function": {"name": "count", "arguments": '{"b": 1, "a": "ж"}'}},
    {"index": 1, "function": {"name": "count", "arguments": "{}"}},
)
STREAMS = {
    "text": [Delta(content="Forty"), Delta(content="-two.\n")],
    "thinking": [Delta(reasoning="I count. "), Delta(reasoning="Yes."), Delta(content="42")],
    "thinking in the text": [Delta(content="<think>Hm.</think>\n\n42")],
    "calls": [*(Delta(tool_calls=(one,)) for one in CALLS), Delta(finish_reason="tool_calls")],
    "text and calls": [Delta(reasoning="Hm."), Delta(content="Let me see."), Delta(tool_calls=CALLS)],
    "text around thinking": [Delta(content="One "), Delta(reasoning="Hm."), Delta(content="two.")],
}


class AnthropicClient:
    """Sends its conversation as the official client's users do: the content of an answer goes back as it came."""

    def __init__(self):
        self.messages = [{"role": "user", "content": "How many lines?"}]

    def request(self):
        body = {"model": "coder", "max_tokens": 9, "messages": self.messages}
        return messages.parse_request(json.dumps(body).encode())

    def take(self, whole):
        self.messages.append({"role": "assistant", "content": whole["content"]})
        results = [{"type": "tool_result", "tool_use_id": one["id"], "content": "42"} for one in whole["content"]
                   if one["type"] == "tool_use"]  # fmt: skip
        self.messages.append({"role": "user", "content": results or "Why?"})


class ResponsesClient:
    """Sends the items of an answer back as they came."""

    def __init__(self):
        self.items = [{"role": "user", "content": "How many lines?"}]

    def request(self):
        return responses.parse_request(json.dumps({"model": "coder", "input": self.items}).encode())

    def take(self, whole):
        self.items += whole["output"]
        results = [{"type": "function_call_output", "call_id": one["call_id"], "output": "42"}
                   for one in whole["output"] if one["type"] == "function_call"]  # fmt: skip
        self.items += results or [{"role": "user", "content": "Why?"}]


@pytest.mark.parametrize("client", [AnthropicClient, ResponsesClient])
@pytest.mark.parametrize("name", STREAMS)
def test_the_note_returns_to_the_turn_that_the_client_sends_back(client, name):
    memory, talking = TurnMemory(), client()
    asked = talking.request()
    rendering = asked.rendering(FRAME)
    for one in STREAMS[name]:
        rendering.feed(one)
    rendering.finish()
    memory.remember(memory.recall("k", "h", asked.chat.messages()), rendering.answer, NOTE)
    talking.take(rendering.whole())
    continued = talking.request().chat.messages()
    assert memory.recall("k", "h", continued).texts == {0: NOTE.text}
    first = asked.chat.messages()
    assert continued[: len(first)] == first, "what was sent once is sent again as the same bytes"


@pytest.mark.parametrize("client", [AnthropicClient, ResponsesClient])
def test_another_answer_brings_no_note(client):
    memory, talking = TurnMemory(), client()
    asked = talking.request()
    rendering = asked.rendering(FRAME)
    rendering.feed(Delta(content="42"))
    memory.remember(memory.recall("k", "h", asked.chat.messages()), rendering.answer, NOTE)
    rendering.feed(Delta(content="3"))
    talking.take(rendering.whole())
    assert memory.recall("k", "h", talking.request().chat.messages()).texts == {}


def test_a_conversation_may_go_on_in_the_other_dialect():
    memory, first, second = TurnMemory(), AnthropicClient(), ResponsesClient()
    asked = first.request()
    rendering = asked.rendering(FRAME)
    for one in STREAMS["text and calls"]:
        rendering.feed(one)
    memory.remember(memory.recall("k", "h", asked.chat.messages()), rendering.answer, NOTE)
    other = second.request().rendering(FRAME)
    for one in STREAMS["text and calls"]:
        other.feed(one)
    second.take(other.whole())
    assert memory.recall("k", "h", second.request().chat.messages()).texts == {0: NOTE.text}
