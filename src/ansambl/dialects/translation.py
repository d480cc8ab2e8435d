"""What the dialects that are translated to chat completions and back have in common. Pure.

A request becomes a chat completion request (`Asked.chat`), so that roles, ensembles and engines know one shape only. An
answer comes back as deltas of a chat completion; a `Rendering` turns them into events or into one object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from ansambl.dialects.citing import Cited
from ansambl.dialects.openai_chat import Answer, ChatRequest, Delta, Message
from ansambl.domain.errors import AnsamblError, RequestError
from ansambl.domain.text import Text, text

EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
"""How much a model may think: the steps of these dialects, and the three that models know that are given away."""

_encode = msgspec.json.Encoder().encode
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Frame:
    """What an answer says of itself.

    `identifier` is a string of letters and digits that no other answer has; each dialect puts its own prefix in front.
    `created` is in seconds since the epoch, `model` the name that was asked for.
    """

    identifier: str
    created: int
    model: str


class Rendering(Protocol):
    """One answer, as it grows. For a stream: `start`, `feed` and `progress` as it comes, and `finish` or `broken`.

    For a whole answer: `feed` and `progress`, then `whole`; what they return is not needed then. `additions` are fields
    of our own in the answer.
    """

    @property
    def answer(self) -> Answer:
        """What was shown so far, as the client will send it back."""
        ...

    def start(self) -> bytes:
        """The events before the first word."""
        ...

    def feed(self, delta: Delta) -> bytes:
        """The events for what was added (perhaps none).

        Raises:
            EngineError: the delta belongs to a part of the answer that has ended already.
        """
        ...

    def progress(self, words: str) -> bytes:
        """The events for what Ansambl shows of its own work, or of an ensemble's.

        It is shown as reasoning, and marked, so that it does not come back as the model's own.
        """
        ...

    def cite(self, cited: Sequence[Cited]) -> bytes:
        """The events for what the answer cites; after the last word, before `finish` or `whole`."""
        ...

    def finish(self, additions: Mapping[str, Any] | None = None) -> bytes:
        """The events after the last word."""
        ...

    def broken(self, error: AnsamblError, sentence: str) -> bytes:
        """The last events of a stream that cannot go on; `sentence` is the error in the reader's language."""
        ...

    def whole(self, additions: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The whole answer."""
        ...


class Asked(Protocol):
    """A request of another dialect, translated."""

    @property
    def chat(self) -> ChatRequest:
        """The chat completion request that means the same."""
        ...

    def rendering(self, frame: Frame) -> Rendering:
        """What renders the answer to this request."""
        ...


def sse(kind: str, payload: Mapping[str, Any]) -> bytes:
    """One server-sent event with a name; the name stands in the payload too, as both dialects want it."""
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **payload}))


def wrong(path: str, what: Text) -> RequestError:
    """The error for a field whose value cannot be used."""
    return RequestError(text("The field '{name}' cannot be used: {what}.", name=path, what=what), param=path)


def wants_stream(request: ChatRequest) -> bool:
    """Whether a stream is asked for. No engine reads this field of a translated request, so it is judged here.

    Raises:
        RequestError: it says something else than yes or no.
    """
    found = request.value("stream")
    if found is not None and not isinstance(found, bool):
        raise wrong("stream", text("it is true or false"))
    return found is True


def untranslatable(path: str, kind: object) -> RequestError:
    """The error for a part of a request of a kind that no engine here understands."""
    shown = kind if isinstance(kind, str) else "?"
    return wrong(path, text("'{kind}' is not possible here", kind=shown[:_SHOWN]))


def an_object(found: Any, path: str) -> dict[str, Any]:
    """`found`, which has to be an object.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(found, dict):
        raise wrong(path, text("it must be an object"))
    return found


def a_list(found: Any, path: str) -> list[Any]:
    """`found`, which has to be a list.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(found, list):
        raise wrong(path, text("it must be a list"))
    return found


def a_string(found: Any, path: str, *, empty: bool = True) -> str:
    """`found`, which has to be a string; one with something in it where `empty` is false.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(found, str) or not (found or empty):
        raise wrong(path, text("it must be text"))
    return found


def a_limit(request: ChatRequest, name: str) -> int | None:
    """The limit of an answer in tokens under `name`; None when it is absent.

    Raises:
        RequestError: it is not a whole number from 0 on.
    """
    found = request.value(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise wrong(name, text("it must be a whole number of tokens"))
    return found


def refuse_present(request: ChatRequest, reasons: Mapping[str, Text]) -> None:
    """Refuse a request that has one of some fields, and a value in it that asks for something.

    Raises:
        RequestError: names the first such field and says its reason.
    """
    for name, reason in reasons.items():
        if name in request.fields and request.value(name) not in (None, False, [], {}):
            raise wrong(name, reason)


def kept(request: ChatRequest, names: Sequence[str]) -> ChatRequest:
    """A request with nothing but the fields `names` of `request`, bytes untouched."""
    return ChatRequest(
        {name: request.fields[name] for name in names if name in request.fields}, request.lora, request.standing
    )


def without_thinking(request: ChatRequest) -> dict[str, Any]:
    """The change that switches thinking off, which is done in the chat template."""
    given = request.value("chat_template_kwargs")
    return {"chat_template_kwargs": {**(given if isinstance(given, dict) else {}), "enable_thinking": False}}


def content_of(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Parts of a message as its content: the plain string where one text is all there is."""
    if not parts:
        return ""
    if len(parts) == 1 and parts[0]["type"] == "text":
        alone: str = parts[0]["text"]
        return alone
    return parts


def parts_of(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The content of a message as parts."""
    if isinstance(content, list):
        return content
    return [{"type": "text", "text": content}] if content else []


def text_part(words: str) -> dict[str, Any]:
    """A part that holds text."""
    return {"type": "text", "text": words}


def image_part(url: str, detail: Any = None) -> dict[str, Any]:
    """A part that holds an image, by its address or as a ``data:`` URL."""
    image = {"url": url} if detail is None else {"url": url, "detail": detail}
    return {"type": "image_url", "image_url": image}


def joined(messages: list[Message]) -> list[Message]:
    """The messages whose content was gathered piece by piece, which costs each piece once, with the pieces joined.

    The pieces are texts in messages of the system and the assistant, and parts in those of the user.
    """
    for message in messages:
        pieces = message["content"]
        if not isinstance(pieces, list):
            continue
        if message["role"] == "assistant":
            message["content"] = "".join(pieces)
        elif message["role"] == "system":
            message["content"] = "\n\n".join(one for one in pieces if one)
        else:
            message["content"] = content_of(pieces)
        if "reasoning_content" in message:
            message["reasoning_content"] = "".join(message["reasoning_content"])
    return messages


def call(identifier: str, name: str, arguments: str) -> dict[str, Any]:
    """A tool call in a message of the assistant."""
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def function_tool(
    name: str, parameters: Mapping[str, Any] | None, description: str | None, *, strict: Any
) -> dict[str, Any]:
    """A tool that is a function of the client's."""
    function: dict[str, Any] = {"name": name}
    if description is not None:
        function["description"] = description
    if parameters is not None:
        function["parameters"] = parameters
    if isinstance(strict, bool):
        function["strict"] = strict
    return {"type": "function", "function": function}


def only_tools(tools: Sequence[dict[str, Any]], names: Sequence[str], path: str) -> list[dict[str, Any]]:
    """The tools among `tools` that have these names.

    Offering a chosen tool alone and asking for a call means the same on every engine; llama.cpp takes no name in
    ``tool_choice``.

    Raises:
        RequestError: a name is not among them.
    """
    known = {one["function"]["name"]: one for one in tools}
    for name in names:
        if name not in known:
            raise wrong(path, text("there is no tool '{name}' in the request", name=name[:_SHOWN]))
    wanted = set(names)
    return [one for one in tools if one["function"]["name"] in wanted]


def json_schema(name: str, schema: Mapping[str, Any], *, strict: Any = None) -> dict[str, Any]:
    """The response format of an answer that has to follow a schema."""
    found: dict[str, Any] = {"name": name, "schema": schema}
    if isinstance(strict, bool):
        found["strict"] = strict
    return {"type": "json_schema", "json_schema": found}
