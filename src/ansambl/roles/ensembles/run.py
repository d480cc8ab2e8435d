"""Runs ensembles: one entry for all patterns, also for an ensemble inside another one."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.role import Ensemble, Pattern
from ansambl.roles.ensembles import chain, council, debate, route
from ansambl.roles.ensembles.budget import Budget
from ansambl.roles.ensembles.events import Engines, EnsembleEvent
from ansambl.roles.ensembles.requests import check_request, client_limit, common_request
from ansambl.roles.ensembles.wording import combined
from ansambl.roles.ensembles.work import Embeds, Part, Work
from ansambl.roles.knowledge.reading import Gathering
from ansambl.roles.records import NO_OPTIONS, RequestOptions
from ansambl.roles.service import RoleService

_PATTERNS: Mapping[Pattern, Callable[[Work], AsyncGenerator[EnsembleEvent, None]]] = {
    Pattern.COUNCIL: council.hold,
    Pattern.CHAIN: chain.pass_along,
    Pattern.DEBATE: debate.debate,
    Pattern.ROUTE: route.send_on,
}


async def run(
    ensemble: Ensemble,
    request: ChatRequest,
    *,
    service: RoleService,
    engines: Engines,
    key: str,
    options: RequestOptions = NO_OPTIONS,
    embeds: Embeds | None = None,
    gathering: Gathering | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[EnsembleEvent, None]:
    """Answer `request` by the members of `ensemble`. Close the generator to end all calls that are running.

    `options` tighten the ensemble's limits; `embeds` is for routes that compare by vectors, `gathering` for
    members that read collections. `clock` tells seconds that
    never jump. A member that fails is reported and does not stop the others. What stands before the final answer may
    use `STAGE_SHARE` of the time; members that have not begun by then are skipped and those that speak are cut.

    Raises:
        RequestError: the request asks for more than one answer, or no member could do anything with it.
        EngineError: every member failed, or the final answer did.
        UnavailableError: every member failed, and the first because its model cannot answer now.
    """
    check_request(request)
    budget = Budget(
        tokens=_least(ensemble.tokens, options.tokens),
        seconds=ensemble.seconds if options.seconds is None else min(ensemble.seconds, options.seconds),
        clock=clock,
    )
    work = Work(
        ensemble=ensemble,
        client=request,
        request=common_request(request),
        # A reload that takes one of its roles away in the meantime is for the next request.
        service=service.snapshot(),
        engines=engines,
        key=key,
        options=options,
        budget=budget,
        run_inside=_run_inside,
        rounds=ensemble.rounds if options.rounds is None else min(ensemble.rounds, options.rounds),
        embeds=embeds,
        gathering=gathering,
    )
    async with aclosing(_PATTERNS[Pattern(ensemble.pattern)](work)) as events:
        async for event in events:
            yield event


async def _run_inside(parent: Work, part: Part, *, deadline: float, final: bool) -> AsyncGenerator[EnsembleEvent, None]:
    """Run the ensemble that is a member of another one: its limits lie within what its part may use."""
    ensemble = part.member
    if not isinstance(ensemble, Ensemble):
        raise TypeError(ensemble.name)
    clock = parent.budget.clock
    budget = Budget(
        # The part's limit is a share of the parent's tokens; where these are not bounded, it bounds the answer alone.
        tokens=ensemble.tokens if parent.budget.tokens is None else _least(ensemble.tokens, part.limit),
        seconds=max(0.0, min(ensemble.seconds, deadline - clock())),
        clock=clock,
    )
    fields = dict(part.fields)
    limit = _least(part.limit, client_limit(parent.client))
    client = parent.client.changed({**fields, "max_tokens": limit, "max_completion_tokens": None})
    work = Work(
        ensemble=ensemble,
        client=client,
        request=common_request(client),
        service=parent.service,
        engines=parent.engines,
        key=parent.key,
        options=parent.options,
        budget=budget,
        run_inside=_run_inside,
        rounds=ensemble.rounds,
        embeds=parent.embeds,
        gathering=parent.gathering,
        path=(*parent.path, part.label),
        assignment=combined(parent.assignment, part.addition),
        has_spoken=final and parent.has_spoken,
    )
    part.inner = work
    async with aclosing(_PATTERNS[Pattern(ensemble.pattern)](work)) as events:
        async for event in events:
            yield event


def _least(*limits: int | None) -> int | None:
    return min((one for one in limits if one is not None), default=None)
