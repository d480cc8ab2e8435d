"""Text completions (``POST /v1/completions``) where a chat answers them: the prompt becomes a user message. Pure.

A plain model's request for a completion goes to its engine as it is. A role or an ensemble is asked as in a chat, so
what a chat cannot do is refused: tokens as a prompt, several prompts or answers, an echo.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansambl.dialects import openai_chat
from ansambl.dialects.citing import Cited
from ansambl.dialects.openai_chat import DONE_EVENT, Answer, ChatRequest, Delta, Envelope, Usage, event
from ansambl.dialects.translation import Frame, refuse_present, wrong
from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import Text, text

_KIND = "text_completion"
_FINISH = {"tool_calls": "stop", "function_call": "stop"}
"""A completion has no tool calls."""

_REFUSED: Mapping[str, Text] = {
    "suffix": text("a role writes no text between two others; ask a model by its own name"),
    "echo": text("a role does not repeat its prompt; ask a model by its own name"),
    "logprobs": text("a role's completion has no probabilities; ask at /v1/chat/completions"),
}
_LEFT_OUT = ("prompt", "suffix", "echo", "logprobs", "best_of", "n")


@dataclass(frozen=True, slots=True)
class AskedCompletion:
    """A request for a completion as a chat. `includes_usage` is whether its stream ends with the usage."""

    chat: ChatRequest
    includes_usage: bool

    def rendering(self, frame: Frame) -> CompletionRendering:
        """What renders the answer to this request."""
        return CompletionRendering(frame, includes_usage=self.includes_usage)


def translate_request(request: ChatRequest) -> AskedCompletion:
    """The chat that means the same as a request for a completion, whose fields are all in `request`.

    Raises:
        RequestError: it asks for what a chat cannot do; names the field.
    """
    refuse_present(request, _REFUSED)
    for name in ("n", "best_of"):
        # A tuple, because what a client wrote may be a list, which no set can be asked for.
        if request.value(name) not in (None, 1):
            raise wrong(name, text("a role gives one answer; ask a model by its own name for several"))
    changes: dict[str, Any] = dict.fromkeys(_LEFT_OUT)
    changes["messages"] = [{"role": "user", "content": prompt_of(request)}]
    if request.stream:
        # Counted whether the client wants to see it or not.
        changes["stream_options"] = {"include_usage": True}
    return AskedCompletion(request.changed(changes), request.includes_usage)


def prompt_of(request: ChatRequest) -> str:
    """The one text that is to be gone on with.

    Raises:
        RequestError: there is none, or another kind of prompt.
    """
    found = request.value("prompt")
    if isinstance(found, list) and len(found) == 1 and isinstance(found[0], str):
        found = found[0]
    if isinstance(found, str) and found:
        return found
    if isinstance(found, list) and len(found) > 1 and all(isinstance(one, str) for one in found):
        raise wrong("prompt", text("a role answers one prompt at a time; send one request for each"))
    if isinstance(found, list) and found:
        raise wrong("prompt", text("a role reads text, no tokens; ask a model by its own name"))
    raise wrong("prompt", text("it must be text"))


class CompletionRendering:
    """One completion, as it grows (`translation.Rendering`). Reasoning and tool calls have no place in it."""

    def __init__(self, frame: Frame, *, includes_usage: bool) -> None:
        self._envelope = Envelope(f"cmpl-{frame.identifier}", frame.created, frame.model)
        self._includes_usage = includes_usage
        self._answer = Answer()
        self._pieces: list[str] = []

    @property
    def answer(self) -> Answer:
        """What was shown so far."""
        self._answer.content = "".join(self._pieces)
        return self._answer

    def start(self) -> bytes:
        """Nothing: a completion begins with its first word."""
        return b""

    def feed(self, delta: Delta) -> bytes:
        """The event for the text that was added."""
        answer = self._answer
        answer.finish_reason = delta.finish_reason or answer.finish_reason
        answer.usage = delta.usage or answer.usage
        if not delta.content:
            return b""
        self._pieces.append(delta.content)
        return event(self._envelope.wrap(_KIND, [_choice(delta.content, None)]))

    def progress(self, words: str) -> bytes:  # noqa: ARG002 - there is no place for it
        """Nothing."""
        return b""

    def cite(self, cited: Sequence[Cited]) -> bytes:  # noqa: ARG002 - there is no place for it
        """Nothing: what is cited stands in our own fields."""
        return b""

    def finish(self, additions: Mapping[str, Any] | None = None) -> bytes:
        """Why it ends, the usage where the client asked for it, and the end mark."""
        last = event({**self._envelope.wrap(_KIND, [_choice("", self._finish)]), **(additions or {})})
        if self._includes_usage:
            usage = (self._answer.usage or Usage()).as_json()
            last += event({**self._envelope.wrap(_KIND, []), "usage": usage})
        return last + DONE_EVENT

    def broken(self, error: AnsamblError, sentence: str) -> bytes:
        """The error as the last event."""
        return event(openai_chat.error_object(error, sentence))

    def whole(self, additions: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The whole completion."""
        usage = (self._answer.usage or Usage()).as_json()
        whole = self._envelope.wrap(_KIND, [_choice("".join(self._pieces), self._finish)])
        return {**whole, "usage": usage, **(additions or {})}

    @property
    def _finish(self) -> str:
        reason = self._answer.finish_reason or "stop"
        return _FINISH.get(reason, reason)


def _choice(words: str, finish_reason: str | None) -> dict[str, Any]:
    return {"text": words, "index": 0, "logprobs": None, "finish_reason": finish_reason}
