"""Requests of ``POST /v1/responses`` as chat completion requests. Pure.

Nothing is stored here, so a request has to bring its whole conversation. Fields that only help OpenAI's own service
(``store``, ``service_tier``, ``prompt_cache_key``…) are left out; what would change the answer and cannot be said in a
chat completion request is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansambl.dialects import openai_chat
from ansambl.dialects.openai_chat import ChatRequest, Message
from ansambl.dialects.openai_responses.answers import PROGRESS, ResponseRendering
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
    refuse_present,
    text_part,
    untranslatable,
    wants_stream,
    without_thinking,
    wrong,
)
from ansambl.domain.errors import RequestError
from ansambl.domain.text import text

_SAME = (
    "model", "temperature", "top_p", "top_k", "min_p", "seed", "stop", "presence_penalty", "frequency_penalty",
    "chat_template_kwargs", "user", "ansambl",
)  # fmt: skip
"""Fields that mean the same in both dialects, with those that engines know beyond them."""

_STATELESS = text("answers are not kept here, send the whole conversation in 'input'")
_REFUSED = {
    "previous_response_id": _STATELESS,
    "conversation": _STATELESS,
    "background": text("an answer has to be waited for here"),
    "prompt": text("no prompts are kept here, send the words themselves"),
    "moderation": text("nothing is moderated here"),
}
_LOGPROBS, _SEALED = "message.output_text.logprobs", "reasoning.encrypted_content"
_FORMATS = ("text", "json_object", "json_schema")


@dataclass(frozen=True, slots=True)
class AskedResponse:
    """A request for a response, translated. `echo` is what the response says of its request.

    `summarises` is whether the client wants to see reasoning as a summary, `seals` whether it asked for what it is to
    send back of reasoning where nothing is kept.
    """

    chat: ChatRequest
    echo: dict[str, Any] = field(default_factory=dict)
    summarises: bool = False
    seals: bool = False

    def rendering(self, frame: Frame) -> ResponseRendering:
        """What renders the answer to this request."""
        return ResponseRendering(frame, self.echo, summarises=self.summarises, seals=self.seals)


def parse_request(body: bytes) -> AskedResponse:
    """Translate the body of a request for a response.

    Raises:
        RequestError: it is no such request, or asks for something that chat completions cannot do; names the field.
    """
    request = openai_chat.parse_request(body)
    # Said first, as the other dialects do.
    _ = request.model
    refuse_present(request, _REFUSED)
    limit = a_limit(request, "max_output_tokens")
    changes: dict[str, Any] = {
        "messages": _messages(request),
        "max_tokens": limit,
        **_reasoning(request),
        **_text(request),
        **_tools(request),
        **_probabilities(request),
    }
    if wants_stream(request):
        changes |= {"stream": True, "stream_options": {"include_usage": True}}
    echo = _echo(request)
    return AskedResponse(
        kept(request, _SAME).changed(changes), echo, summarises=echo["reasoning"]["summary"] is not None,
        seals=_SEALED in _included(request),
    )  # fmt: skip


def _included(request: ChatRequest) -> list[Any]:
    found = request.value("include")
    return found if isinstance(found, list) else []


def _echo(request: ChatRequest) -> dict[str, Any]:
    reasoning = request.value("reasoning")
    reasoning = reasoning if isinstance(reasoning, dict) else {}
    parallel = request.value("parallel_tool_calls")
    return {
        "background": False,
        "instructions": request.value("instructions"),
        "max_output_tokens": request.value("max_output_tokens"),
        # Of OpenAI's own tools, of which there are none here.
        "max_tool_calls": request.value("max_tool_calls"),
        "metadata": request.value("metadata") or {},
        "parallel_tool_calls": True if parallel is None else parallel,
        "previous_response_id": None,
        "reasoning": {"effort": reasoning.get("effort"), "summary": _summary(reasoning)},
        "store": False,
        "temperature": request.value("temperature"),
        "text": request.value("text") or {"format": {"type": "text"}},
        "tool_choice": request.value("tool_choice") or "auto",
        "tools": request.value("tools") or [],
        "top_logprobs": request.value("top_logprobs") or 0,
        "top_p": request.value("top_p"),
        "truncation": "disabled",
        "user": request.value("user"),
    }


def _summary(reasoning: Mapping[str, Any]) -> str | None:
    # The second is its older name.
    found = reasoning.get("summary") or reasoning.get("generate_summary")
    return found if isinstance(found, str) else None


# --- the conversation ------------------------------------------------------------------------------------------------


def _messages(request: ChatRequest) -> list[Message]:
    conversation = _Conversation()
    instructions = request.value("instructions")
    if instructions is not None:
        # A list of items is what an answer may show; a request has text.
        conversation.add_system(a_string(instructions, "instructions"))
    found = request.value("input")
    if isinstance(found, str):
        conversation.messages.append({"role": "user", "content": found})
        return joined(conversation.messages)
    if not isinstance(found, list) or not found:
        raise RequestError(text("The field 'input' must be text or a list with at least one item."), param="input")
    for index, one in enumerate(found):
        path = f"input[{index}]"
        conversation.add(an_object(one, path), path)
    return joined(conversation.messages)


class _Conversation:
    """Messages, item by item. What a model said in one turn (reasoning, text, calls) becomes one message."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._turn: Message | None = None

    def add(self, item: Mapping[str, Any], path: str) -> None:
        """Add one item of the input.

        Raises:
            RequestError: it cannot be said in a chat completion request.
        """
        kind = item.get("type") or "message"
        if kind == "reasoning":
            self._add_reasoning(item)
        elif kind == "function_call":
            identifier = a_string(item.get("call_id"), f"{path}.call_id", empty=False)
            name = a_string(item.get("name"), f"{path}.name")
            arguments = a_string(item.get("arguments"), f"{path}.arguments")
            self._model().setdefault("tool_calls", []).append(call(identifier, name, arguments))
        elif kind == "function_call_output":
            self._add_output(item, path)
        elif kind == "message":
            self._add_message(item, path)
        elif kind == "item_reference":
            raise wrong(path, _STATELESS)
        else:
            raise untranslatable(f"{path}.type", kind)

    def add_system(self, words: str) -> None:
        """Add to what is said at the head; one message, because many templates take no second one."""
        self._turn = None
        last = self.messages[-1] if self.messages else None
        if last is not None and last["role"] == "system":
            last["content"].append(words)
        elif words:
            self.messages.append({"role": "system", "content": [words]})

    def _model(self) -> Message:
        if self._turn is None:
            self._turn = {"role": "assistant", "content": []}
            self.messages.append(self._turn)
        return self._turn

    def _add_message(self, item: Mapping[str, Any], path: str) -> None:
        role, content, where = item.get("role"), item.get("content"), f"{path}.content"
        if not isinstance(content, (str, list)):
            raise wrong(where, text("it is neither text nor a list of parts"))
        if role == "assistant":
            words = content if isinstance(content, str) else _said(content, where)
            if self._turn is not None and self._turn["content"] and not item.get("id"):
                # Not from one answer of ours, whose texts carry ids.
                self._turn = None
            self._model()["content"].append(words)
        elif role in ("system", "developer"):
            self.add_system(content if isinstance(content, str) else _texts(content, where))
        elif role == "user":
            self._turn = None
            parts = content if isinstance(content, str) else _parts(content, where)
            self.messages.append({"role": "user", "content": parts})
        else:
            raise wrong(f"{path}.role", text("it is one of: {known}", known="user, assistant, system, developer"))

    def _add_reasoning(self, item: Mapping[str, Any]) -> None:
        identifier = item.get("id")
        if isinstance(identifier, str) and identifier.startswith(PROGRESS):
            return
        message = self._model()
        for name in ("content", "summary"):
            listed = item.get(name)
            words = [one["text"] for one in listed if _has_text(one)] if isinstance(listed, list) else []
            if words:
                message.setdefault("reasoning_content", []).append("\n".join(words))
                return

    def _add_output(self, item: Mapping[str, Any], path: str) -> None:
        self._turn = None
        identifier = a_string(item.get("call_id"), f"{path}.call_id", empty=False)
        found, where = item.get("output"), f"{path}.output"
        content = found if isinstance(found, str) else content_of(_parts(a_list(found, where), where))
        self.messages.append({"role": "tool", "tool_call_id": identifier, "content": content})


def _has_text(found: Any) -> bool:
    return isinstance(found, dict) and isinstance(found.get("text"), str)


def _parts(listed: list[Any], path: str) -> list[dict[str, Any]]:
    return [_part(an_object(one, f"{path}[{i}]"), f"{path}[{i}]") for i, one in enumerate(listed)]


def _part(part: Mapping[str, Any], path: str) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        return text_part(a_string(part.get("text"), f"{path}.text"))
    if kind == "input_image":
        if part.get("image_url") is None:
            raise wrong(path, text("it needs 'image_url', files are not kept here"))
        return image_part(a_string(part["image_url"], f"{path}.image_url", empty=False), part.get("detail"))
    raise untranslatable(f"{path}.type", kind)


def _texts(listed: list[Any], path: str) -> str:
    found = _parts(listed, path)
    for index, one in enumerate(found):
        if one["type"] != "text":
            raise wrong(f"{path}[{index}]", text("it must be text"))
    return "\n\n".join(one["text"] for one in found if one["text"])


def _said(listed: list[Any], path: str) -> str:
    """The text of the model's own message: its parts are one text, cut by nothing but the wire."""
    found = []
    for index, one in enumerate(listed):
        where = f"{path}[{index}]"
        part = an_object(one, where)
        kind = part.get("type")
        if kind == "refusal":
            found.append(a_string(part.get("refusal"), f"{where}.refusal"))
        elif kind in ("output_text", "input_text", "text"):
            found.append(a_string(part.get("text"), f"{where}.text"))
        else:
            raise untranslatable(f"{where}.type", kind)
    return "".join(found)


# --- the other fields ------------------------------------------------------------------------------------------------


def _reasoning(request: ChatRequest) -> dict[str, Any]:
    found = request.value("reasoning")
    if found is None:
        return {}
    effort = an_object(found, "reasoning").get("effort")
    if effort is None:
        return {}
    wanted = a_string(effort, "reasoning.effort", empty=False)
    return without_thinking(request) if wanted == "none" else {"reasoning_effort": EFFORTS.get(wanted, wanted)}


def _probabilities(request: ChatRequest) -> dict[str, Any]:
    alternatives = request.value("top_logprobs")
    if alternatives is not None and (isinstance(alternatives, bool) or not isinstance(alternatives, int)):
        raise wrong("top_logprobs", text("it must be a whole number"))
    if not alternatives and _LOGPROBS not in _included(request):
        return {}
    return {"logprobs": True, "top_logprobs": alternatives or 0}


def _text(request: ChatRequest) -> dict[str, Any]:
    found = request.value("text")
    if found is None:
        return {}
    config = an_object(found, "text")
    changes: dict[str, Any] = {"verbosity": config.get("verbosity")}
    if config.get("format") is None:
        return changes
    path = "text.format"
    wanted = an_object(config["format"], path)
    kind = wanted.get("type")
    if kind not in _FORMATS:
        raise untranslatable(f"{path}.type", kind)
    if kind == "json_object":
        changes["response_format"] = {"type": "json_object"}
    elif kind == "json_schema":
        name = a_string(wanted.get("name", "answer"), f"{path}.name", empty=False)
        schema = an_object(wanted.get("schema"), f"{path}.schema")
        changes["response_format"] = json_schema(name, schema, strict=wanted.get("strict"))
    return changes


def _tools(request: ChatRequest) -> dict[str, Any]:
    found = request.value("tools")
    tools = [] if found is None else [_tool(one, f"tools[{i}]") for i, one in enumerate(a_list(found, "tools"))]
    choice = request.value("tool_choice")
    if isinstance(choice, dict):
        tools, choice = _chosen(tools, choice)
    if choice not in (None, "auto", "none", "required"):
        raise untranslatable("tool_choice", choice)
    if choice == "required" and not tools:
        raise wrong("tool_choice", text("there are no tools in the request"))
    if not tools:
        return {}
    # OpenAI itself refuses the last one where there are no tools.
    return {"tools": tools, "tool_choice": choice, "parallel_tool_calls": request.value("parallel_tool_calls")}


def _chosen(tools: list[dict[str, Any]], choice: Mapping[str, Any]) -> tuple[list[dict[str, Any]], Any]:
    kind = choice.get("type")
    if kind == "function":
        name = a_string(choice.get("name"), "tool_choice.name", empty=False)
        return only_tools(tools, [name], "tool_choice.name"), "required"
    if kind != "allowed_tools":
        raise untranslatable("tool_choice.type", kind)
    names = []
    for index, one in enumerate(a_list(choice.get("tools"), "tool_choice.tools")):
        path = f"tool_choice.tools[{index}]"
        names.append(a_string(an_object(one, path).get("name"), f"{path}.name", empty=False))
    return only_tools(tools, names, "tool_choice.tools"), choice.get("mode", "auto")


def _tool(found: Any, path: str) -> dict[str, Any]:
    tool = an_object(found, path)
    if tool.get("type") != "function":
        raise untranslatable(f"{path}.type", tool.get("type"))
    name = a_string(tool.get("name"), f"{path}.name", empty=False)
    given, described = tool.get("parameters"), tool.get("description")
    parameters = None if given is None else an_object(given, f"{path}.parameters")
    description = None if described is None else a_string(described, f"{path}.description")
    return function_tool(name, parameters, description, strict=tool.get("strict"))
