"""One streamed call to an engine, as the deltas of its answer: what ensembles are made of."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, aclosing

from ansambl.dialects import openai_chat
from ansambl.dialects.openai_chat import ChatRequest, Delta
from ansambl.domain.errors import EngineError
from ansambl.domain.text import text
from ansambl.runtime.carrying import Lease
from ansambl.runtime.cloning import tokens_of
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.upstream import BROKE_OFF, ConnectionLostError, UpstreamAnswer

_PATH = "/chat/completions"
_PROMPT_FIELDS = ("tools", "chat_template_kwargs", "reasoning_effort", "response_format", "messages")


def open_chat(
    coordinator: Coordinator, lease: Lease, request: ChatRequest
) -> AbstractAsyncContextManager[UpstreamAnswer]:
    """Send a chat request to the leased instance, under the name that its model has there; enter it to send.

    It is answered with the LoRA adapter of the lease. A task may be leased another model than it asks for.
    """
    name = lease.endpoint.name or lease.model
    if name != request.model:
        request = request.changed({"model": name})
    return coordinator.open(lease, _PATH, request.encode())


def hint_of(request: ChatRequest) -> bytes:
    """What the engine will read of a request, in that order, to find the slot that holds most of it.

    Two requests begin alike as far as their hints do.
    """
    return b"".join([bytes(request.fields[name]) for name in _PROMPT_FIELDS if name in request.fields])


async def count_prompt(coordinator: Coordinator, model: str, request: ChatRequest) -> int | None:
    """The tokens of the prompt that `request` becomes in the engine of `model`; None where nobody can tell.

    It needs no place of its own, only the model in memory: the engine writes the prompt and counts, and prefills
    nothing.

    Raises:
        EngineError: the engine refuses the request.
        UnavailableError: the engine cannot be made ready.
    """
    if has_media(request):
        return None
    async with coordinator.visit(model, standing=request.standing) as lease:
        if lease.calls is None:
            return None
        return len(await tokens_of(coordinator, lease, request.fields))


def has_media(request: ChatRequest) -> bool:
    """Whether a message holds anything but text: an image, sound, or a part that nobody knows.

    Raises:
        RequestError: the messages are not messages.
    """
    contents = (one.get("content") for one in request.messages())
    parts = (part for content in contents if isinstance(content, list) for part in content)
    return any(not isinstance(one, dict) or not isinstance(one.get("text"), str) for one in parts)


async def ask_engine(coordinator: Coordinator, model: str, request: ChatRequest) -> AsyncGenerator[Delta, None]:
    """Ask the instance of `model` and yield what each event of its answer adds. Closing it cancels the engine's work.

    Raises:
        EngineError: the engine refused, failed, or broke off.
        UnavailableError: there is no place, or the engine cannot be made ready.
    """
    async with (
        coordinator.lease(model, hint_of(request), lora=request.lora, standing=request.standing) as lease,
        aclosing(ask_leased(coordinator, lease, request)) as deltas,
    ):
        async for delta in deltas:
            yield delta


async def ask_leased(coordinator: Coordinator, lease: Lease, request: ChatRequest) -> AsyncGenerator[Delta, None]:
    """As `ask_engine`, in a place that is held already.

    Raises:
        EngineError: the engine refused, failed, or broke off.
        UnavailableError: the engine cannot be made ready again.
    """
    async with open_chat(coordinator, lease, request) as answer:
        if answer.status >= 400:
            raise refusal_of(answer, await answer.body())
        if not answer.streams:
            whole = _whole(await answer.body())
            _note_cached(lease, whole)
            yield whole
            return
        rest, tail, finished = b"", b"", False
        while (chunk := await answer.chunk()) is not None:
            tail = (tail + chunk)[-openai_chat.END_MARK :]
            *lines, rest = (rest + chunk).split(b"\n")
            for data in openai_chat.stream_data(lines):
                delta = openai_chat.read_event(data)
                if delta is None:
                    continue
                if delta.error is not None:
                    raise EngineError(text("The engine broke off: {reason}", reason=_reason(delta.error)))
                finished = finished or delta.finish_reason is not None
                _note_cached(lease, delta)
                yield delta
        if not finished and not openai_chat.stream_ended(tail):
            raise ConnectionLostError(BROKE_OFF, answered=True)


def _note_cached(lease: Lease, delta: Delta) -> None:
    if delta.usage is not None:
        lease.cached = delta.usage.cached_tokens


def _whole(body: bytes) -> Delta:
    answer = openai_chat.read_answer(body)
    if answer.error is not None:
        raise EngineError(text("The engine broke off: {reason}", reason=_reason(answer.error)))
    return Delta(
        content=answer.content, reasoning=answer.reasoning, tool_calls=tuple(answer.tool_calls),
        finish_reason=answer.finish_reason, usage=answer.usage, stopped_by=answer.stopped_by, seconds=answer.seconds,
        logprobs=answer.logprobs,
    )  # fmt: skip


def refusal_of(answer: UpstreamAnswer, body: bytes) -> EngineError:
    """The error for what an engine answered, in `body`, instead of an answer."""
    found = openai_chat.engine_error_object(answer.status, body)["error"]
    error = EngineError(text("The engine refused: {reason}", reason=found["message"]), code=found["code"])
    error.status, error.type = openai_chat.engine_status(answer.status, body), found["type"]
    error.retry_after = answer.retry_after
    return error


def _reason(error: dict[str, object]) -> str:
    return str(error.get("message") or error)
