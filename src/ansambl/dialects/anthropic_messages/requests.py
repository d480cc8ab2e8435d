"""Requests of ``POST /v1/messages`` as chat completion requests. Pure.

Fields that only help Anthropic's own service (``cache_control``, ``service_tier``, ``betas``…) are left out. What would
change the answer and cannot be said in a chat completion request is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ansambl.dialects import openai_chat
from ansambl.dialects.anthropic_messages.answers import PROGRESS, THREAD_NOT_FOUND, MessageRendering
from ansambl.dialects.openai_chat import ChatRequest, Message
from ansambl.dialects.translation import (
    EFFORTS,
    Frame,
    a_limit,
    a_list,
    a_string,
    an_object,
    call,
    content_of,
    function_tool,
    image_part,
    joined,
    json_schema,
    kept,
    only_tools,
    parts_of,
    refuse_present,
    text_part,
    untranslatable,
    wants_stream,
    without_thinking,
    wrong,
)
from ansambl.domain.errors import RequestError, UnknownNameError
from ansambl.domain.text import text

_SAME = (
    "model", "temperature", "top_p", "top_k", "min_p", "seed", "presence_penalty", "frequency_penalty",
    "chat_template_kwargs", "ansambl",
)  # fmt: skip
"""Fields that mean the same in both dialects, with those that engines know beyond them."""

_REFUSED = {
    "container": text("nothing is run in containers here"),
    "mcp_servers": text("tools are called by the client here"),
}
_EFFORTS = ("low", "medium", "high", "xhigh", "max")

_BILLING = "x-anthropic-billing-header:"
"""Claude Code's bookkeeping in the system text. It is no instruction, and it is another one in every request, so that
nothing behind it would be found in a cache."""


@dataclass(frozen=True, slots=True)
class AskedMessage:
    """A request for a message, translated. `shows_reasoning` is whether the client wants to see the thinking."""

    chat: ChatRequest
    shows_reasoning: bool

    def rendering(self, frame: Frame) -> MessageRendering:
        """What renders the answer to this request."""
        return MessageRendering(frame, shows_reasoning=self.shows_reasoning)


def parse_request(body: bytes) -> AskedMessage:
    """Translate the body of a request for a message, or for its count of tokens.

    Raises:
        RequestError: it is no such request, or asks for something that chat completions cannot do; names the field.
    """
    request = openai_chat.parse_request(body)
    # Said first, as the other dialects do.
    _ = request.model
    refuse_present(request, _REFUSED)
    _refuse_threads(request)
    changes: dict[str, Any] = {
        "messages": [*_system(request), *_messages(request)],
        "max_tokens": a_limit(request, "max_tokens"),
        "stop": _stop(request),
        "user": _user(request),
        **_thinking(request),
        **_output(request),
        **_tools(request),
    }
    if wants_stream(request):
        changes |= {"stream": True, "stream_options": {"include_usage": True}}
    thinking = request.value("thinking")
    hidden = isinstance(thinking, dict) and (thinking.get("type") == "disabled" or thinking.get("display") == "omitted")
    return AskedMessage(kept(request, _SAME).changed(changes), shows_reasoning=not hidden)


def _refuse_threads(request: ChatRequest) -> None:
    """Refuse to go on with a conversation that only its beginner has: the official client then sends all of it again.

    Raises:
        UnknownNameError: the request has nothing but what is new since an earlier answer.
    """
    found = request.value("thread")
    if found is None:
        return
    kind = an_object(found, "thread").get("type")
    if kind == "continue":
        raise UnknownNameError(
            text("Conversations are not kept here: send the whole conversation in 'messages', without 'thread'."),
            param="thread",
            code=THREAD_NOT_FOUND,
        )
    if kind != "create":
        raise untranslatable("thread.type", kind)


# --- messages --------------------------------------------------------------------------------------------------------


def _system(request: ChatRequest) -> list[Message]:
    found = request.value("system")
    if found is None:
        return []
    words = found if isinstance(found, str) else _texts(a_list(found, "system"), "system")
    return [{"role": "system", "content": words}] if words else []


def _texts(blocks: list[Any], path: str) -> str:
    found = []
    for index, one in enumerate(blocks):
        where = f"{path}[{index}]"
        block = an_object(one, where)
        if block.get("type") != "text":
            raise untranslatable(f"{where}.type", block.get("type"))
        words = a_string(block.get("text"), f"{where}.text")
        if not words.startswith(_BILLING):
            found.append(words)
    return "\n\n".join(one for one in found if one)


def _messages(request: ChatRequest) -> list[Message]:
    listed = request.value("messages")
    if not isinstance(listed, list) or not listed:
        raise RequestError(text("The field 'messages' must be a list with at least one message."), param="messages")
    messages: list[Message] = []
    for index, one in enumerate(listed):
        path = f"messages[{index}]"
        message = an_object(one, path)
        role, content = message.get("role"), message.get("content")
        if not isinstance(content, (str, list)):
            raise wrong(f"{path}.content", text("it is neither text nor a list of blocks"))
        if role == "user":
            _add_user(messages, content, f"{path}.content")
        elif role == "assistant":
            _add_assistant(messages, content, f"{path}.content")
        elif role == "system":
            words = content if isinstance(content, str) else _texts(content, f"{path}.content")
            messages.append({"role": "system", "content": words})
        else:
            raise wrong(f"{path}.role", text("it is one of: {known}", known="user, assistant, system"))
    return joined(messages)


def _add_user(messages: list[Message], content: str | list[Any], path: str) -> None:
    """The results of tools go first, each as a message of its own: chat templates want them right after the calls."""
    if isinstance(content, str):
        parts = parts_of(content)
        results: list[Message] = []
    else:
        parts, results = [], []
        for index, one in enumerate(content):
            where = f"{path}[{index}]"
            block = an_object(one, where)
            if block.get("type") == "tool_result":
                results.append(_result(block, where))
            else:
                parts.append(_part(block, where))
    messages += results
    if not parts and results:
        return
    last = messages[-1] if messages else {}
    if last.get("role") == "user":
        # Messages of one role in a row are one turn in this dialect.
        last["content"] += parts
    else:
        messages.append({"role": "user", "content": parts})


def _part(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    kind = block.get("type")
    if kind == "text":
        return text_part(a_string(block.get("text"), f"{path}.text"))
    if kind == "image":
        return _image(block, path)
    if kind == "document":
        return _document(block, path)
    if kind == "search_result":
        blocks = a_list(block.get("content"), f"{path}.content")
        head = [a_string(block.get(name), f"{path}.{name}") for name in ("title", "source")]
        return text_part("\n".join([*head, "", _texts(blocks, f"{path}.content")]))
    raise untranslatable(f"{path}.type", kind)


def _image(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    where = f"{path}.source"
    source = an_object(block.get("source"), where)
    if source.get("type") == "base64":
        media = a_string(source.get("media_type"), f"{where}.media_type", empty=False)
        data = a_string(source.get("data"), f"{where}.data", empty=False)
        return image_part(f"data:{media};base64,{data}")
    if source.get("type") == "url":
        return image_part(a_string(source.get("url"), f"{where}.url", empty=False))
    raise untranslatable(f"{where}.type", source.get("type"))


def _document(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    citations = block.get("citations")
    if isinstance(citations, dict) and citations.get("enabled"):
        raise wrong(f"{path}.citations", text("answers carry no citations here"))
    where = f"{path}.source"
    source = an_object(block.get("source"), where)
    if source.get("type") == "text":
        words = a_string(source.get("data"), f"{where}.data")
    elif source.get("type") == "content":
        content = source.get("content")
        words = content if isinstance(content, str) else _texts(a_list(content, f"{where}.content"), f"{where}.content")
    else:
        raise untranslatable(f"{where}.type", source.get("type"))
    head = [block[name] for name in ("title", "context") if isinstance(block.get(name), str) and block[name]]
    return text_part("\n\n".join([*head, words]))


def _result(block: Mapping[str, Any], path: str) -> Message:
    identifier = a_string(block.get("tool_use_id"), f"{path}.tool_use_id", empty=False)
    found = block.get("content")
    if found is None or isinstance(found, str):
        parts = parts_of(found or "")
    else:
        listed = a_list(found, f"{path}.content")
        where = f"{path}.content"
        parts = [_part(an_object(one, f"{where}[{i}]"), f"{where}[{i}]") for i, one in enumerate(listed)]
    if block.get("is_error") is True:
        # Chat completions have no place for it but the words.
        parts = [text_part("Error: " + parts[0]["text"]), *parts[1:]] if parts and parts[0]["type"] == "text" else [
            text_part("Error"), *parts
        ]  # fmt: skip
    return {"role": "tool", "tool_call_id": identifier, "content": content_of(parts)}


def _add_assistant(messages: list[Message], content: str | list[Any], path: str) -> None:
    last = messages[-1] if messages else {}
    if last.get("role") == "assistant":
        message = last
    else:
        message = {"role": "assistant", "content": []}
        messages.append(message)
    if isinstance(content, str):
        message["content"].append(content)
        return
    for index, one in enumerate(content):
        where = f"{path}[{index}]"
        block = an_object(one, where)
        kind = block.get("type")
        if kind == "text":
            # An answer whose text was cut into blocks by its thinking or its calls is one text.
            message["content"].append(a_string(block.get("text"), f"{where}.text"))
        elif kind == "thinking":
            if block.get("signature") != PROGRESS:
                words = a_string(block.get("thinking"), f"{where}.thinking")
                if words:
                    message.setdefault("reasoning_content", []).append(words)
        elif kind == "tool_use":
            message.setdefault("tool_calls", []).append(_use(block, where))
        elif kind != "redacted_thinking":
            raise untranslatable(f"{where}.type", kind)


def _use(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    identifier = a_string(block.get("id"), f"{path}.id", empty=False)
    name = a_string(block.get("name"), f"{path}.name")
    given = an_object(block.get("input"), f"{path}.input")
    return call(identifier, name, msgspec.json.encode(given).decode())


# --- the other fields ------------------------------------------------------------------------------------------------


def _stop(request: ChatRequest) -> list[str] | None:
    found = request.value("stop_sequences")
    if found is None:
        return None
    listed = a_list(found, "stop_sequences")
    return [a_string(one, f"stop_sequences[{index}]") for index, one in enumerate(listed)] or None


def _user(request: ChatRequest) -> str | None:
    found = request.value("metadata")
    user = found.get("user_id") if isinstance(found, dict) else None
    return user if isinstance(user, str) else None


def _thinking(request: ChatRequest) -> dict[str, Any]:
    """Thinking that is switched off is switched off in the template; how far a model thinks is else the model's own."""
    found = request.value("thinking")
    if found is None:
        return {}
    kind = an_object(found, "thinking").get("type")
    if kind not in ("enabled", "adaptive", "between_tools", "disabled"):
        raise untranslatable("thinking.type", kind)
    return without_thinking(request) if kind == "disabled" else {}


def _output(request: ChatRequest) -> dict[str, Any]:
    found = request.value("output_config")
    config = {} if found is None else an_object(found, "output_config")
    changes: dict[str, Any] = {}
    effort = config.get("effort")
    if effort is not None:
        if effort not in _EFFORTS:
            raise wrong("output_config.effort", text("it is one of: {known}", known=", ".join(_EFFORTS)))
        changes["reasoning_effort"] = EFFORTS[effort]
    path, wanted = "output_config.format", config.get("format")
    if wanted is None:
        path, wanted = "output_format", request.value("output_format")
    if wanted is not None:
        wanted = an_object(wanted, path)
        if wanted.get("type") != "json_schema":
            raise untranslatable(f"{path}.type", wanted.get("type"))
        schema = an_object(wanted.get("schema"), f"{path}.schema")
        changes["response_format"] = json_schema("answer", schema, strict=True)
    return changes


def _tools(request: ChatRequest) -> dict[str, Any]:
    found = request.value("tools")
    tools = [] if found is None else [_tool(one, f"tools[{i}]") for i, one in enumerate(a_list(found, "tools"))]
    given = request.value("tool_choice")
    choice = {} if given is None else an_object(given, "tool_choice")
    changes: dict[str, Any] = {}
    kind = choice.get("type") if choice else "auto"
    if kind == "tool":
        name = a_string(choice.get("name"), "tool_choice.name", empty=False)
        tools, kind = only_tools(tools, [name], "tool_choice.name"), "any"
    if kind not in ("auto", "any", "none"):
        raise untranslatable("tool_choice.type", kind)
    if kind == "any" and not tools:
        raise wrong("tool_choice", text("there are no tools in the request"))
    if tools:
        changes["tools"] = tools
        if choice:
            changes["tool_choice"] = "required" if kind == "any" else kind
        if choice.get("disable_parallel_tool_use") is True:
            changes["parallel_tool_calls"] = False
    return changes


def _tool(found: Any, path: str) -> dict[str, Any]:
    tool = an_object(found, path)
    if tool.get("type") not in (None, "custom"):
        raise untranslatable(f"{path}.type", tool.get("type"))
    name = a_string(tool.get("name"), f"{path}.name", empty=False)
    schema = an_object(tool.get("input_schema"), f"{path}.input_schema")
    described = tool.get("description")
    description = None if described is None else a_string(described, f"{path}.description")
    return function_tool(name, schema, description, strict=tool.get("strict"))
