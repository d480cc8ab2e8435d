"""Asking all contestants the same tasks, interleaved, each answer graded and handed on as it comes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Sequence

from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import text
from ansambl.evaluation.final_answer import without_thinking
from ansambl.evaluation.grading import Grader, State
from ansambl.evaluation.records import Asker, AskError, Contestant, Cost, Job, Outcome, Reply, Settings
from ansambl.evaluation.refusals import refusal_in
from ansambl.evaluation.tasks import Message, Task

_ERRORS_IN_A_ROW = 20


class StoppedError(AnsamblError):
    """So many requests failed one after another that going on makes no sense."""


def choose_tasks(tasks: Sequence[Task], limit: int | None, seed: int) -> tuple[Task, ...]:
    """The tasks in the order of `seed`, the first `limit` of them: a larger limit goes on where a smaller one ended."""
    shuffled = sorted(tasks, key=lambda one: one.id)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, no secret
    return tuple(shuffled[:limit])


def make_jobs(tasks: Sequence[Task], contestants: Sequence[Contestant], repeat: int) -> list[Job]:
    """All that is to be asked. Contestants take turns in being first, so that noise and a warm cache fall on all."""
    jobs = []
    for turn in range(repeat):
        for index, task in enumerate(tasks):
            first = (index + turn) % len(contestants)
            jobs += [Job(task, one, turn) for one in (*contestants[first:], *contestants[:first])]
    return jobs


async def run_jobs(
    jobs: Sequence[Job], asker: Asker, grader: Grader, settings: Settings, on_outcome: Callable[[Outcome], None],
    *, done: Collection[tuple[str, str, int]] = (),
) -> None:  # fmt: skip
    """Do all `jobs` but those whose places are `done`, `settings.parallel` at a time; tells each outcome.

    Raises:
        StoppedError: 20 requests in a row failed; what was told before holds.
    """
    waiting = iter([one for one in jobs if one.place not in done])
    failed_in_a_row = 0

    async def work() -> None:
        nonlocal failed_in_a_row
        for job in waiting:
            outcome = await do_job(job, asker, grader, settings)
            on_outcome(outcome)
            failed_in_a_row = failed_in_a_row + 1 if outcome.state is State.ERROR else 0
            if failed_in_a_row >= _ERRORS_IN_A_ROW:
                raise StoppedError(text("{count} requests failed one after another, the last because: {reason}",
                                        count=failed_in_a_row, reason=outcome.reason))  # fmt: skip

    workers = [asyncio.create_task(work()) for _ in range(settings.parallel)]
    try:
        await asyncio.gather(*workers)
    finally:
        for one in workers:
            one.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def do_job(job: Job, asker: Asker, grader: Grader, settings: Settings) -> Outcome:
    """Ask one contestant one task and grade its answer."""
    task = job.task
    messages: list[Message] = list(task.messages)
    replies: list[Reply] = []
    try:
        for question in task.asks:
            messages.append({"role": "user", "content": question})
            reply = await asker.ask(job.contestant, messages, settings)
            replies.append(reply)
            messages.append({"role": "assistant", "content": without_thinking(reply.content) or "…"})
    except AskError as error:
        return _outcome(job, State.ERROR, replies, reason=error.message)
    last = replies[-1]
    graded = await grader.grade(task, last.content)
    over = any(one.cost.completion_tokens > settings.tokens for one in replies)
    return _outcome(job, graded.state, replies, answer=last.content, final=graded.final[:2000], reason=graded.reason,
                    refusal=refusal_in(last.content), finish_reason=last.finish_reason, over=over)  # fmt: skip


def _outcome(job: Job, state: State, replies: Sequence[Reply], **fields: object) -> Outcome:
    cost = sum((one.cost for one in replies), Cost())
    branches = tuple(branch for one in replies for branch in one.branches)
    return Outcome(
        *job.place, kind=job.task.kind, language=job.task.language, state=state, cost=cost, branches=branches,
        **fields,  # type: ignore[arg-type]  # fields of `Outcome`, by name
    )  # fmt: skip
