"""One member's answer, read as it comes: a role's call or a whole nested ensemble."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ansambl.dialects.openai_chat import Answer, Delta
from ansambl.domain.errors import AnsamblError
from ansambl.domain.role import Ensemble
from ansambl.roles.ensembles.calls import Call, listen
from ansambl.roles.ensembles.events import BranchFailed, BranchState, Content, EnsembleEvent, Finished, Progress
from ansambl.roles.ensembles.requests import client_limit
from ansambl.roles.ensembles.wording import heading
from ansambl.roles.ensembles.work import Part, Work
from ansambl.roles.service import Prepared

REMEMBERED_NOTE = 2_000
"""The longest note, in characters, that is written into later prompts again when it held answers of others: some 500
tokens. Writing a longer one into every later prompt would cost more of the context than the one answer that is
prefilled again without it."""


async def answer(work: Work, part: Part, *, deadline: float, final: bool) -> AsyncGenerator[EnsembleEvent, None]:
    """Let one member answer: as content and with its thinking shown when `final`, else as progress under its heading.

    Nothing is raised when it fails: `part.outcome` says so, and for progress it is said there too. What a client saw
    of the final answer is remembered with its note, also when the client left.
    """
    if part.limit < 1 or work.budget.clock() >= deadline:
        work.skipped(part)
    else:
        if not final:
            yield title(work, part)
        answering = (
            inside(work, part, deadline=deadline, final=final)
            if isinstance(part.member, Ensemble)
            else _role_answer(work, part, deadline=deadline, final=final)
        )
        async with aclosing(answering) as events:
            async for event in events:
                yield event
    work.keep(part)
    failure = failure_of(part)
    if failure is not None and (not final or _is_no_error(part)):
        yield failure


async def _role_answer(work: Work, part: Part, *, deadline: float, final: bool) -> AsyncGenerator[EnsembleEvent, None]:
    try:
        prepared = await work.prepare(part)
    except AnsamblError as error:
        work.failed(part, error)
        return
    call = call_of(work, part, prepared)
    broken = False
    try:
        deltas = work.engines.ask(prepared.model, prepared.request)
        async with aclosing(speech(work, part, call, deltas, prepared, deadline=deadline, final=final)) as events:
            async for event in events:
                yield event
        broken = part.outcome is None or part.outcome.error is not None
    except Exception:
        broken = True
        raise
    finally:
        if final and not broken:
            remember(work, prepared, call.said)


def call_of(work: Work, part: Part, prepared: Prepared) -> Call:
    """The record of a call that begins now."""
    limit = prepared.request.value("max_tokens")
    return Call(part.member.name, prepared.model, work.budget.clock(), limit)


async def speech(
    work: Work,
    part: Part,
    call: Call,
    deltas: AsyncGenerator[Delta, None],
    prepared: Prepared,
    *,
    deadline: float,
    final: bool = False,
    waits: bool = False,
) -> AsyncGenerator[EnsembleEvent, None]:
    """What a role says, as events; its outcome is there afterwards. Thinking is shown of the final answer alone.

    `waits` tells that others may be before it, so that it may not have begun when its time is over.
    """
    name = part.member.name
    try:
        async with aclosing(listen(call, deltas, deadline=deadline, clock=work.budget.clock)) as pieces:
            async for piece in pieces:
                if not piece.is_thinking:
                    yield Content(piece.text) if final else Progress(piece.text, name)
                elif final:
                    yield Progress(piece.text, name)
    except AnsamblError as error:
        work.failed(part, error, call=call)
        return
    if waits and call.out_of_time and not call.deltas:
        work.skipped(part)
    elif not call.said:
        message = call.silent_message(work.ensemble.name)
        work.ended(part, BranchState.FAILED, call=call, message=message, prepared=prepared)
    elif call.cut:
        # The client's own limit is told by the finish reason, as every engine tells it.
        asked_for = final and not call.out_of_time and call.limit == client_limit(work.client)
        cut = None if asked_for else call.cut_message(work.budget.seconds)
        work.ended(part, BranchState.CUT, call=call, message=cut, prepared=prepared)
    else:
        work.ended(part, BranchState.ANSWERED, call=call, prepared=prepared)


async def inside(
    work: Work, part: Part, *, deadline: float, final: bool = False
) -> AsyncGenerator[EnsembleEvent, None]:
    """What a nested ensemble does, as events of the one around it; its outcome is there afterwards."""
    said: list[str] = []
    end: Finished | None = None
    failure: AnsamblError | None = None
    progressed = False
    try:
        async with aclosing(work.run_inside(work, part, deadline=deadline, final=final)) as events:
            async for event in events:
                if isinstance(event, Finished):
                    end = event
                elif isinstance(event, Content):
                    if not said and progressed and not final:
                        # What follows is its answer, no more its members' words.
                        yield title(work, part)
                    said.append(event.text)
                    yield event if final else Progress(event.text, part.member.name)
                else:
                    progressed = True
                    yield event
    except AnsamblError as error:
        failure = error
    work.ended_inside(part, end, "".join(said), failure)


def title(work: Work, part: Part) -> Progress:
    """The heading of a part."""
    first, work.has_spoken = not work.has_spoken, True
    return Progress(heading(work.shown(part.label), first=first), part.member.name, is_heading=True)


def _is_no_error(part: Part) -> bool:
    """Whether the end of a final answer is told beside it, and not instead of it."""
    outcome = part.outcome
    return outcome is not None and outcome.error is None and outcome.state is not BranchState.SKIPPED


def failure_of(part: Part) -> BranchFailed | None:
    """What is to be said of a part's end; None when it ended well."""
    outcome = part.outcome
    if outcome is None or outcome.message is None:
        return None
    return BranchFailed(part.member.name, outcome.message)


def remember(work: Work, prepared: Prepared, said: str) -> None:
    """Keep the note of the final answer for the next turn, unless it is long."""
    note = prepared.explanation.note if prepared.explanation else None
    if not work.path and note is not None and len(note) <= REMEMBERED_NOTE:
        prepared.remember(Answer(content=said))
