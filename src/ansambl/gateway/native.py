"""Messages and responses that an engine understands itself: passed on untouched where that loses less."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

from ansambl.dialects import openai_chat
from ansambl.dialects.openai_chat import ChatRequest
from ansambl.dialects.openai_chat.reading import decode_object
from ansambl.dialects.translation import sse
from ansambl.domain.errors import AnsamblError
from ansambl.domain.role import ModelName
from ansambl.domain.scheduling import LOCAL_KEY, RequestClass, Standing
from ansambl.domain.serving import Operation, Serving
from ansambl.gateway.dialect_routes import error_object_of
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.handing_on import Outgoing, hand_on
from ansambl.gateway.keep_alive import kept_alive
from ansambl.gateway.standing import standing_of, task_of
from ansambl.roles.options import FIELD, take_options
from ansambl.roles.records import ModelTarget
from ansambl.roles.resolver import Resolver
from ansambl.runtime.abilities import serving
from ansambl.runtime.coordinator import Coordinator

MESSAGES, RESPONSES = "anthropic_messages", "openai_responses"
_DIALECTS = {"/v1/messages": MESSAGES, "/v1/responses": RESPONSES}
_COUNT_PATH = "/v1/messages/count_tokens"
_PATHS = {MESSAGES: "/messages", RESPONSES: "/responses"}
_ENDS = {
    MESSAGES: re.compile(rb"event: (?:message_stop|error)\b"),
    RESPONSES: re.compile(rb"event: (?:response\.(?:completed|incomplete|failed|cancelled)|error)\b"),
}
"""What every whole stream ends with."""

_LIMITS = {MESSAGES: "max_tokens", RESPONSES: "max_output_tokens"}
_SAMPLING = {MESSAGES: frozenset({"temperature", "top_p", "top_k"}), RESPONSES: frozenset({"temperature", "top_p"})}
"""What of a model's own sampling can be said in a dialect."""

_TRANSLATED_BETTER = {
    # vLLM 0.32.0 refuses a message with one of these blocks, which a translation turns into text. Of a thread it knows
    # nothing, so that one which goes on would be answered without what came before; a translation says so.
    MESSAGES: (b'"document"', b'"search_result"', b'"thread"'),
    RESPONSES: (),
}


def passes_natively(
    dialect: str, serving: Serving, standing: Standing, model: ModelName, *, lora: bool, body: bytes
) -> bool:  # fmt: skip
    """Whether a request to a plain model goes to its engine untouched.

    So it does where its engine speaks the dialect and loses less of it than a translation does. It is translated where
    something must be said to the engine that it hears only in a chat completion: a LoRA adapter, whose request it is,
    sampling of the owner's. A by-product of a chat may be answered by another model, so it is translated, too.
    """
    return (
        dialect in serving.native
        and not lora
        and standing.request_class is not RequestClass.TASK
        and (standing.key == LOCAL_KEY or dialect in serving.salted)
        and model.sampling.keys() <= _SAMPLING[dialect]
        and not any(words in body for words in _TRANSLATED_BETTER[dialect])
    )


class NativePassing:
    """Hands messages and responses on untouched, where `passes_natively` says so."""

    def __init__(self, resolver: Resolver, coordinator: Coordinator) -> None:
        self._resolver = resolver
        self._coordinator = coordinator

    async def passed(self, exchange: Exchange, body: bytes) -> bool:
        """Answer a request; False where nothing was done, and it is to be translated (or refused) by others.

        It is asked before anything is translated: what a translation would have to refuse its engine may know.

        Raises:
            AnsamblError: nothing was sent yet and it cannot be answered; or the stream broke.
        """
        path = exchange.scope["path"]
        dialect = _DIALECTS.get(path)
        if dialect is None:
            return False
        request, options = take_options(openai_chat.parse_request(body))
        try:
            target = self._resolver.resolve(request.model)
            known = await serving(self._coordinator, target.model.name) if isinstance(target, ModelTarget) else None
        except AnsamblError:
            # Said by those who answer it.
            return False
        if known is None or not isinstance(target, ModelTarget):
            return False
        caller = exchange.visit.caller
        task = task_of(exchange.scope, request, recognises=False)
        standing = standing_of(exchange.scope, body, options, caller, task)
        lora = target.lora is not None
        if not passes_natively(dialect, known, standing, target.model, lora=lora, body=body):
            return False
        caller.require_name(target.name)
        exchange.name, exchange.request_class = target.name, standing.request_class.value
        exchange.error_events = partial(_error_event, error_object_of(path))
        request = _with_defaults(request, dialect, target.model)
        outgoing = Outgoing(
            model=target.model.name, path=_PATHS[dialect], standing=standing, ends=_ENDS[dialect],
            # vLLM names the types of its errors after its own classes, and says otherwise than Anthropic that a prompt
            # is over the context.
            body=lambda name: request.changed({"model": name}).encode(), raises_refusals=True,
        )  # fmt: skip
        async with kept_alive(exchange) if request.stream else nullcontext():
            await hand_on(exchange, self._coordinator, outgoing)
        return True


async def counted_natively(
    coordinator: Coordinator, model: str, path: str, body: bytes, standing: Standing
) -> int | None:  # fmt: skip
    """The tokens of a message, asked for under `path`, as the engine of a plain model counts them itself.

    None where it does not, and for requests of other dialects: engines count none of those.

    Raises:
        UnavailableError: the engine cannot be made ready.
    """
    if path != _COUNT_PATH or not (await serving(coordinator, model)).may(Operation.COUNTING):
        return None
    request = openai_chat.parse_request(body).changed({FIELD: None})
    async with coordinator.visit(model, standing=standing) as lease:
        content = request.changed({"model": lease.endpoint.name or lease.model}).encode()
        async with coordinator.open(lease, "/messages/count_tokens", content) as answer:
            found = decode_object(await answer.body()) if answer.status == 200 else None
    tokens = (found or {}).get("input_tokens")
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) else None


def _with_defaults(request: ChatRequest, dialect: str, model: ModelName) -> ChatRequest:
    """The request with the model's own limit and sampling where it says none."""
    wanted = {**model.sampling, _LIMITS[dialect]: model.output_limit}
    missing = {name: value for name, value in wanted.items() if value is not None and request.value(name) is None}
    return request.changed(missing) if missing else request


def _error_event(shape: Any, error: AnsamblError, sentence: str) -> bytes:
    found: Mapping[str, Any] = shape(error, sentence)
    # The official client of responses reads the words beside the type, that of messages those inside.
    return sse("error", {**found["error"], **found, "type": "error"})
