"""The debate: all members answer at once, then answer each other for some rounds, and the conductor decides.

Each sees the newest answers of the others and its own in its note; the conversation before the notes stays the same
bytes in all calls, so each round prefills the notes alone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ansambl.domain.text import text
from ansambl.roles.ensembles.at_once import answer_at_once
from ansambl.roles.ensembles.concluding import conclude
from ansambl.roles.ensembles.events import BranchState, EnsembleEvent, Remark
from ansambl.roles.ensembles.work import Outcome, Part, Work


async def debate(work: Work) -> AsyncGenerator[EnsembleEvent, None]:
    """Answer by a debate.

    A member that failed takes no part in later rounds; what it had said before still counts.

    Raises:
        AnsamblError: no member could answer, or the conductor failed.
    """
    members = {one.name: one for one in work.members}
    speaking = list(members)
    newest: dict[str, Outcome] = {}
    for number in range(work.rounds + 1):
        if number and not _can_go_on(work, newest, speaking):
            break
        to_come = (work.rounds + 1 - number) * len(speaking) + 1
        limit = work.budget.limit(work.ensemble.branch_tokens, to_come=to_come)
        if number and (limit < 1 or work.budget.clock() >= work.budget.stage_deadline):
            yield Remark(
                text(
                    "The debate ends after {count} of {rounds} rounds: its limit is reached.",
                    count=number - 1,
                    rounds=work.rounds,
                )
            )
            break
        parts = [
            Part(
                members[name],
                f"{name} ({number + 1})" if number else name,
                limit,
                work.wordings.rebut(
                    newest[name].answer if name in newest else None,
                    [one.answer for other, one in newest.items() if other != name],
                )
                if number
                else {},
            )
            for name in speaking
        ]
        async with aclosing(answer_at_once(work, parts, deadline=work.budget.stage_deadline)) as events:
            async for event in events:
                yield event
        for part in parts:
            if part.outcome is not None and part.answered:
                newest[part.member.name] = part.outcome
            elif part.outcome is not None and part.outcome.state is BranchState.FAILED:
                speaking.remove(part.member.name)
        if not newest:
            raise work.all_failed()
    answers = [newest[name].answer for name in members if name in newest]
    async with aclosing(conclude(work, work.wordings.verdict(answers), answers)) as events:
        async for event in events:
            yield event


def _can_go_on(work: Work, newest: dict[str, Outcome], speaking: list[str]) -> bool:
    """Whether somebody is there who can answer somebody else; one member alone debates with itself."""
    return bool(speaking) and (len(newest) > 1 or len(work.members) == 1)
