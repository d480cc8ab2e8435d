"""The route: one member is chosen, for a reason that is shown, and answers.

`roles.routing` decides; here the vectors are fetched and the model is asked that it needs for it. Which member gave the
last answer is known by the note that is remembered of that turn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ansambl.dialects.openai_chat import LIMIT_FIELDS, ChatRequest, Usage
from ansambl.domain.errors import AnsamblError
from ansambl.domain.role import Ensemble, Layout, Pattern, Role
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.roles.ensembles.answering import answer
from ansambl.roles.ensembles.budget import Budget
from ansambl.roles.ensembles.calls import Call, listen
from ansambl.roles.ensembles.concluding import final_reason
from ansambl.roles.ensembles.events import Branch, BranchState, Engines, EnsembleEvent, Remark
from ansambl.roles.ensembles.requests import common_request
from ansambl.roles.ensembles.work import Embeds, Part, Work
from ansambl.roles.records import RequestOptions
from ansambl.roles.routing.deciding import NeedsAnswer, NeedsVector, Route
from ansambl.roles.routing.likeness import VectorLikeness, examples_of
from ansambl.roles.routing.records import Decision, Member, RouteInput, read_input
from ansambl.roles.service import RoleService

QUESTION_TOKENS = 64
"""The most tokens of the reply to the question who shall answer: a name, and some room for a model that explains."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Who answers, and why. `how` names the step, `score` is the likeness where one was measured.

    `branches` are the calls that choosing took, `usage` what they cost (None: nothing). `tokens` bounds the answer.
    """

    member: Role | Ensemble
    how: str
    reason: Text
    score: float | None = None
    branches: tuple[Branch, ...] = ()
    usage: Usage | None = None
    tokens: int | None = None

    def limited(self, request: ChatRequest) -> ChatRequest:
        """The client's request, within the route's limit of tokens where it has one."""
        if self.tokens is None:
            return request
        names = [one for one in LIMIT_FIELDS if request.value(one) is not None]
        changes = {}
        for name in names or LIMIT_FIELDS[:1]:
            asked = request.value(name)
            if asked is None or (isinstance(asked, int) and asked > self.tokens):
                changes[name] = self.tokens
        return request.changed(changes)


@dataclass(slots=True)
class _Choosing:
    """One choice in the making."""

    route: Ensemble
    request: ChatRequest
    service: RoleService
    engines: Engines
    embeds: Embeds | None
    key: str
    options: RequestOptions
    budget: Budget
    asked: RouteInput
    members: tuple[Member, ...]
    branches: list[Branch] = field(default_factory=list)
    usage: Usage | None = None

    async def decide(self) -> Decision:
        step = _prepared(self.route, self.members).decide(
            self.asked, wanted=self.options.role, previous=self._previous()
        )
        if isinstance(step, NeedsVector):
            step = await self._measure(step)
        return await self._ask(step) if isinstance(step, NeedsAnswer) else step

    def _previous(self) -> str | None:
        """Who gave the last answer of the conversation, where a note of the turn is remembered."""
        if not self.asked.in_tool_loop and not self.asked.is_follow_up:
            return None
        for member in self.members:
            role = self.service.catalog.roles.get(member.name)
            if role is None:
                continue
            recalled = self.service.prepare(self.request, role, key=self.key, options=self.options).recalled
            if recalled is not None and recalled.notes:
                return recalled.notes[max(recalled.notes)].role
        return None

    async def _measure(self, step: NeedsVector) -> Decision | NeedsAnswer:
        model = self.route.embedder
        if model is None or self.embeds is None:
            return step.measured(None, text("no embeddings model is at hand"))
        try:
            examples = await self.embeds.examples(model, examples_of(step.members))
            vectors = await self.embeds.vectors(model, [step.topic])
            return step.measured(VectorLikeness(step.members, examples).of(vectors[0]))
        except AnsamblError as error:
            return step.measured(None, error.message)

    async def _ask(self, step: NeedsAnswer) -> Decision:
        """Ask the conductor on the shared prefix."""
        conductor = self.service.catalog.roles[self.route.merging_role]
        told = replace(
            conductor,
            name=self.route.name,
            instruction=step.instruction,
            instructions={},
            layout=Layout.SHARED_PREFIX,
            output_limit=None,
            thinking_language=None,
            answer_language=None,
        )
        left = self.budget.tokens_left
        limit = QUESTION_TOKENS if left is None else min(QUESTION_TOKENS, left)
        asking = common_request(self.request).changed({"max_tokens": limit, "temperature": 0})
        call = Call(conductor.name, "", self.budget.clock(), limit)
        failure: Text | None = None
        try:
            prepared = self.service.prepare(asking, told, key=self.key, options=replace(self.options, layout=None))
            call.model = prepared.model
            deltas = self.engines.ask(prepared.model, prepared.request)
            reply = listen(call, deltas, deadline=self.budget.stage_deadline, clock=self.budget.clock)
            async with aclosing(reply) as pieces:
                async for _ in pieces:
                    pass
        except AnsamblError as error:
            failure = error.message
        seconds = Seconds(self.budget.clock() - call.begun)
        state = BranchState.ANSWERED if failure is None else BranchState.FAILED
        self.branches.append(Branch(conductor.name, call.model or None, state, call.cost, seconds, failure))
        if call.cost is not None:
            self.usage = call.cost
            self.budget.spend(call.cost.completion_tokens)
        return step.answered(call.said or None if failure is None else None, failure)


async def choose(
    route: Ensemble,
    request: ChatRequest,
    *,
    service: RoleService,
    engines: Engines,
    key: str,
    options: RequestOptions,
    clock: Callable[[], float],
    embeds: Embeds | None = None,
) -> Choice:
    """Choose who answers; a member that is a route itself chooses in its turn. The route's time bounds the choosing.

    Raises:
        RequestError: the messages are not messages, or `options.role` is no member.
    """
    service, messages = service.snapshot(), request.messages()
    seconds = route.seconds if options.seconds is None else min(route.seconds, options.seconds)
    tokens = min((one for one in (route.tokens, options.tokens) if one is not None), default=None)
    budget = Budget(tokens=tokens, seconds=seconds, clock=clock)
    asked = read_input(messages, tools=bool(request.value("tools")))
    branches: list[Branch] = []
    usage: Usage | None = None
    reason: Text | None = None
    while True:
        catalog = service.catalog
        targets = {name: catalog.roles.get(name) or catalog.ensembles[name] for name in route.roles}
        members = tuple(Member.of(target) for target in targets.values())
        choosing = _Choosing(route, request, service, engines, embeds, key, options, budget, asked, members)
        decision = await choosing.decide()
        branches += choosing.branches
        if choosing.usage is not None:
            usage = choosing.usage + (usage or Usage())
        reason = decision.reason if reason is None else text("{first}; {second}", first=reason, second=decision.reason)
        member = targets[decision.role]
        if not isinstance(member, Ensemble) or member.pattern != Pattern.ROUTE:
            left = None if budget.tokens_left is None else max(1, budget.tokens_left)
            return Choice(member, str(decision.how), reason, decision.score, tuple(branches), usage, left)
        # The name that was asked for was found; what stands inside chooses by itself.
        route, options = member, replace(options, role=None)


async def send_on(work: Work) -> AsyncGenerator[EnsembleEvent, None]:
    """Answer by a route, as events.

    Raises:
        AnsamblError: the member that was chosen failed.
    """
    choice = await choose(
        work.ensemble, work.client, service=work.service, engines=work.engines, key=work.key, options=work.options,
        clock=work.budget.clock, embeds=work.embeds,
    )  # fmt: skip
    work.branches += choice.branches
    work.count(choice.usage)
    yield Remark(text("{role} answers: {reason}.", role=choice.member.name, reason=choice.reason))
    work.has_spoken = True
    part = Part(choice.member, choice.member.name, work.budget.limit(work.answer_ceiling))
    async with aclosing(answer(work, part, deadline=work.budget.deadline, final=True)) as events:
        async for event in events:
            yield event
    yield work.finished(final_reason(work, part))


@lru_cache(maxsize=32)
def _prepared(route: Ensemble, members: tuple[Member, ...]) -> Route:
    return Route(route, members)
