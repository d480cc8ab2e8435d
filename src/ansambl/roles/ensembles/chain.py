"""The chain: one drafts, others review, the first one revises.

The reviewers review at once, on the prefix that they share. A reviewer that asks for no change says so with one agreed
word; when none of them asks for a change, the draft is the answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from ansambl.domain.text import text
from ansambl.roles.ensembles.answering import answer, remember
from ansambl.roles.ensembles.at_once import answer_at_once
from ansambl.roles.ensembles.concluding import final_reason, reason_of
from ansambl.roles.ensembles.events import Content, EnsembleEvent, Remark
from ansambl.roles.ensembles.wording import approves
from ansambl.roles.ensembles.work import Outcome, Part, Work


async def pass_along(work: Work) -> AsyncGenerator[EnsembleEvent, None]:
    """Answer by a chain.

    Raises:
        AnsamblError: there is no draft, or the last revision failed after some of it was sent.
    """
    author, *reviewers = work.members
    per_round = len(reviewers) + 1
    to_come = 1 + work.rounds * per_round
    limit = work.budget.limit(work.answer_ceiling, to_come=to_come)
    draft = Part(author, author.name, limit)
    async with aclosing(answer(work, draft, deadline=work.budget.stage_deadline, final=False)) as events:
        async for event in events:
            yield event
    if draft.outcome is None or not draft.answered:
        raise work.all_failed()
    best = draft.outcome
    for number in range(1, work.rounds + 1):
        to_come = 1 + (work.rounds - number) * per_round
        reviews = [
            Part(
                one,
                one.name if number == 1 else f"{one.name} ({number})",
                work.budget.limit(work.ensemble.branch_tokens, to_come=to_come + len(reviewers)),
                work.wordings.review(best.answer),
            )
            for one in reviewers
        ]
        async with aclosing(answer_at_once(work, reviews, deadline=work.budget.stage_deadline)) as events:
            async for event in events:
                yield event
        remark = _nothing_to_do(reviews)
        if remark is not None:
            yield remark
            break
        asked = [
            one.outcome.answer for one in reviews if one.outcome and one.answered and not approves(one.outcome.said)
        ]
        last = number == work.rounds
        revision = Part(
            author,
            author.name if last else f"{author.name} ({number + 1})",
            work.budget.limit(work.answer_ceiling, to_come=to_come),
            work.wordings.revise(best.answer, asked),
        )
        deadline = work.budget.deadline if last else work.budget.stage_deadline
        sent = False
        async with aclosing(answer(work, revision, deadline=deadline, final=last)) as events:
            async for event in events:
                sent = sent or isinstance(event, Content)
                yield event
        if sent:
            yield work.finished(final_reason(work, revision))
            return
        if revision.outcome is None or not revision.answered:
            yield Remark(text("There is no revision, so the draft is the answer."))
            break
        best = revision.outcome
    for event in _result(work, best):
        yield event


def _nothing_to_do(reviews: Sequence[Part]) -> Remark | None:
    answered = [one.outcome.said for one in reviews if one.outcome is not None and one.answered]
    if not answered:
        return Remark(text("There is no review, so the draft is the answer."))
    if all(map(approves, answered)):
        return Remark(text("No review asks for a change, so the draft is the answer."))
    return None


def _result(work: Work, outcome: Outcome) -> list[EnsembleEvent]:
    """A text that was shown as progress is the answer."""
    if outcome.prepared is not None:
        remember(work, outcome.prepared, outcome.said)
    return [Content(outcome.said), work.finished(reason_of(outcome))]
