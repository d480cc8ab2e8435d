"""Requests for chat completions, decoded one level deep.

What nobody here needs stays the bytes that the client sent, so unknown fields survive and a long conversation is not
built as objects unless a role has to place its note.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from ansambl.dialects.openai_chat.reading import UNREADABLE
from ansambl.domain.errors import RequestError
from ansambl.domain.scheduling import ORDINARY, Standing
from ansambl.domain.text import text

Message = dict[str, Any]
"""One message as the client wrote it."""

LIMIT_FIELDS = ("max_tokens", "max_completion_tokens")
"""The request fields that limit an answer, in tokens: the older spelling and the newer one."""

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_OF_TOOLS = ("tool_choice", "parallel_tool_calls")
_SHOWN = 60
_LONGEST_EMPTY = 16
"""Bytes of a list that is looked into whether it is empty."""

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class ChatRequest:
    """A chat completion request, decoded one level deep. `fields` maps each field to its undecoded bytes.

    `lora` is the LoRA adapter that its answer is made with, None for none; it stands in no field, because engines are
    told it each in their own way. `standing` is its class and whose it is.
    """

    fields: dict[str, msgspec.Raw]
    lora: str | None = None
    standing: Standing = ORDINARY

    @property
    def model(self) -> str:
        """The requested name.

        Raises:
            RequestError: it is missing or not text.
        """
        name = self.value("model")
        if name is not None and not isinstance(name, str):
            raise RequestError(text("The field 'model' must be text; GET /v1/models lists the names."), param="model")
        if not name:
            raise RequestError(
                text("The field 'model' is missing; GET /v1/models lists the names."),
                param="model",
                code="missing_model",
            )
        return name

    @property
    def stream(self) -> bool:
        """Whether the client asked for a stream."""
        return self.value("stream") is True

    @property
    def includes_usage(self) -> bool:
        """Whether the client asked for the usage at the end of the stream."""
        options = self.value("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def value(self, name: str) -> Any:
        """Decode one field; None when it is absent.

        Raises:
            RequestError: its bytes are no value (fields are decoded only when they are asked for).
        """
        raw = self.fields.get(name)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw)
        except UNREADABLE as error:
            raise RequestError(
                text("The field '{name}' cannot be read: {reason}.", name=name, reason=_reason(error)),
                param=name,
                code="invalid_json",
            ) from error

    def messages(self) -> list[Message]:
        """Decode the messages.

        Raises:
            RequestError: they are not a list of objects with a role each, or there is none.
        """
        found = self.value("messages")
        if not isinstance(found, list) or not found:
            raise RequestError(text("The field 'messages' must be a list with at least one message."), param="messages")
        for index, one in enumerate(found):
            if not isinstance(one, dict) or not isinstance(one.get("role"), str):
                raise RequestError(
                    text("Message {number} is not an object with a 'role'.", number=index + 1),
                    param=f"messages[{index}]",
                )
            content = one.get("content")
            if content is not None and not isinstance(content, (str, list)):
                raise RequestError(
                    text("The content of message {number} is neither text nor a list of parts.", number=index + 1),
                    param=f"messages[{index}].content",
                )
        return found

    def changed(self, changes: Mapping[str, Any]) -> ChatRequest:
        """A copy with some fields replaced; a change to None removes the field."""
        fields = dict(self.fields)
        for name, value in changes.items():
            if value is None:
                fields.pop(name, None)
            else:
                fields[name] = msgspec.Raw(_encoder.encode(value))
        return ChatRequest(fields, self.lora, self.standing)

    def encode(self) -> bytes:
        """The request as a body; untouched fields keep the client's bytes."""
        return _encoder.encode(self.fields)


def parse_request(body: bytes) -> ChatRequest:
    """Read a request's body.

    Raises:
        RequestError: it is not JSON, or not an object.
    """
    try:
        return ChatRequest(_decode_fields(body))
    except UNREADABLE as error:
        raise RequestError(
            text("The body is not a JSON object: {reason}.", reason=_reason(error)), code="invalid_json"
        ) from error


def parse_chat(body: bytes) -> ChatRequest:
    """Read the body of a chat completion request.

    An empty list of tools is left out, and so is what is said of tools where there are none: clients send both, and
    engines refuse them (Open WebUI's issue 26655: vLLM).

    Raises:
        RequestError: it is not JSON, or not an object.
    """
    request = parse_request(body)
    fields = request.fields
    tools = fields.get("tools")
    if tools is not None and len(tools) <= _LONGEST_EMPTY and not request.value("tools"):
        del fields["tools"]
    if "tools" not in fields:
        for name in _OF_TOOLS:
            fields.pop(name, None)
    return request


def with_chosen_tools_alone(request: ChatRequest) -> ChatRequest:
    """A request that names the tools to call, as one that has no others; any other request as it is.

    Offering a tool alone and asking for a call means the same, also to engines that take no name.

    Raises:
        RequestError: a name is not among the tools.
    """
    raw = request.fields.get("tool_choice")
    if raw is None or not bytes(raw).startswith(b"{"):
        return request
    choice, tools = request.value("tool_choice"), request.value("tools")
    allowed = choice.get("allowed_tools")
    wanted: Any = [choice]
    mode: Any = "required"
    if choice.get("type") == "allowed_tools" and isinstance(allowed, dict):
        wanted, mode = allowed.get("tools"), allowed.get("mode", "auto")
    elif choice.get("type") != "function":
        return request
    names = [_tool_name(one) for one in wanted] if isinstance(wanted, list) else []
    known = {_tool_name(one): one for one in tools} if isinstance(tools, list) else {}
    for name in names:
        if name is None or name not in known:
            shown = (name or "?")[:_SHOWN]
            raise RequestError(
                text("The field 'tool_choice' names the tool '{name}', which is not in the request.", name=shown),
                param="tool_choice",
            )
    return request.changed({"tools": [known[name] for name in dict.fromkeys(names)], "tool_choice": mode})


def _tool_name(found: Any) -> str | None:
    function = found.get("function") if isinstance(found, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")
