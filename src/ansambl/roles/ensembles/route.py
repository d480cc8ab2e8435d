"""The route: one member is chosen, for a reason that is shown, and answers.

In this order: the member that is asked for by name; in a tool loop, the role that began it; the first rule that
matches; the member whose examples are most like the question; the one that a model names when it is asked; the default.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ansambl.dialects.openai_chat import ChatRequest, Usage
from ansambl.domain.errors import AnsamblError
from ansambl.domain.role import Ensemble, Layout, Pattern, Role, RouteRule
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.roles.ensembles.answering import answer
from ansambl.roles.ensembles.budget import Budget
from ansambl.roles.ensembles.calls import Call, listen
from ansambl.roles.ensembles.concluding import final_reason
from ansambl.roles.ensembles.events import Branch, BranchState, Engines, EnsembleEvent, Remark
from ansambl.roles.ensembles.requests import common_request
from ansambl.roles.ensembles.work import Embeds, Part, Work
from ansambl.roles.prompt_layout import newest_user
from ansambl.roles.records import RequestOptions
from ansambl.roles.routing.forcing import forced
from ansambl.roles.routing.likeness import Alike, VectorLikeness, WordLikeness, examples_of
from ansambl.roles.routing.question import question, read_answer
from ansambl.roles.routing.records import Decision, How, Member, RouteInput, read_input
from ansambl.roles.routing.rules import Rules, by_rules
from ansambl.roles.service import RoleService

QUESTION_TOKENS = 64
"""The most tokens of the reply to the question who shall answer: a name, and some room for a model that explains."""

_SHOWN = 80


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
        names = [one for one in ("max_tokens", "max_completion_tokens") if request.value(one) is not None]
        changes = {}
        for name in names or ["max_tokens"]:
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
    question: RouteInput
    members: dict[str, Member]
    branches: list[Branch] = field(default_factory=list)
    usage: Usage | None = None

    async def decide(self) -> Decision:
        listed = tuple(self.members.values())
        decision = (
            forced(self.question, self.options.role, listed)
            or self._sticky()
            or by_rules(_rules(self.route.rules), self.question)
        )
        if decision is not None:
            return decision
        alike, how = await self._alike(listed)
        best = alike[0] if alike else None
        if best is not None and best.score >= self.route.threshold:
            reason = text("the question is like '{example}'", example=_clipped(best.example))
            return Decision(best.role, How.LIKENESS, _with(reason, how), best.score)
        score = best.score if best is not None else None
        unlike = _unlike(best, self.route.threshold)
        if self.route.asks:
            asked = await self._ask(listed, score)
            if isinstance(asked, Decision):
                return asked
            unlike = text("{first}; {second}", first=unlike, second=asked)
        default = self.route.default or self.route.roles[0]
        return Decision(default, How.DEFAULT, _with(unlike, how), score)

    def _sticky(self) -> Decision | None:
        """In a tool loop the role that began to answer goes on: its note stands in that message."""
        if not self.question.in_tool_loop:
            return None
        index = newest_user(self.request.messages())
        for name in self.members:
            role = self.service.catalog.roles.get(name)
            if role is None or index is None:
                continue
            recalled = self.service.prepare(self.request, role, key=self.key, options=self.options).recalled
            note = recalled.notes.get(index) if recalled is not None else None
            if note is not None and note.role in self.members:
                return Decision(note.role, How.STICKY, text("it has begun to answer this message"))
        return None

    async def _alike(self, members: tuple[Member, ...]) -> tuple[tuple[Alike, ...], Text | None]:
        """The members by likeness, and what is to be said of how it was measured."""
        model, failure = self.route.embedder, None
        if model is not None and self.embeds is not None and examples_of(members):
            try:
                examples = await self.embeds.examples(model, examples_of(members))
                asked = await self.embeds.vectors(model, [self.question.topic])
                return VectorLikeness(members, examples).of(asked[0]), None
            except AnsamblError as error:
                failure = text(
                    "compared by words, because '{model}' failed: {reason}", model=model, reason=error.message
                )
        return _word_likeness(members).of(self.question.topic), failure

    async def _ask(self, members: tuple[Member, ...], score: float | None) -> Decision | Text:
        """Ask the conductor on the shared prefix; what it said when that decides nothing."""
        conductor = self.service.catalog.roles[self.route.merging_role]
        told = replace(
            conductor,
            name=self.route.name,
            instruction=question(members, self.question.language),
            instructions={},
            layout=Layout.SHARED_PREFIX,
            output_limit=None,
            thinking_language=None,
            answer_language=None,
        )
        limit = QUESTION_TOKENS if self.budget.tokens_left is None else min(QUESTION_TOKENS, self.budget.tokens_left)
        asking = common_request(self.request).changed({"max_tokens": limit, "temperature": 0})
        call, state, message = None, BranchState.ANSWERED, None
        try:
            prepared = self.service.prepare(asking, told, key=self.key, options=replace(self.options, layout=None))
            call = Call(conductor.name, prepared.model, self.budget.clock(), limit)
            deltas = self.engines.ask(prepared.model, prepared.request)
            async with aclosing(
                listen(call, deltas, deadline=self.budget.stage_deadline, clock=self.budget.clock)
            ) as pieces:
                async for _ in pieces:
                    pass
        except AnsamblError as error:
            state, message = BranchState.FAILED, error.message
        seconds = Seconds(self.budget.clock() - call.begun) if call is not None else Seconds(0.0)
        usage = call.cost if call is not None else None
        model = call.model if call is not None else None
        self.branches.append(Branch(conductor.name, model, state, usage, seconds, message))
        if usage is not None:
            self.usage = usage
            self.budget.spend(usage.completion_tokens)
        if message is not None:
            return text("asking '{role}' failed: {reason}", role=conductor.name, reason=message)
        said = call.said if call is not None else ""
        member = read_answer(said, members)
        if member is None:
            return text("'{role}' was asked and named nobody", role=conductor.name)
        return Decision(member.name, How.QUESTION, text("'{role}' was asked and named it", role=conductor.name), score)


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
    messages = request.messages()
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
        members = {name: Member.of(target) for name, target in targets.items()}
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
def _rules(rules: tuple[RouteRule, ...]) -> Rules:
    return Rules(rules)


@lru_cache(maxsize=32)
def _word_likeness(members: tuple[Member, ...]) -> WordLikeness:
    return WordLikeness(members)


def _unlike(best: Alike | None, threshold: float) -> Text:
    if best is None:
        return text("nothing speaks for another one")
    return text(
        "no example is like the question (the best is at {score}, {threshold} is wanted)",
        score=f"{best.score:.2f}",
        threshold=f"{threshold:.2f}",
    )


def _with(reason: Text, remark: Text | None) -> Text:
    return reason if remark is None else text("{first} ({remark})", first=reason, remark=remark)


def _clipped(example: str) -> str:
    line = " ".join(example.split())
    return line if len(line) <= _SHOWN else line[:_SHOWN] + "…"
