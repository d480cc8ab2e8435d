"""Chats in every dialect: a plain model is asked as it is, a role's messages are composed, an ensemble is run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ansambl.dialects.openai_chat import Answer, ChatRequest, Usage
from ansambl.domain.access import OWNER, Caller
from ansambl.domain.errors import AnsamblError, NotSupportedError, RequestError, UnknownNameError
from ansambl.domain.instance import InstanceState
from ansambl.domain.role import Ensemble, Pattern, Role
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger
from ansambl.gateway.ensemble_writer import ChatOutput, EnsembleWriter, Output, branch_object
from ansambl.gateway.exchange import Exchange, speaker_of_scope
from ansambl.gateway.keep_alive import kept_alive
from ansambl.gateway.native import counted_natively
from ansambl.gateway.passing import Call, Chosen, pass_through
from ansambl.gateway.searching import Searching, citing_of
from ansambl.gateway.standing import standing_of, task_of
from ansambl.gateway.tool_choices import with_tools_understood
from ansambl.gateway.translating import TranslatedAnswer, translate
from ansambl.roles.asking import count_prompt
from ansambl.roles.availability import models_of_ensemble
from ansambl.roles.collection_rights import readable
from ansambl.roles.context_share import with_instruction_named, within_share
from ansambl.roles.embedding import Embedder
from ansambl.roles.ensembles.events import BranchState, Content, EnsembleEvent
from ansambl.roles.ensembles.route import Choice, choose
from ansambl.roles.ensembles.run import run
from ansambl.roles.knowledge.in_use import KnowledgeInUse, no_knowledge
from ansambl.roles.knowledge.reading import Gathering, check_chosen
from ansambl.roles.options import take_options
from ansambl.roles.records import ModelTarget, RequestOptions, Target
from ansambl.roles.resolver import EnsembleTarget, Resolver, RoleTarget
from ansambl.roles.service import Prepared, RoleService
from ansambl.roles.sharing import SharedEngines
from ansambl.roles.tasks.records import Task
from ansambl.roles.tasks.replies import built_in_reply, task_request
from ansambl.roles.trials import PREFIX, Trials, is_over
from ansambl.runtime.coordinator import Coordinator

log = get_logger(__name__)

STOPPING = "stopping"
"""The code of the error that ends what still runs when Ansambl stops."""

_LONGEST_HEADER = 300
"""Bytes of a route's reason in a header; the whole one stands in the answer and in the log."""


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who asks, what for, the service that writes the prompts, and what searches for it."""

    service: RoleService
    key: str
    options: RequestOptions
    gathering: Gathering
    remembers: bool = True


@dataclass(frozen=True, slots=True)
class _Meant:
    """What a request asks for, what counters call it, and the service that writes its prompt.

    `is_trial` is whether nobody saved it: then nothing of its answer is remembered.
    """

    target: Target
    name: str
    service: RoleService
    is_trial: bool = False


class ChatHandler:
    """Answers chats for every name in the catalog, in the dialect of `Exchange.asked`.

    `recognises_tasks` tells whether by-products of chats are known by their shape, too; `trials` are drafts of roles
    that their makers may ask.
    """

    def __init__(
        self, resolver: Resolver, service: RoleService, coordinator: Coordinator, *, recognises_tasks: bool = True,
        knowledge: KnowledgeInUse | None = None, trials: Trials | None = None,
    ) -> None:  # fmt: skip
        self._resolver = resolver
        self._service = service
        self._coordinator = coordinator
        self._engines = SharedEngines(coordinator)
        self._embedder = Embedder(coordinator)
        self._searching = Searching(knowledge or no_knowledge(), coordinator, self._engines)
        self.recognises_tasks = recognises_tasks
        self._trials = trials if trials is not None else Trials()

    async def answer(self, exchange: Exchange, request: ChatRequest, body: bytes) -> None:
        """Answer one request, which was read from `body`.

        Raises:
            AnsamblError: nothing was sent yet and the request cannot be answered; or the stream broke.
        """
        request, options = take_options(request)
        task = task_of(exchange.scope, request, recognises=self.recognises_tasks)
        caller = exchange.visit.caller
        standing = standing_of(exchange.scope, body, options, caller, task)
        request.standing = standing
        exchange.request_class = standing.request_class.value
        meant = self._meant(request.model, caller)
        target, exchange.name = meant.target, meant.name
        caller.require_name(target.name)
        if meant.is_trial:
            options = replace(options, memory=False)
        gathering = self._searching.gathering(meant.service, request, caller.key, options)
        asker = _Asker(meant.service, caller.key, options, gathering, remembers=not meant.is_trial)
        keeping = kept_alive(exchange) if request.stream else nullcontext()
        async with keeping:
            if standing.request_class is RequestClass.TASK:
                await self._answer_task(exchange, request, target, task)
            else:
                await self._answer_chat(exchange, request, target, asker)

    def _meant(self, name: str, caller: Caller) -> _Meant:
        """What `caller` means by `name`.

        Raises:
            UnknownNameError: nothing has this name.
        """
        trial = self._trials.find(name, caller)
        if trial is not None:
            service = self._service.snapshot()
            service.use(trial.catalog)
            return _Meant(trial.target, trial.shown, service, is_trial=True)
        try:
            target = self._resolver.resolve(name)
        except UnknownNameError:
            if name.startswith(PREFIX):
                raise is_over(name) from None
            raise
        return _Meant(target, target.name, self._service)

    async def _answer_chat(self, exchange: Exchange, request: ChatRequest, target: Target, asker: _Asker) -> None:
        options = asker.options
        _check_chosen(options, target, asker.service)
        if isinstance(target, EnsembleTarget) and target.ensemble.pattern == Pattern.ROUTE:
            await self._answer_route(exchange, request, target.ensemble, asker)
            return
        if options.role is not None:
            raise RequestError(
                text("'{name}' is no route, so no role can be chosen; ask for the role itself.", name=target.name),
                param="ansambl.role",
            )
        if isinstance(target, EnsembleTarget):
            citing = citing_of(exchange, asker.gathering)
            writer = EnsembleWriter(exchange, _output(exchange, request), _about(target.ensemble), citing=citing)
            exchange.outlook = partial(self._outlook, target.ensemble)
            await self._answer_ensemble(exchange, request, target.ensemble, asker, writer)
        elif isinstance(target, RoleTarget):
            await self._answer_role(exchange, request, target.role, asker, None)
        else:
            plain = asker.service.prepare_plain(request, target.model, target.lora)
            noting = self._searching.noting(exchange.name, asker.gathering)
            call = Call(plain, remembers=False)
            if noting is not None:
                call = Call(replace(plain, remember=noting))
            await self._pass_on(exchange, call)

    async def _answer_task(self, exchange: Exchange, request: ChatRequest, target: Target, task: Task | None) -> None:
        """Ask a model for a by-product of a chat; a built-in reply where none can answer.

        `task` is None where the caller's key alone says that it is one; what to reply is then not known.
        """
        try:
            model = self._model_for_task(target)
            asking = task_request(request, model)
            await self._pass_on(exchange, Call(Prepared(model, asking, _forget), False, passes_refusals=False))
        except RequestError:
            raise
        except AnsamblError as error:
            if task is None or exchange.answering or error.code == STOPPING:
                raise
            log.info("task_built_in", task=task.value, name=target.name, code=error.code, reason=str(error))
            output = _output(exchange, request)
            await output.content(built_in_reply(task, request))
            await output.end("stop", Usage(), {"task": task.value, "built_in": True})
            exchange.metrics.count_task()

    def _model_for_task(self, target: Target) -> str:
        if isinstance(target, ModelTarget):
            return target.model.name
        return self._service.model_of(target.role if isinstance(target, RoleTarget) else target.conductor).name

    def _outlook(self, ensemble: Ensemble) -> Text:
        """What an ensemble waits for: the first of its models that is not in memory or has requests that wait."""
        models = models_of_ensemble(ensemble, self._service.catalog)
        for one in self._coordinator.statuses():
            if one.model in models and (one.waiting or one.state is not InstanceState.READY):
                return self._coordinator.outlook(one.model)
        return text("the roles of '{name}' are at work", name=ensemble.name)

    async def count(self, exchange: Exchange, request: ChatRequest, body: bytes) -> int:
        """The tokens of the prompt that `request` would become, counted by the engine that would read it.

        Raises:
            AnsamblError: the request cannot be answered.
            NotSupportedError: it asks for an ensemble, which has many prompts; or nobody can count it.
        """
        request, options = take_options(request)
        caller = exchange.visit.caller
        request.standing = standing_of(exchange.scope, body, options, caller, None)
        meant = self._meant(request.model, caller)
        target, service, exchange.name = meant.target, meant.service, meant.name
        caller.require_name(target.name)
        if isinstance(target, EnsembleTarget):
            raise NotSupportedError(
                text("'{name}' asks several roles, each with its own prompt; count for one role.", name=target.name)
            )
        _check_chosen(options, target, service)
        if isinstance(target, RoleTarget):
            gathering = self._searching.gathering(service, request, caller.key, options)
            given = await gathering.for_role(target.role, service.model_of(target.role))
            prepared = service.prepare(request, target.role, key=caller.key, options=options, given=given)
        else:
            prepared = service.prepare_plain(request, target.model, target.lora)
        counted = await count_prompt(self._coordinator, prepared.model, prepared.request)
        if counted is None and isinstance(target, ModelTarget):
            path = exchange.scope["path"]
            counted = await counted_natively(self._coordinator, prepared.model, path, body, request.standing)
        if counted is None:
            raise NotSupportedError(
                text("The tokens of this prompt cannot be counted by the engine of '{model}'.", model=prepared.model)
            )
        return counted

    async def _answer_role(
        self, exchange: Exchange, request: ChatRequest, role: Role, asker: _Asker, chosen: Chosen | None
    ) -> None:
        given = await self._searching.given(exchange, asker.gathering, role, asker.service.model_of(role))
        prepared = asker.service.prepare(request, role, key=asker.key, options=asker.options, given=given)
        prepared = await within_share(prepared, role, asker.service.model_of(role), self._engines)
        if not asker.remembers:
            prepared = replace(prepared, remember=_forget)
        exchange.headers.append((b"x-ansambl-role", _ascii(role.name)))
        # Decoded again only when an engine refuses.
        clearer = partial(_clearer, role, request)
        noting = self._searching.noting(exchange.name, asker.gathering)
        if noting is not None:
            prepared = replace(prepared, remember=_both(prepared.remember, noting))
        citing = citing_of(exchange, asker.gathering) if prepared.given is not None else None
        await self._pass_on(exchange, Call(prepared, chosen=chosen, clearer=clearer, citing=citing))

    async def _pass_on(self, exchange: Exchange, call: Call) -> None:
        call = await with_tools_understood(self._coordinator, call)
        if exchange.asked is None:
            await pass_through(exchange, self._coordinator, call)
        else:
            await translate(exchange, exchange.asked, self._coordinator, call)

    async def _answer_ensemble(
        self, exchange: Exchange, request: ChatRequest, ensemble: Ensemble, asker: _Asker, writer: EnsembleWriter
    ) -> None:
        exchange.headers.append((b"x-ansambl-role", _ascii(ensemble.name)))
        events: AsyncGenerator[EnsembleEvent, None] = run(
            ensemble, request, service=asker.service, engines=self._engines, key=asker.key, options=asker.options,
            embeds=self._embedder.on_behalf(request.standing), gathering=asker.gathering,
        )  # fmt: skip
        noting, said = self._searching.noting(exchange.name, asker.gathering), []
        try:
            async with aclosing(events):
                async for event in events:
                    if isinstance(event, Content):
                        said.append(event.text)
                    await writer.write(event)
            if noting is not None:
                noting(Answer(content="".join(said)))
        except asyncio.CancelledError:
            writer.left()
            raise

    async def _answer_route(self, exchange: Exchange, request: ChatRequest, route: Ensemble, asker: _Asker) -> None:
        # Between the choice and the answer, too, a reload is for the next request.
        asker = replace(asker, service=asker.service.snapshot())
        exchange.outlook = partial(self._outlook, route)
        choice = await choose(
            route, request, service=asker.service, engines=self._engines, key=asker.key, options=asker.options,
            clock=time.monotonic, embeds=self._embedder.on_behalf(request.standing),
        )  # fmt: skip
        reason = choice.reason.render(speaker_of_scope(exchange.scope))
        log.info(
            "route_chose",
            route=route.name, role=choice.member.name, how=choice.how, score=choice.score, reason=str(choice.reason),
        )  # fmt: skip
        exchange.headers.append((b"x-ansambl-route", _ascii(str(choice.reason))[:_LONGEST_HEADER]))
        words = f"**{choice.member.name}** – {reason}\n\n"
        asker = replace(asker, options=replace(asker.options, role=None))
        if isinstance(choice.member, Ensemble):
            about = {**_about(choice.member), "route": _route_object(route, choice)}
            citing = citing_of(exchange, asker.gathering)
            writer = EnsembleWriter(
                exchange, _output(exchange, request), about, before=choice.usage, citing=citing
            )  # fmt: skip
            exchange.outlook = partial(self._outlook, choice.member)
            await writer.write_reasoning(words)
            await self._answer_ensemble(exchange, request, choice.member, asker, writer)
            return
        model = asker.service.model_of(choice.member).name
        chosen = Chosen(words, partial(_route_account, route, choice, model, time.monotonic()), choice.usage)
        await self._answer_role(exchange, choice.limited(request), choice.member, asker, chosen)


def _check_chosen(options: RequestOptions, target: Target, service: RoleService) -> None:
    if options.knowledge:
        behind = readable(replace(OWNER, names=frozenset({target.name})), service.catalog)
        check_chosen(options, behind or (), target.name)


def _forget(answer: Answer) -> None:
    """The answer to a task or of a trial is no part of any conversation."""


def _both(first: Callable[[Answer], None], second: Callable[[Answer], None]) -> Callable[[Answer], None]:
    def remember(answer: Answer) -> None:
        first(answer)
        second(answer)

    return remember


def _output(exchange: Exchange, request: ChatRequest) -> Output:
    return ChatOutput(exchange, request) if exchange.asked is None else TranslatedAnswer(exchange, exchange.asked)


def _clearer(role: Role, request: ChatRequest, error: AnsamblError) -> AnsamblError:
    return with_instruction_named(error, role, request.messages())


def _about(ensemble: Ensemble) -> dict[str, Any]:
    return {"ensemble": ensemble.name, "pattern": str(ensemble.pattern)}


def _route_object(route: Ensemble, choice: Choice) -> dict[str, Any]:
    return {
        "ensemble": route.name,
        "role": choice.member.name,
        "how": choice.how,
        "reason": str(choice.reason),
        "score": None if choice.score is None else round(choice.score, 4),
        "branches": [branch_object(one) for one in choice.branches],
    }


def _route_account(route: Ensemble, choice: Choice, model: str, begun: float, usage: Usage | None) -> Mapping[str, Any]:
    answered = {
        "role": choice.member.name,
        "model": model,
        "state": BranchState.ANSWERED.value,
        "seconds": round(time.monotonic() - begun, 3),
        "first_seconds": None,
        "usage": usage.as_json() if usage is not None else None,
        "message": None,
    }
    found = _route_object(route, choice)
    return {**_about(route), "branches": [*found.pop("branches"), answered], "sharing": [], "route": found}


def _ascii(words: str) -> bytes:
    """Words as a header can carry them."""
    line = " ".join(words.split())
    printable = "".join(one for one in line if one.isprintable())
    return printable.encode("ascii", "xmlcharrefreplace")[:_LONGEST_HEADER]
