"""The final answer of an ensemble: the conductor's call, or what there is when no call is possible any more."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ansambl.domain.errors import EngineError
from ansambl.domain.text import text
from ansambl.roles.ensembles.answering import answer
from ansambl.roles.ensembles.budget import shown_seconds
from ansambl.roles.ensembles.events import BranchState, Content, EnsembleEvent, Remark
from ansambl.roles.ensembles.wording import Said, Wording
from ansambl.roles.ensembles.work import Outcome, Part, Work


async def conclude(work: Work, addition: Wording, answers: Sequence[Said]) -> AsyncGenerator[EnsembleEvent, None]:
    """Let the conductor make the final answer; `addition` holds the members' `answers`.

    When no tokens are left for it, the conductor's own answer (else the first one) is the result, and that is said.

    Raises:
        AnsamblError: the conductor failed, or had no time to say anything.
    """
    conductor = work.conductor
    part = Part(conductor, conductor.name, work.budget.limit(work.answer_ceiling), addition)
    # What is remembered of the turn belongs to the ensemble, not to the role that wrote it down.
    part.note_name = work.ensemble.name
    if part.limit < 1:
        own = next((one for one in answers if one.role == conductor.name), answers[0])
        yield Remark(
            text("No tokens are left for a final answer; that of the role '{role}' is the result.", role=own.role)
        )
        yield Content(own.text)
        yield work.finished("length")
        return
    async with aclosing(answer(work, part, deadline=work.budget.deadline, final=True)) as events:
        async for event in events:
            yield event
    yield work.finished(final_reason(work, part))


def final_reason(work: Work, part: Part) -> str:
    """Why the final answer ended, as the client is told.

    Raises:
        AnsamblError: it failed, or there was no time for it.
    """
    outcome = part.outcome
    if outcome is None or outcome.error is not None:
        raise outcome.error if outcome is not None and outcome.error is not None else AssertionError(part.label)
    if outcome.state is BranchState.SKIPPED and part.limit < 1 and outcome.message is not None:
        raise EngineError(outcome.message)
    if outcome.state is BranchState.SKIPPED or (outcome.state is BranchState.FAILED and work.budget.is_over):
        raise EngineError(
            text(
                "The final answer of '{ensemble}' could not be written within {limit} seconds; raise its time limit.",
                ensemble=work.ensemble.name,
                limit=shown_seconds(work.budget.seconds),
            )
        )
    return reason_of(outcome)


def reason_of(outcome: Outcome) -> str:
    """The finish reason of an answer that became the final one."""
    return "length" if outcome.state is BranchState.CUT else outcome.finish_reason or "stop"
