"""The council: the roles answer one after another on the prefix that they share, a conductor merges their answers.

Everything before the newest user message, and that message's own text, is the same bytes in all calls; each call adds
only its note. Tools and response format stand at the head of a prompt, so they stay in every call, and the
same ``tool_choice = "none"`` keeps all of them from calling a tool: a council talks, it does not act.

The history will show the merged answer only. The conductor's note holds the roles' whole answers; it is remembered
when it is short, so that the next turn goes on from the very same prompt. A long one is left out: writing it into
every later prompt would cost more of the context than the one answer that is prefilled again without it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from ansambl.dialects.openai_chat import Answer, ChatRequest, Delta, Usage
from ansambl.domain.errors import AnsamblError, EngineError, RequestError, UnavailableError
from ansambl.domain.role import Ensemble, Layout, Role
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.roles.canonical import strip_thinking
from ansambl.roles.ensembles.events import (
    AskModel,
    Branch,
    BranchFailed,
    BranchState,
    Content,
    EnsembleEvent,
    Finished,
    Progress,
)
from ansambl.roles.ensembles.thinking import Piece, ThinkingSplitter
from ansambl.roles.service import Prepared, RoleService

BRANCH_SHARE = 0.75
"""The part of the time limit that the roles may use; the rest is the conductor's."""

REMEMBERED_NOTE = 2_000
"""The longest conductor's note, in characters, that is written into later prompts again: some 500 tokens."""

_CHARACTERS_PER_TOKEN = 6
_MERGE = """\
The roles below have answered the message above, each on its own. Merge their answers into the one final answer to \
the message: keep what is right and useful, drop what is wrong or said twice, decide contradictions by their reasons, \
and name in one sentence what stays open. Do not speak of the roles or of this merging. Write in the language of the \
message."""


async def run(
    ensemble: Ensemble,
    request: ChatRequest,
    *,
    service: RoleService,
    ask: AskModel,
    key: str,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncGenerator[EnsembleEvent, None]:
    """Answer `request` by the roles of `ensemble`. Close the generator to end the call that is running.

    `clock` tells seconds that never jump. A role that fails is reported and does not stop the others. When the
    time limit is near, roles that have not begun are skipped and the one that speaks is cut.

    Raises:
        RequestError: the request asks for more than one answer, or no role could do anything with it.
        EngineError: every role failed, or the conductor did.
        UnavailableError: every role failed, and the first because its model cannot answer now.
    """
    _check(request)
    council = _Council(ensemble, request, service, ask, key, clock)
    async with aclosing(council.events()) as events:
        async for event in events:
            yield event


def _check(request: ChatRequest) -> None:
    """Refuse what an engine would refuse of a role's request, and what an ensemble cannot do."""
    count = request.value("n")
    if count is not None and count != 1:
        raise RequestError(
            text("An ensemble gives one answer; leave out 'n' or set it to 1."), param="n", code="unsupported_value"
        )
    if not isinstance(request.value("stream"), bool | None):
        raise RequestError(text("The field 'stream' must be true or false."), param="stream")
    for name in ("max_tokens", "max_completion_tokens"):
        limit = request.value(name)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise RequestError(text("The field '{name}' must be a whole number from 1 on.", name=name), param=name)


@dataclass(slots=True)
class _Call:
    """One call to a model: what came of it so far."""

    role: str
    model: str
    begun: float
    content: str = ""
    thought: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    out_of_time: bool = False
    splitter: ThinkingSplitter = field(default_factory=ThinkingSplitter)


class _Council:
    def __init__(
        self,
        ensemble: Ensemble,
        request: ChatRequest,
        service: RoleService,
        ask: AskModel,
        key: str,
        clock: Callable[[], float],
    ) -> None:
        self._ensemble = ensemble
        self._client = request
        self._request = _common_request(request)
        self._service = service
        self._ask = ask
        self._key = key
        self._clock = clock
        self._begun = clock()
        self._answers: list[tuple[str, str]] = []
        self._branches: list[Branch] = []
        self._errors: list[AnsamblError] = []
        self._usage: list[Usage] = []

    async def events(self) -> AsyncGenerator[EnsembleEvent, None]:
        for name in self._ensemble.roles:
            async with aclosing(self._branch(self._service.catalog.roles[name])) as events:
                async for event in events:
                    yield event
        if not self._answers:
            raise self._all_failed()
        async with aclosing(self._merge()) as merging:
            async for event in merging:
                yield event

    # --- the roles --------------------------------------------------------------------------------------------------

    async def _branch(self, role: Role) -> AsyncGenerator[EnsembleEvent, None]:
        deadline = self._begun + self._ensemble.seconds * BRANCH_SHARE
        if self._clock() >= deadline:
            yield self._failed(role.name, None, BranchState.SKIPPED, self._skipped(role))
            return
        call: _Call | None = None
        try:
            prepared = self._prepare(role, self._ensemble.branch_tokens)
            call = _Call(role.name, prepared.model, self._clock())
            yield Progress(_heading(role.name, first=not self._branches), role.name)
            async with aclosing(self._pieces(call, prepared, deadline)) as pieces:
                async for piece in pieces:
                    if not piece.is_thinking:
                        yield Progress(piece.text, role.name)
        except AnsamblError as error:
            self._errors.append(error)
            failed = text("The role '{role}' failed: {reason}", role=role.name, reason=error.message)
            yield self._failed(role.name, call, BranchState.FAILED, failed)
            return
        said = strip_thinking(call.content)
        if not said:
            yield self._failed(role.name, call, BranchState.FAILED, self._silent(call))
            return
        self._answers.append((role.name, said))
        if call.out_of_time:
            cut = text("The role '{role}' was cut at the time limit; what it had said is used.", role=role.name)
            yield self._failed(role.name, call, BranchState.CUT, cut)
        else:
            self._ended(role.name, call, BranchState.ANSWERED)

    def _prepare(self, role: Role, limit: int) -> Prepared:
        model = self._service.model_of(role)
        wanted = (limit, _client_limit(self._client), role.output_limit, model.output_limit)
        smallest = min(one for one in wanted if one is not None)
        return self._service.prepare(self._request.changed({"max_tokens": smallest}), role, key=self._key)

    def _failed(self, role: str, call: _Call | None, state: BranchState, message: Text) -> BranchFailed:
        self._ended(role, call, state, message)
        return BranchFailed(role, message)

    def _ended(self, role: str, call: _Call | None, state: BranchState, message: Text | None = None) -> None:
        if call is None:
            self._branches.append(Branch(role, None, state, message=message))
            return
        if call.usage is not None:
            self._usage.append(call.usage)
        seconds = Seconds(self._clock() - call.begun)
        self._branches.append(Branch(role, call.model, state, call.usage, seconds, message))

    def _skipped(self, role: Role) -> Text:
        return text(
            "The role '{role}' was skipped: {used} of {limit} seconds are used, the rest is for merging.",
            role=role.name,
            used=round(self._clock() - self._begun),
            limit=round(self._ensemble.seconds),
        )

    def _silent(self, call: _Call) -> Text:
        if call.out_of_time:
            return text("The role '{role}' said nothing before the time limit.", role=call.role)
        if call.thought and call.finish_reason == "length":
            return text(
                "The role '{role}' used all its tokens for thinking; raise branch_tokens of the ensemble '{ensemble}'.",
                role=call.role,
                ensemble=self._ensemble.name,
            )
        return text("The role '{role}' gave an empty answer.", role=call.role)

    def _all_failed(self) -> AnsamblError:
        if self._errors:
            first = self._errors[0]
            # What the client can mend, or ask again later, keeps its status; the rest is the engine's failure.
            if first.status < 500 or isinstance(first, UnavailableError):
                return first
            failed = EngineError(
                text(
                    "No role of '{ensemble}' could answer: {reason}", ensemble=self._ensemble.name, reason=first.message
                ),
                code=first.code,
            )
            failed.__cause__ = first
            return failed
        reasons = [one.message for one in self._branches if one.message is not None]
        return EngineError(
            text("No role of '{ensemble}' could answer: {reason}", ensemble=self._ensemble.name, reason=reasons[0])
        )

    # --- the conductor ----------------------------------------------------------------------------------------------

    async def _merge(self) -> AsyncGenerator[EnsembleEvent, None]:
        conductor = self._service.catalog.roles[self._ensemble.merging_role]
        prepared = self._prepare(self._merging_role(conductor), self._ensemble.answer_tokens)
        call = _Call(self._ensemble.name, prepared.model, self._clock())
        said: list[str] = []
        broken = False
        try:
            deadline = self._begun + self._ensemble.seconds
            async with aclosing(self._pieces(call, prepared, deadline)) as pieces:
                async for piece in pieces:
                    if piece.is_thinking:
                        yield Progress(piece.text, conductor.name)
                    else:
                        said.append(piece.text)
                        yield Content(piece.text)
        except Exception:
            broken = True
            raise
        finally:
            note = prepared.explanation.note if prepared.explanation else None
            if not broken and note is not None and len(note) <= REMEMBERED_NOTE:
                prepared.remember(Answer(content="".join(said)))
        if call.out_of_time and not said:
            raise EngineError(
                text(
                    "The answers of '{ensemble}' could not be merged within {limit} seconds; raise its time limit.",
                    ensemble=self._ensemble.name,
                    limit=round(self._ensemble.seconds),
                )
            )
        self._ended(conductor.name, call, BranchState.CUT if call.out_of_time else BranchState.ANSWERED)
        reason = "length" if call.out_of_time else call.finish_reason or "stop"
        yield Finished(reason, sum(self._usage, Usage()), tuple(self._branches))

    def _merging_role(self, conductor: Role) -> Role:
        # In the classic layout all the answers would stand at the head and nothing of the conversation be shared.
        limit = self._ensemble.branch_tokens * _CHARACTERS_PER_TOKEN
        parts = [conductor.instruction.strip(), _MERGE]
        parts += [f'<answer role="{role}">\n{_clip(said, limit)}\n</answer>' for role, said in self._answers]
        return replace(
            conductor,
            name=self._ensemble.name,
            instruction="\n\n".join(part.strip() for part in parts if part),
            layout=Layout.SHARED_PREFIX,
        )

    # --- one call ---------------------------------------------------------------------------------------------------

    async def _pieces(self, call: _Call, prepared: Prepared, deadline: float) -> AsyncGenerator[Piece, None]:
        async with aclosing(self._ask(prepared.model, prepared.request)) as deltas:
            while True:
                delta = await self._next(call, deltas, deadline)
                if delta is None:
                    break
                for piece in _read(call, delta):
                    yield piece
        for piece in call.splitter.finish():
            _note(call, piece)
            yield piece

    async def _next(self, call: _Call, deltas: AsyncGenerator[Delta, None], deadline: float) -> Delta | None:
        left = deadline - self._clock()
        if left <= 0:
            call.out_of_time = True
            return None
        try:
            # The limit stands around the waiting only: a limit around a `yield` would fire in the caller's code.
            async with asyncio.timeout(left):
                return await anext(deltas)
        except StopAsyncIteration:
            return None
        except TimeoutError:
            call.out_of_time = True
            return None


def _read(call: _Call, delta: Delta) -> Sequence[Piece]:
    if delta.error is not None:
        reason = str(delta.error.get("message") or "the engine gave no reason")
        raise EngineError(text("The engine broke off: {reason}", reason=reason))
    call.finish_reason = delta.finish_reason or call.finish_reason
    call.usage = delta.usage or call.usage
    pieces = [Piece(delta.reasoning, is_thinking=True)] if delta.reasoning else []
    pieces += call.splitter.feed(delta.content) if delta.content else []
    for piece in pieces:
        _note(call, piece)
    return pieces


def _note(call: _Call, piece: Piece) -> None:
    if piece.is_thinking:
        call.thought = True
    else:
        call.content += piece.text


def _common_request(request: ChatRequest) -> ChatRequest:
    """What all calls of a council have in common."""
    dropped = ("n", "max_completion_tokens", "logprobs", "top_logprobs", "parallel_tool_calls")
    changes = {name: None for name in dropped if name in request.fields}
    has_tools = request.value("tools") is not None
    return request.changed(
        {
            **changes,
            "stream": True,
            "stream_options": {"include_usage": True},
            # Engines refuse the field when there are no tools.
            "tool_choice": "none" if has_tools else None,
        }
    )


def _client_limit(request: ChatRequest) -> int | None:
    limits = [request.value(name) for name in ("max_tokens", "max_completion_tokens")]
    return min((one for one in limits if isinstance(one, int) and one > 0), default=None)


def _heading(role: str, *, first: bool) -> str:
    return f"**{role}**\n\n" if first else f"\n\n**{role}**\n\n"


def _clip(said: str, limit: int) -> str:
    if len(said) <= limit:
        return said
    cut = said[:limit]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut[limit // 2 :] else cut} […]"
