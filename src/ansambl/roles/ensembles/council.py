"""The council: all members answer at once on the prefix that they share, then their answers become one.

Everything before the newest user message, and that message's own text, is the same bytes in all calls; each call adds
only its note. With `samples` above 1 each member answers several times with different seeds (self-consistency). The
conductor merges the answers, or the most frequent short answer wins; free text cannot be voted on and is merged.

The history will show the merged answer only. The conductor's note holds the members' whole answers; it is remembered
when it is short, so that the next turn goes on from the very same prompt.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ansambl.domain.role import Ensemble, Merge
from ansambl.domain.text import text
from ansambl.roles.ensembles import vote
from ansambl.roles.ensembles.at_once import answer_at_once
from ansambl.roles.ensembles.concluding import conclude
from ansambl.roles.ensembles.events import Content, EnsembleEvent, Progress, Remark
from ansambl.roles.ensembles.wording import Said, heading
from ansambl.roles.ensembles.work import Member, Part, Work

SAMPLING_TEMPERATURE = 0.7
"""The temperature of several answers of one role that has none, or 0: with it all of them would be the same."""

_MOST_SHOWN = 8


async def hold(work: Work) -> AsyncGenerator[EnsembleEvent, None]:
    """Answer by a council.

    Raises:
        AnsamblError: no member could answer, or the conductor failed.
    """
    votes = work.ensemble.merge is Merge.VOTE
    parts = _parts(work, votes=votes)
    async with aclosing(answer_at_once(work, parts, deadline=work.budget.stage_deadline)) as events:
        async for event in events:
            yield event
    answers = [part for part in parts if part.answered]
    if not answers:
        raise work.all_failed()
    if votes:
        result = vote.count(_ballots(answers), deciding=work.ensemble.merging_role)
        if result is not None:
            yield Progress(heading(work.shown("="), first=False), work.ensemble.name, is_heading=True)
            yield _shown_votes(result)
            yield Content(result.winner)
            yield work.finished("stop")
            return
        yield Remark(text("The answers are free text, which cannot be voted on; the conductor merges them."))
    addition = work.wordings.merge([_said(part) for part in answers])
    async with aclosing(conclude(work, addition, [_said(part) for part in answers])) as merging:
        async for event in merging:
            yield event


def _parts(work: Work, *, votes: bool) -> list[Part]:
    samples = work.ensemble.samples
    # A vote needs no call of the conductor.
    to_come = len(work.members) * samples + (0 if votes else 1)
    limit = work.budget.limit(work.ensemble.branch_tokens, to_come=to_come)
    addition = work.wordings.short_answer() if votes else {}
    return [
        Part(
            member,
            member.name if samples == 1 else f"{member.name} ({sample + 1})",
            limit,
            addition,
            _sampling(work, member, sample) if samples > 1 else {},
        )
        for member in work.members
        for sample in range(samples)
    ]


def _sampling(work: Work, member: Member, sample: int) -> dict[str, Any]:
    """Request fields that make each sample another one, and the same one again when it is asked again."""
    own = {} if isinstance(member, Ensemble) else member.sampling
    seeds = (work.client.value("seed"), own.get("seed"))
    seed = next((one for one in seeds if isinstance(one, int) and not isinstance(one, bool)), 0)
    heats = (work.client.value("temperature"), own.get("temperature"))
    heat = next((one for one in heats if isinstance(one, (int, float)) and one > 0), SAMPLING_TEMPERATURE)
    return {"seed": seed + sample, "temperature": heat}


def _said(part: Part) -> Said:
    return Said(part.label, part.outcome.said if part.outcome else "")


def _ballots(parts: Sequence[Part]) -> list[vote.Ballot]:
    return [vote.Ballot(part.member.name, vote.short_answer(_said(part).text)) for part in parts]


def _shown_votes(result: vote.Result) -> Remark:
    shown = [f"{one.answer}: {len(one.voters)} ({', '.join(one.voters)})" for one in result.counts[:_MOST_SHOWN]]
    if len(result.counts) > _MOST_SHOWN:
        shown.append("…")
    votes = "; ".join(shown)
    if result.tied:
        return Remark(text("Votes: {votes}. A tie; it is decided for {winner}.", votes=votes, winner=result.winner))
    return Remark(text("Votes: {votes}.", votes=votes))
