"""One ensemble at work on one request: what its pattern, its calls and its nested ensembles share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ansambl.dialects.openai_chat import ChatRequest, Usage
from ansambl.domain.errors import AnsamblError, EngineError, UnavailableError
from ansambl.domain.role import Ensemble, Role
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.roles.context_share import with_instruction_named, within_share
from ansambl.roles.ensembles.budget import Budget, shown_seconds
from ansambl.roles.ensembles.calls import Call
from ansambl.roles.ensembles.events import Branch, BranchState, Engines, EnsembleEvent, Finished, Shared
from ansambl.roles.ensembles.requests import client_limit
from ansambl.roles.ensembles.wording import Said, Wording, Wordings, combined, directed
from ansambl.roles.knowledge.reading import Gathering
from ansambl.roles.records import RequestOptions
from ansambl.roles.service import Prepared, RoleService

Member = Role | Ensemble
"""What an ensemble is made of."""


class Embeds(Protocol):
    """Makes vectors of texts."""

    def examples(self, model: str, texts: Sequence[str], /) -> Awaitable[Sequence[Sequence[float]]]:
        """Vectors that will be asked for again."""
        ...

    def vectors(self, model: str, texts: Sequence[str], /) -> Awaitable[Sequence[Sequence[float]]]:
        """Vectors of texts that are new."""
        ...


class RunsInside(Protocol):
    """Runs an ensemble that is a member of another one."""

    def __call__(
        self, parent: Work, part: Part, /, *, deadline: float, final: bool
    ) -> AsyncGenerator[EnsembleEvent, None]:
        """Run the part's member, within the part's limit and until `deadline` on the clock.

        `final` tells that what it says is the parent's answer.
        """
        ...


@dataclass(slots=True)
class Outcome:
    """What became of one member's part."""

    role: str
    state: BranchState
    said: str = ""
    message: Text | None = None
    error: AnsamblError | None = None
    finish_reason: str | None = None
    prepared: Prepared | None = None

    @property
    def answer(self) -> Said:
        """What was said, with who said it."""
        return Said(self.role, self.said)


@dataclass(slots=True)
class Part:
    """One answer that a member shall give: `label` is its heading, `limit` its ceiling in tokens.

    `addition` is what it is told beyond its instruction, `fields` are request fields for this call alone. `outcome`,
    the calls in `branches` and how they shared are there when it has ended. `inner` is the work of a nested ensemble.
    `note_name` stands in the note in place of the role's name.
    """

    member: Member
    label: str
    limit: int
    addition: Wording = field(default_factory=dict)
    fields: Mapping[str, Any] = field(default_factory=dict)
    note_name: str | None = None
    outcome: Outcome | None = None
    branches: tuple[Branch, ...] = ()
    sharing: tuple[Shared, ...] = ()
    inner: Work | None = None

    @property
    def answered(self) -> bool:
        """Whether there is something that was said."""
        return self.outcome is not None and bool(self.outcome.said)


@dataclass(slots=True)
class Work:
    """Everything about one run. `path` names the ensembles around this one, `assignment` is what they tell it.

    `gathering` searches what members read, None where nothing is searched.
    """

    ensemble: Ensemble
    client: ChatRequest
    request: ChatRequest
    service: RoleService
    engines: Engines
    key: str
    options: RequestOptions
    budget: Budget
    run_inside: RunsInside
    rounds: int
    embeds: Embeds | None = None
    gathering: Gathering | None = None
    path: tuple[str, ...] = ()
    assignment: Wording = field(default_factory=dict)
    branches: list[Branch] = field(default_factory=list)
    errors: list[AnsamblError] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)
    sharing: list[Shared] = field(default_factory=list)
    has_spoken: bool = False

    @property
    def members(self) -> tuple[Member, ...]:
        """The members, in the ensemble's order."""
        return tuple(self.member(name) for name in self.ensemble.roles)

    @property
    def conductor(self) -> Role:
        """The role that merges or decides."""
        return self.service.catalog.roles[self.ensemble.merging_role]

    @property
    def wordings(self) -> Wordings:
        """Writes what roles are told about each other's answers."""
        return Wordings(self.client.messages(), self.ensemble.branch_tokens)

    @property
    def answer_ceiling(self) -> int:
        """The most tokens that the final answer may have, as far as ensemble and client say."""
        asked = client_limit(self.client)
        return self.ensemble.answer_tokens if asked is None else min(asked, self.ensemble.answer_tokens)

    def member(self, name: str) -> Member:
        """A member by its name."""
        catalog = self.service.catalog
        return catalog.roles[name] if name in catalog.roles else catalog.ensembles[name]

    def shown(self, name: str) -> str:
        """How a heading names a member: with the ensembles around it."""
        return " / ".join((*self.path, name))

    async def prepare(self, part: Part) -> Prepared:
        """The request of a part whose member is a role.

        Raises:
            AnsamblError: as `RoleService.prepare`; or the prompt is over the role's share of the context.
        """
        role = part.member
        if isinstance(role, Ensemble):
            raise TypeError(role.name)
        addition = combined(self.assignment, part.addition)
        options = self.options
        if addition:
            # The answers of others belong to the newest message, wherever the role's own instruction stands.
            options = replace(options, layout=None)
        model = self.service.model_of(role)
        wanted = (part.limit, client_limit(self.client), role.output_limit, model.output_limit)
        smallest = min(one for one in wanted if one is not None)
        changes = {**part.fields, "max_tokens": smallest}
        told = directed(replace(role, name=part.note_name or role.name), addition)
        given = await self.gathering.for_role(role, model) if self.gathering is not None else None
        prepared = self.service.prepare(
            self.request.changed(changes), told, key=self.key, options=options, given=given
        )  # fmt: skip
        return await within_share(prepared, role, model, self.engines)

    def ended(
        self,
        part: Part,
        state: BranchState,
        *,
        call: Call | None = None,
        message: Text | None = None,
        prepared: Prepared | None = None,
    ) -> None:
        """Say how a role's part ended, and count what it cost."""
        name = part.member.name
        if call is None:
            part.branches = (Branch(name, None, state, message=message),)
        else:
            self.count(call.cost)
            seconds = Seconds(self.budget.clock() - call.begun)
            first = None if call.first is None else Seconds(call.first - call.begun)
            part.branches = (Branch(name, call.model, state, call.cost, seconds, message, first),)
        said = call.said if call is not None and state is not BranchState.FAILED else ""
        part.outcome = Outcome(
            name, state, said, message, None, call.finish_reason if call is not None else None, prepared
        )

    def failed(self, part: Part, error: AnsamblError, *, call: Call | None = None) -> None:
        """Say that a role's part failed."""
        if isinstance(part.member, Role):
            error = with_instruction_named(error, part.member, self.client.messages())
        message = text("The role '{role}' failed: {reason}", role=part.member.name, reason=error.message)
        self.ended(part, BranchState.FAILED, call=call, message=message)
        part.outcome = Outcome(part.member.name, BranchState.FAILED, message=message, error=error)

    def skipped(self, part: Part) -> None:
        """Say that a part was not begun, for lack of tokens or time."""
        self.ended(part, BranchState.SKIPPED, message=self._skipped_message(part))

    def ended_inside(self, part: Part, end: Finished | None, said: str, error: AnsamblError | None) -> None:
        """Say how a nested ensemble ended; its calls are named after it."""
        name = part.member.name
        state, message = BranchState.ANSWERED, None
        if part.inner is not None:
            part.branches = tuple(replace(one, role=f"{name}/{one.role}") for one in part.inner.branches)
            part.sharing = tuple(part.inner.sharing)
            self.count(part.inner.total)
        if error is not None:
            state = BranchState.FAILED
            message = text("The ensemble '{ensemble}' failed: {reason}", ensemble=name, reason=error.message)
        elif not said.strip():
            state = BranchState.FAILED
            message = text("The ensemble '{ensemble}' gave an empty answer.", ensemble=name)
        elif end is not None and end.finish_reason == "length":
            state = BranchState.CUT
        if not part.branches:
            part.branches = (Branch(name, None, state, message=message),)
        spoken = said.strip() if state is not BranchState.FAILED else ""
        part.outcome = Outcome(name, state, spoken, message, error, end.finish_reason if end is not None else None)

    def keep(self, part: Part) -> None:
        """Add a part that has ended to the account, in the order in which parts are shown."""
        self.branches += part.branches
        self.sharing += part.sharing
        if part.outcome is not None and part.outcome.error is not None:
            self.errors.append(part.outcome.error)

    def count(self, usage: Usage | None) -> None:
        """Add what something cost."""
        if usage is not None:
            self.usage.append(usage)
            self.budget.spend(usage.completion_tokens)

    @property
    def total(self) -> Usage:
        """What everything has cost so far."""
        return sum(self.usage, Usage())

    def finished(self, reason: str) -> Finished:
        """The end of the run."""
        return Finished(reason, self.total, tuple(self.branches), tuple(self.sharing))

    # --- what is said of failures -----------------------------------------------------------------------------------

    def _skipped_message(self, part: Part) -> Text:
        """That a member was not asked, for lack of time or tokens."""
        if part.limit < 1:
            return text(
                "The role '{role}' was skipped: {left} of {limit} tokens are left, too few for the answers to come.",
                role=part.member.name,
                left=self.budget.tokens_left or 0,
                limit=self.budget.tokens or 0,
            )
        return text(
            "The role '{role}' was skipped: {used} of {limit} seconds are used, the rest is for the final answer.",
            role=part.member.name,
            used=shown_seconds(self.budget.used_seconds),
            limit=shown_seconds(self.budget.seconds),
        )

    def all_failed(self) -> AnsamblError:
        """The error for a request that no member could answer."""
        if self.errors:
            first = self.errors[0]
            # What the client can mend, or ask again later, keeps its status; the rest is the engine's failure.
            if first.status < 500 or isinstance(first, UnavailableError):
                return first
            failed = EngineError(
                text(
                    "No role of '{ensemble}' could answer: {reason}", ensemble=self.ensemble.name, reason=first.message
                ),
                code=first.code,
            )
            failed.__cause__ = first
            return failed
        reasons = [one.message for one in self.branches if one.message is not None]
        return EngineError(
            text("No role of '{ensemble}' could answer: {reason}", ensemble=self.ensemble.name, reason=reasons[0])
        )
