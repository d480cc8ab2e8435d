"""Requests of ``POST /api/chat`` and ``POST /api/generate`` as chat completion requests. Pure.

What belongs to the loading of a model (``num_ctx``, ``num_gpu``, ``num_thread``…) is left out: how a model is loaded is
the configuration's, and two clients that disagree must not load it again and again. So is ``keep_alive`` beside a
question: what stays in memory is the scheduler's to say.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ansambl.dialects import openai_chat
from ansambl.dialects.ollama.answers import Moments, OllamaRendering
from ansambl.dialects.ollama.context import unpack
from ansambl.dialects.openai_chat import ChatRequest, Message
from ansambl.dialects.translation import (
    Frame,
    a_list,
    a_string,
    an_object,
    call,
    content_of,
    function_tool,
    image_part,
    json_schema,
    kept,
    text_part,
    untranslatable,
    wrong,
)
from ansambl.domain.text import Text, text

_SAME = ("model", "chat_template_kwargs", "ansambl")
"""Fields that go on as they are: what clients of Ansambl may add."""

_NUMBERS = {
    "temperature": "temperature", "top_p": "top_p", "min_p": "min_p", "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty", "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty", "mirostat_tau": "mirostat_tau", "mirostat_eta": "mirostat_eta",
}  # fmt: skip
_WHOLE = {"top_k": "top_k", "repeat_last_n": "repeat_last_n", "mirostat": "mirostat"}
"""Options by the names under which engines take them in chat completions (llama.cpp's, where OpenAI has none)."""

_LEVELS = ("low", "medium", "high")
_EFFORTS = {"max": "high"}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"[+-]?(?:\d+(?:\.\d*)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"(\d+(?:\.\d*)?)(ns|us|µs|ms|s|m|h)")
_LONGEST_DURATION = 100
_MOST_ALTERNATIVES = 20
_KINDS = {
    b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp",
    b"BM": "image/bmp",
}  # fmt: skip


def _no_moments() -> Moments:
    return Moments()


@dataclass(frozen=True, slots=True)
class AskedOllama:
    """A request of Ollama's, translated.

    `model` is the name as the client wrote it. `generates` tells ``/api/generate`` from ``/api/chat``. `empty` is one
    that asks nothing: it loads the model, or unloads it where `unloads`. `shows_reasoning` is whether the client wants
    to see the thinking. `conversation` is what the answer's ``context`` continues, None where it has none. `calls` is
    how many tool calls the conversation holds. `moments` tells the times of the answer.
    """

    chat: ChatRequest
    model: str
    generates: bool = False
    empty: bool = False
    unloads: bool = False
    shows_reasoning: bool = True
    conversation: tuple[Message, ...] | None = None
    calls: int = 0
    moments: Callable[[], Moments] = _no_moments

    def rendering(self, frame: Frame) -> OllamaRendering:
        """What renders the answer to this request."""
        return OllamaRendering(
            frame, self.model, self.moments, generates=self.generates, shows_reasoning=self.shows_reasoning,
            conversation=self.conversation, calls=self.calls,
        )  # fmt: skip


def parse_chat(body: bytes) -> AskedOllama:
    """Translate the body of a request for a chat.

    Raises:
        RequestError: it is no such request, or asks for something that chat completions cannot do; names the field.
    """
    request = openai_chat.parse_request(body)
    model = _model(request)
    reader = _Messages()
    for index, one in enumerate(_listed(request.value("messages"), "messages")):
        reader.add(an_object(one, f"messages[{index}]"), f"messages[{index}]")
    chat = _chat(request, model, reader.messages, {**_tools(request), **_logprobs(request)})
    return AskedOllama(
        chat, model, empty=not reader.messages, unloads=_unloads(request), shows_reasoning=_shows(request),
        calls=reader.calls,
    )  # fmt: skip


def parse_generate(body: bytes) -> AskedOllama:
    """Translate the body of a request for a generation.

    Raises:
        RequestError: it is no such request, or asks for something that chat completions cannot do; names the field.
    """
    request = openai_chat.parse_request(body)
    model = _model(request)
    for name, reason in _REFUSED.items():
        if request.value(name) not in (None, False, ""):
            raise wrong(name, reason)
    prompt, system = (a_string(request.value(name) or "", name) for name in ("prompt", "system"))
    images = _images(request.value("images"), "images")
    messages = unpack(request.value("context"))
    if system:
        messages = [{"role": "system", "content": system}, *(one for one in messages if one["role"] != "system")]
    empty = not prompt and not images
    if not empty:
        messages.append({"role": "user", "content": _with_images(prompt, images)})
    return AskedOllama(
        _chat(request, model, messages, _logprobs(request)), model, generates=True, empty=empty,
        unloads=_unloads(request), shows_reasoning=_shows(request), conversation=tuple(messages),
    )  # fmt: skip


_REFUSED: Mapping[str, Text] = {
    "suffix": text("text is not filled in between two others here; ask without it"),
    "template": text("the model's own chat template is used; put instructions into 'system'"),
    "raw": text("prompts without a chat template are for POST /v1/completions"),
}


def _model(request: ChatRequest) -> str:
    # "name" is what early clients said.
    found = request.value("model") or request.value("name")
    return a_string(found, "model", empty=False)


def _chat(request: ChatRequest, model: str, messages: list[Message], more: Mapping[str, Any]) -> ChatRequest:
    changes: dict[str, Any] = {
        "model": model,
        "messages": messages,
        **_options(request),
        **_format(request),
        **_thinking(request),
        **more,
    }
    if _streams(request):
        changes |= {"stream": True, "stream_options": {"include_usage": True}}
    return kept(request, _SAME).changed(changes)


def _streams(request: ChatRequest) -> bool:
    found = request.value("stream")
    if found is not None and not isinstance(found, bool):
        raise wrong("stream", text("it is true or false"))
    return found is not False


# --- messages --------------------------------------------------------------------------------------------------------


class _Messages:
    """The messages of a chat, one after another. Tool calls without a name of their own get one by their number."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.calls = 0
        self._open: list[tuple[str, str]] = []

    def add(self, message: Mapping[str, Any], path: str) -> None:
        role, content = message.get("role"), message.get("content")
        words = "" if content is None else a_string(content, f"{path}.content")
        if role == "user":
            self.messages.append({"role": role, "content": _with_images(words, _images(message.get("images"), path))})
        elif role == "system":
            self.messages.append({"role": role, "content": words})
        elif role == "assistant":
            self.messages.append(self._assistant(message, words, path))
        elif role == "tool":
            identifier = self._answered(message)
            parts = _with_images(words, _images(message.get("images"), path))
            self.messages.append({"role": role, "tool_call_id": identifier, "content": parts})
        else:
            raise wrong(f"{path}.role", text("it is one of: {known}", known="user, assistant, system, tool"))

    def _assistant(self, message: Mapping[str, Any], words: str, path: str) -> Message:
        found: Message = {"role": "assistant", "content": words}
        thinking = message.get("thinking")
        if thinking:
            found["reasoning_content"] = a_string(thinking, f"{path}.thinking")
        listed = _listed(message.get("tool_calls"), f"{path}.tool_calls")
        calls = [self._call(one, f"{path}.tool_calls[{index}]") for index, one in enumerate(listed)]
        if calls:
            found["tool_calls"] = calls
        return found

    def _call(self, found: Any, path: str) -> dict[str, Any]:
        one = an_object(found, path)
        function = an_object(one.get("function"), f"{path}.function")
        name = a_string(function.get("name"), f"{path}.function.name", empty=False)
        given = an_object(function.get("arguments") or {}, f"{path}.function.arguments")
        identifier = one.get("id")
        if not isinstance(identifier, str) or not identifier:
            identifier = call_name(self.calls)
        self.calls += 1
        self._open.append((identifier, name))
        return call(identifier, name, msgspec.json.encode(given).decode())

    def _answered(self, message: Mapping[str, Any]) -> str:
        """Which call a result belongs to: the named one, else the first open one of its tool, else the first one."""
        named, tool = message.get("tool_call_id"), message.get("tool_name") or message.get("name")
        chosen = next((one for one in self._open if one[0] == named), None)
        if chosen is None and not (isinstance(named, str) and named):
            chosen = next((one for one in self._open if one[1] == tool), next(iter(self._open), None))
        if chosen is None:
            return named if isinstance(named, str) and named else call_name(self.calls)
        self._open.remove(chosen)
        return chosen[0]


def call_name(number: int) -> str:
    """The name of the conversation's tool call of that number, for clients that send none back."""
    return f"call_{number}"


def _with_images(words: str, images: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content_of([*images, *([text_part(words)] if words else [])])


def _images(found: Any, path: str) -> list[dict[str, Any]]:
    path = path if path == "images" else f"{path}.images"
    listed = _listed(found, path)
    return [_image(a_string(one, f"{path}[{i}]", empty=False), f"{path}[{i}]") for i, one in enumerate(listed)]


def _image(data: str, path: str) -> dict[str, Any]:
    if data.startswith("data:image/"):
        return image_part(data)
    try:
        start = base64.b64decode(data[:32], validate=True)
    except (binascii.Error, ValueError):
        raise wrong(path, text("it must be an image in base64")) from None
    kind = next((kind for mark, kind in _KINDS.items() if start.startswith(mark)), "image/jpeg")
    return image_part(f"data:{kind};base64,{data}")


# --- the other fields ------------------------------------------------------------------------------------------------


def _options(request: ChatRequest) -> dict[str, Any]:
    found = request.value("options")
    options = {} if found is None else an_object(found, "options")
    changes: dict[str, Any] = {}
    for names, whole in ((_NUMBERS, False), (_WHOLE, True)):
        for name, target in names.items():
            if (value := _number(options, name, whole=whole)) is not None:
                changes[target] = value
    seed = _number(options, "seed", whole=True)
    if seed is not None and seed >= 0:
        changes["seed"] = seed
    limit = _number(options, "num_predict", whole=True)
    if limit is not None and limit > 0:
        # Below it means no limit, as far as the model or its context goes.
        changes["max_tokens"] = limit
    if (stop := options.get("stop")) is not None:
        listed = [stop] if isinstance(stop, str) else a_list(stop, "options.stop")
        words = [a_string(one, f"options.stop[{index}]") for index, one in enumerate(listed)]
        if any(words):
            changes["stop"] = [one for one in words if one]
    return changes


def _number(options: Mapping[str, Any], name: str, *, whole: bool) -> float | None:
    found = options.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        raise wrong(f"options.{name}", text("it must be a number"))
    if not whole:
        return found
    if found != int(found):
        raise wrong(f"options.{name}", text("it must be a whole number"))
    return int(found)


def _format(request: ChatRequest) -> dict[str, Any]:
    found = request.value("format")
    if found is None or found == "":
        return {}
    if found == "json":
        return {"response_format": {"type": "json_object"}}
    if isinstance(found, dict):
        return {"response_format": json_schema("answer", found)}
    raise wrong("format", text('it is "json" or a JSON schema'))


def _thinking(request: ChatRequest) -> dict[str, Any]:
    """Thinking is switched in the chat template; how far a model thinks is an effort."""
    found = request.value("think")
    if found is None or found == "":
        return {}
    level = _EFFORTS.get(found, found) if isinstance(found, str) else found
    if not isinstance(level, bool) and level not in _LEVELS:
        raise wrong("think", text("it is true, false, or one of: {known}", known=", ".join(_LEVELS)))
    given = request.value("chat_template_kwargs")
    kwargs = {**(given if isinstance(given, dict) else {}), "enable_thinking": level is not False}
    changes: dict[str, Any] = {"chat_template_kwargs": kwargs}
    if isinstance(level, str):
        changes["reasoning_effort"] = level
    return changes


def _shows(request: ChatRequest) -> bool:
    return request.value("think") is not False


def _tools(request: ChatRequest) -> dict[str, Any]:
    listed = _listed(request.value("tools"), "tools")
    tools = [_tool(an_object(one, f"tools[{i}]"), f"tools[{i}]") for i, one in enumerate(listed)]
    return {"tools": tools} if tools else {}


def _tool(tool: Mapping[str, Any], path: str) -> dict[str, Any]:
    if tool.get("type") not in (None, "function"):
        raise untranslatable(f"{path}.type", tool.get("type"))
    function = an_object(tool.get("function"), f"{path}.function")
    name = a_string(function.get("name"), f"{path}.function.name", empty=False)
    described, parameters = function.get("description"), function.get("parameters")
    return function_tool(
        name,
        None if parameters is None else an_object(parameters, f"{path}.function.parameters"),
        None if described is None else a_string(described, f"{path}.function.description"),
        strict=function.get("strict"),
    )


def _logprobs(request: ChatRequest) -> dict[str, Any]:
    wanted, most = request.value("logprobs"), request.value("top_logprobs")
    if most is not None and (
        isinstance(most, bool) or not isinstance(most, int) or not 0 <= most <= _MOST_ALTERNATIVES
    ):
        raise wrong("top_logprobs", text("it is a whole number from 0 to {most}", most=_MOST_ALTERNATIVES))
    if wanted is not None and not isinstance(wanted, bool):
        raise wrong("logprobs", text("it is true or false"))
    if not wanted:
        return {}
    return {"logprobs": True, "top_logprobs": most or None}


def _listed(found: Any, path: str) -> list[Any]:
    return [] if found is None else a_list(found, path)


def _unloads(request: ChatRequest) -> bool:
    found = request.value("keep_alive")
    return found is not None and _seconds(found) == 0


def _seconds(found: Any) -> float:
    if isinstance(found, (int, float)) and not isinstance(found, bool):
        return float(found)
    if isinstance(found, str):
        given = found.strip()[:_LONGEST_DURATION]
        if re.fullmatch(r"[+-]?\d+(?:\.\d*)?", given):
            return float(given)
        if _DURATION.fullmatch(given):
            return sum(float(count) * _UNITS[unit] for count, unit in _PART.findall(given))
    raise wrong("keep_alive", text("it is a number of seconds or a duration such as 5m"))
