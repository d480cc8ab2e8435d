"""What a capable model would answer, for clients that need more than the embedded one can do: tools, thoughts, images.

`answer` is a script of `gateway_stage.ScriptedEngine`: it reads a chat completion request and answers by its words.
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib

from gateway_stage import STREAM_HEAD, USAGE, reply

PIECE = 9
"""Characters of one event, so that words, numbers and letters of two bytes are cut."""


def image(red):
    """A red picture of one point, as a PNG."""

    def part(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    point = zlib.compress(bytes([0, red, 0, 0]))
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", point) + part(b"IEND", b"")


IMAGE = base64.b64encode(image(255)).decode()


async def answer(call, writer):
    """Answer one request."""
    body = json.loads(call.body)
    words = _words(body)
    if "wait for ever" in words:
        if body.get("stream"):
            writer.write(STREAM_HEAD + _chunk(_event({"role": "assistant", "content": "One "})))
            await writer.drain()
        await call.left.wait()
        return False
    if "be busy" in words:
        busy = {"error": {"message": "Too busy.", "type": "server_error", "code": 503}}
        writer.write(reply(json.dumps(busy).encode(), b"503 Service Unavailable\r\nretry-after: 1"))
        await writer.drain()
        return True
    messages = [_message(body, words) for _ in range(body.get("n") or 1)]
    if body.get("stream"):
        await _stream(writer, body, messages)
    else:
        choices = [
            {"index": index, "message": one, "logprobs": _logprobs(body, one), "finish_reason": _reason(one)}
            for index, one in enumerate(messages)
        ]
        whole = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "there"}
        writer.write(reply(json.dumps({**whole, "choices": choices, "usage": USAGE}).encode()))
        await writer.drain()
    return True


def _words(body):
    """All that was said last, by whoever said it."""
    content = body["messages"][-1].get("content") or ""
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}]
    return " ".join(one.get("text", f"<{one['type']}>") for one in parts)


def _message(body, words):
    message = {"role": "assistant", "content": None}
    if "think" in words or body.get("reasoning_effort"):
        message["reasoning_content"] = "Snow is cold. Мороз."
    tools, last = body.get("tools"), body["messages"][-1]["role"]
    format_ = body.get("response_format") or {}
    if tools and last != "tool" and body.get("tool_choice") != "none":
        cities = ["Omsk", "Paris"] if "both" in words else ["Omsk"]
        function = tools[0]["function"]
        wanted = (function.get("parameters") or {}).get("properties") or {}
        given = {"degrees": -5} if "degrees" in wanted else {}
        message["tool_calls"] = [
            {"id": f"call_{city}", "type": "function",
             "function": {"name": function["name"], "arguments": json.dumps({"city": city, **given})}}
            for city in cities
        ]  # fmt: skip
        if "aloud" in words:
            message["content"] = "Let me see."
    elif format_.get("type") == "json_schema":
        message["content"] = json.dumps({"city": "Omsk", "degrees": -5})
    elif last == "tool":
        message["content"] = f"The tool says: {words}"
    elif "<image_url>" in words:
        url = next(one for one in body["messages"][-1]["content"] if one["type"] == "image_url")["image_url"]["url"]
        message["content"] = f"An image of {len(url)} letters."
    elif "по-русски" in words:
        message["content"] = "Здравствуйте! Это ответ 😀."
    else:
        message["content"] = f"You said {len(words)} letters."
    return message


def _reason(message):
    return "tool_calls" if message.get("tool_calls") else "stop"


def _logprobs(body, message):
    if not body.get("logprobs"):
        return None
    return {"content": _tokens(message["content"] or "", body.get("top_logprobs") or 0), "refusal": None}


def _tokens(words, alternatives):
    def token(one, at):
        return {"token": one, "logprob": -0.5 - at, "bytes": list(one.encode())}

    return [{**token(one, 0), "top_logprobs": [token(one, at) for at in range(alternatives)]} for one in _pieces(words)]


def _pieces(words):
    return [words[at : at + PIECE] for at in range(0, len(words), PIECE)]


async def _stream(writer, body, messages):
    writer.write(STREAM_HEAD)
    for index, message in enumerate(messages):
        for delta, tokens in _deltas(body, message):
            writer.write(_chunk(_event(delta, index, tokens)))
            # Each event comes alone.
            await writer.drain()
            await asyncio.sleep(0)
        writer.write(_chunk(_event({}, index, None, _reason(message))))
    if (body.get("stream_options") or {}).get("include_usage"):
        writer.write(_chunk({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "there",
                             "choices": [], "usage": USAGE}))  # fmt: skip
    end = b"data: [DONE]\n\n"
    writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(end), end))
    await writer.drain()


def _deltas(body, message):
    yield {"role": "assistant", "content": None}, None
    for piece in _pieces(message.get("reasoning_content", "")):
        yield {"reasoning_content": piece}, None
    for piece in _pieces(message["content"] or ""):
        yield {"content": piece}, _tokens(piece, body.get("top_logprobs") or 0) if body.get("logprobs") else None
    for index, one in enumerate(message.get("tool_calls", ())):
        first = {"index": index, "id": one["id"], "type": "function"}
        yield {"tool_calls": [{**first, "function": {"name": one["function"]["name"], "arguments": ""}}]}, None
        for piece in _pieces(one["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}, None


def _event(delta, index=0, tokens=None, reason=None):
    choice = {"index": index, "delta": delta, "finish_reason": reason}
    if tokens is not None:
        choice["logprobs"] = {"content": tokens, "refusal": None}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "there", "choices": [choice]}


def _chunk(payload):
    data = b"data: %b\n\n" % json.dumps(payload).encode()
    return b"%x\r\n%b\r\n" % (len(data), data)
