"""What engines do beside the chat: completions, vectors, scores, speech, images. Each goes to its engine as it came."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from ansambl.dialects import openai_chat
from ansambl.dialects.multipart import parse_form
from ansambl.dialects.openai_chat import ChatRequest
from ansambl.dialects.openai_completions import translate_request
from ansambl.dialects.openai_embeddings import check_request, wants_base64, with_base64
from ansambl.domain.access import Endpoint
from ansambl.domain.errors import AnsamblError, EngineError, RequestError, UnknownNameError
from ansambl.domain.scheduling import RequestClass, Standing
from ansambl.domain.serving import Operation
from ansambl.domain.text import text
from ansambl.gateway.answering import Answering
from ansambl.gateway.asgi import Receive, Scope, header
from ansambl.gateway.chat import ChatHandler
from ansambl.gateway.exchange import Exchange
from ansambl.gateway.handing_on import Outgoing, hand_on
from ansambl.gateway.keep_alive import kept_alive
from ansambl.gateway.operations import NOT_SERVED, cannot, says_cannot
from ansambl.gateway.route import Route
from ansambl.gateway.standing import standing_of
from ansambl.gateway.translating import broken_before_an_answer
from ansambl.roles.options import take_options
from ansambl.roles.records import NO_OPTIONS, ModelTarget, RequestOptions, Target
from ansambl.roles.resolver import Resolver, RoleTarget
from ansambl.roles.service import RoleService
from ansambl.runtime.abilities import models_that, serving
from ansambl.runtime.coordinator import Coordinator

_COMPLETION_ENDS = re.compile(rb'\[DONE\]|"finish_reason"\s*:\s*"|"error"')
_TRUE = frozenset({"true", "1", "True"})


@dataclass(frozen=True, slots=True)
class Asking:
    """One way to ask an engine for something: where, what a key must allow, and where engines have it.

    `form` is for requests that carry files. `check` refuses what can never be answered.
    """

    path: str
    operation: Operation
    endpoint: Endpoint
    upstream: str
    form: bool = False
    check: Callable[[ChatRequest], None] | None = None
    ends: re.Pattern[bytes] | None = None


_COMPLETIONS = Asking(
    "/v1/completions", Operation.COMPLETIONS, Endpoint.COMPLETIONS, "/completions", ends=_COMPLETION_ENDS
)  # fmt: skip
_RERANK = Asking("/v1/rerank", Operation.RERANK, Endpoint.RERANK, "/rerank")

ASKINGS = (
    _COMPLETIONS,
    Asking("/v1/embeddings", Operation.EMBEDDINGS, Endpoint.EMBEDDINGS, "/embeddings", check=check_request),
    # Clients of Jina and Cohere ask under different versions; engines have the first one.
    _RERANK,
    replace(_RERANK, path="/rerank"),
    replace(_RERANK, path="/v2/rerank"),
    replace(_RERANK, path="/v1/reranking"),
    Asking("/v1/audio/transcriptions", Operation.TRANSCRIPTION, Endpoint.AUDIO, "/audio/transcriptions", form=True),
    Asking("/v1/audio/translations", Operation.TRANSLATION, Endpoint.AUDIO, "/audio/translations", form=True),
    Asking("/v1/audio/speech", Operation.SPEECH, Endpoint.AUDIO, "/audio/speech"),
    Asking("/v1/images/generations", Operation.IMAGES, Endpoint.IMAGES, "/images/generations"),
    Asking("/v1/images/edits", Operation.IMAGE_EDITS, Endpoint.IMAGES, "/images/edits", form=True),
    Asking("/v1/images/variations", Operation.IMAGE_EDITS, Endpoint.IMAGES, "/images/variations", form=True),
    Asking("/v1/moderations", Operation.MODERATION, Endpoint.CHAT, "/moderations"),
)
"""All that is asked beside the chat."""

_UNNAMED = frozenset({Operation.MODERATION, Operation.IMAGES, Operation.IMAGE_EDITS})
"""For what OpenAI's clients need not name a model."""


class EngineRoutes:
    """Answers `ASKINGS`. A plain model's engine gets the request as it is; `chat` completes texts for roles."""

    def __init__(
        self, resolver: Resolver, service: RoleService, coordinator: Coordinator, answering: Answering,
        chat: ChatHandler,
    ) -> None:  # fmt: skip
        self._resolver = resolver
        self._service = service
        self._coordinator = coordinator
        self._answering = answering
        self._chat = chat

    def routes(self) -> dict[str, Route]:
        """The routes by their paths."""
        return {one.path: Route("POST", partial(self._post, one), one.endpoint) for one in ASKINGS}

    async def _post(self, asking: Asking, exchange: Exchange, scope: Scope, receive: Receive) -> None:
        body = await self._answering.read(exchange, scope, receive)
        answer = self._answer_form if asking.form else self._answer_json
        await self._answering.while_client_stays(receive, answer(asking, exchange, body))

    async def _answer_json(self, asking: Asking, exchange: Exchange, body: bytes) -> None:
        request = openai_chat.parse_request(body)
        if not request.value("model"):
            await self._require_some(asking, exchange)
        name = request.model
        if asking.check is not None:
            asking.check(request)
        target = await self._target(asking, exchange, name)
        if asking.operation is Operation.COMPLETIONS and not isinstance(target, ModelTarget):
            asked = translate_request(request)
            exchange.asked = asked
            exchange.error_events = broken_before_an_answer(exchange, asked)
            await self._chat.answer(exchange, asked.chat, body)
            return
        request, options = take_options(request)
        standing = _standing(exchange, body, options)
        hint, lora = b"", target.lora.name if isinstance(target, ModelTarget) and target.lora is not None else None
        if asking.operation is Operation.COMPLETIONS and isinstance(target, ModelTarget):
            # Such as a model has from its owner: its limit and its sampling, where the client says none.
            request = self._service.prepare_plain(request, target.model, target.lora).request
            hint = bytes(request.fields.get("prompt", b""))
        model = await self._model(asking, exchange, target)
        outgoing = Outgoing(
            model=model, path=asking.upstream, body=lambda there: request.changed({"model": there}).encode(),
            standing=standing, hint=hint, lora=lora, ends=asking.ends, meaning=_meaning,
            whole=with_base64 if asking.operation is Operation.EMBEDDINGS and wants_base64(request) else None,
        )  # fmt: skip
        await self._hand_on(asking, exchange, outgoing, stream=request.stream)

    async def _answer_form(self, asking: Asking, exchange: Exchange, body: bytes) -> None:
        content_type = (header(exchange.scope, b"content-type") or b"").decode("latin-1")
        form = parse_form(content_type, body)
        name = form.value("model")
        if not name:
            await self._require_some(asking, exchange)
            raise RequestError(
                text("The field 'model' is missing; GET /v1/models lists the names."), param="model",
                code="missing_model",
            )  # fmt: skip
        target = await self._target(asking, exchange, name)
        standing = _standing(exchange, b"", NO_OPTIONS)
        model = await self._model(asking, exchange, target)
        outgoing = Outgoing(
            model=model, path=asking.upstream, body=lambda there: form.with_value("model", there), standing=standing,
            content_type=content_type, ends=asking.ends, meaning=_meaning,
        )  # fmt: skip
        await self._hand_on(asking, exchange, outgoing, stream=form.value("stream") in _TRUE)

    async def _hand_on(self, asking: Asking, exchange: Exchange, outgoing: Outgoing, *, stream: bool) -> None:
        keeping = kept_alive(exchange) if stream else nullcontext()
        try:
            async with keeping:
                await hand_on(exchange, self._coordinator, outgoing)
        except _NotThereError:
            raise await cannot(
                self._coordinator, exchange.visit.caller, asking.operation, exchange.name
            ) from None  # fmt: skip

    async def _require_some(self, asking: Asking, exchange: Exchange) -> None:
        """Say what would add a model, where clients need not name one and none could answer them.

        Raises:
            NotSupportedError: no model here could do it.
        """
        if asking.operation in _UNNAMED and not await models_that(self._coordinator, asking.operation, perhaps=True):
            raise await cannot(self._coordinator, exchange.visit.caller, asking.operation, None)

    async def _target(self, asking: Asking, exchange: Exchange, name: str) -> Target:
        """What `name` means.

        Raises:
            UnknownNameError: nothing.
            NotSupportedError: nothing, and no model here could do it under any name.
            ForbiddenError: the caller may not use it.
        """
        try:
            target = self._resolver.resolve(name)
        except UnknownNameError:
            if await models_that(self._coordinator, asking.operation, perhaps=True):
                raise
            raise await cannot(self._coordinator, exchange.visit.caller, asking.operation, None) from None
        exchange.name = target.name
        exchange.visit.caller.require_name(target.name)
        return target

    async def _model(self, asking: Asking, exchange: Exchange, target: Target) -> str:
        """The model whose engine is asked: of a role its own.

        Raises:
            NotSupportedError: it cannot do it, as far as is known, so that none has to be loaded to find out.
            AnsamblError: there is no such model, or it cannot be run here.
        """
        if isinstance(target, ModelTarget):
            model = target.model.name
        elif isinstance(target, RoleTarget):
            model = self._service.model_of(target.role).name
        else:
            raise await cannot(self._coordinator, exchange.visit.caller, asking.operation, target.name)
        if not (await serving(self._coordinator, model)).may(asking.operation):
            raise await cannot(self._coordinator, exchange.visit.caller, asking.operation, target.name)
        return model


class _NotThereError(EngineError):
    """The engine has no such endpoint, or not for its model."""


def _meaning(status: int, body: bytes) -> AnsamblError | None:
    if not says_cannot(status, body):
        return None
    return _NotThereError(text("The engine does not serve this."), code=NOT_SERVED)


def _standing(exchange: Exchange, body: bytes, options: RequestOptions) -> Standing:
    """How urgent a request is. Nothing but a chat can be a by-product of one: it waits until its model is there."""
    caller = exchange.visit.caller
    standing = standing_of(exchange.scope, body, options, caller, None)
    if standing.request_class is RequestClass.TASK:
        standing = replace(standing, request_class=RequestClass.BACKGROUND)
    exchange.request_class = standing.request_class.value
    return standing
