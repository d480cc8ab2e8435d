"""What a run shows: shares with intervals, paired differences, costs, refusals, and a verdict in words. Pure."""

from __future__ import annotations

import statistics as plain_statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.role import Layout
from ansambl.domain.text import Text, text
from ansambl.evaluation.grading import State
from ansambl.evaluation.records import Contestant, Cost, Outcome
from ansambl.evaluation.statistics import Difference, Share, difference_of, holm, share_of

_JUDGED = {State.RIGHT, State.WRONG}
_HARMLESS = "harmless"
DETECT = 0.05
"""The difference that matters to us, as a share: five points."""
SIGNIFICANT = 0.05
_DEARER, _CHEAPER = 1.1, 0.9


@dataclass(frozen=True, slots=True)
class Standing:
    """How one contestant did. `right` counts every check but "harmless".

    `refused` are the shares of harmless questions that were refused, by language; `refused_others` counts refusals of
    other tasks. `cut` answers were ended by the token budget, `over` ones went past it.
    """

    contestant: Contestant
    right: Share
    by_kind: Mapping[str, Share]
    by_language: Mapping[str, Share]
    refused: Mapping[str, Share]
    refused_others: int
    answers: int
    errors: int
    not_run: int
    cut: int
    over: int
    cost: Cost
    median_seconds: float
    reasons: tuple[tuple[str, int], ...] = ()
    """Why requests failed or checks could not be done, with how often; the most frequent first."""


class Judgement(StrEnum):
    """What can be said of a contestant against another."""

    BETTER = "better"
    NOT_WORTH_IT = "not-worth-it"
    WORSE_BUT_CHEAPER = "worse-but-cheaper"
    AS_GOOD = "as-good"
    CANNOT_TELL = "cannot-tell"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One contestant against another on the tasks that both answered; `p` is adjusted for several comparisons.

    `tokens_ratio` is of tokens that were computed (read and generated, not cached), `generated_ratio` of generated
    ones, `seconds_ratio` of time; None where the other one's is 0.
    """

    contestant: str
    against: str
    difference: Difference | None
    p: float
    tokens_ratio: float | None
    generated_ratio: float | None
    seconds_ratio: float | None
    judgement: Judgement
    verdict: Text


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run shows."""

    standings: tuple[Standing, ...]
    comparisons: tuple[Comparison, ...]
    tasks: int


def summarise(contestants: Sequence[Contestant], outcomes: Iterable[Outcome]) -> Summary:
    """Sum up a run: each contestant against the first, and each layout of a name against its classic layout."""
    by_label: dict[str, list[Outcome]] = defaultdict(list)
    tasks = set()
    for one in outcomes:
        by_label[one.contestant].append(one)
        tasks.add(one.task)
    standings = tuple(_standing(one, by_label[one.label]) for one in contestants)
    pairs = comparisons_of(contestants)
    raw = [(one, other, _difference(by_label[one], by_label[other])) for one, other in pairs]
    adjusted = holm([found.p if found else 1.0 for _, _, found in raw])
    comparisons = tuple(
        _compare(one, other, found, p, by_label) for (one, other, found), p in zip(raw, adjusted, strict=True)
    )
    return Summary(standings, comparisons, len(tasks))


def comparisons_of(contestants: Sequence[Contestant]) -> list[tuple[str, str]]:
    """Which labels are compared: each with the first, and each name's layouts with its classic one."""
    first = contestants[0].label
    pairs = [(one.label, first) for one in contestants[1:]]
    for one in contestants:
        for other in contestants:
            if one.name == other.name and one.layout not in {None, Layout.CLASSIC} and other.layout is Layout.CLASSIC:
                ours = (one.label, other.label)
                # The same two the other way round say nothing more.
                pairs = [pair for pair in pairs if pair not in {ours, ours[::-1]}] + [ours]
    return pairs


def _answers_by_task(outcomes: Iterable[Outcome]) -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = defaultdict(list)
    for one in outcomes:
        if one.state in _JUDGED and one.kind != _HARMLESS:
            found[one.task].append(one.state is State.RIGHT)
    return found


def _share(outcomes: Iterable[Outcome]) -> Share:
    return share_of(list(_answers_by_task(outcomes).values()))


def _standing(contestant: Contestant, outcomes: Sequence[Outcome]) -> Standing:
    answered = [one for one in outcomes if one.state is not State.ERROR]
    judged = [one for one in answered if one.kind != _HARMLESS]
    harmless = [one for one in answered if one.kind == _HARMLESS]
    reasons: dict[str, int] = defaultdict(int)
    for one in outcomes:
        if one.state not in _JUDGED:
            reasons[str(one.reason)] += 1
    return Standing(
        contestant,
        _share(judged),
        {kind: _share(one for one in judged if one.kind == kind) for kind in sorted({one.kind for one in judged})},
        {tongue: _share(one for one in judged if one.language == tongue)
         for tongue in sorted({one.language for one in judged})},
        {tongue: _refused([one for one in harmless if one.language == tongue])
         for tongue in sorted({one.language for one in harmless})},
        refused_others=sum(one.refusal is not None for one in judged),
        answers=len(answered),
        errors=len(outcomes) - len(answered),
        not_run=sum(one.state is State.NOT_RUN for one in outcomes),
        cut=sum(one.finish_reason == "length" for one in answered),
        over=sum(one.over for one in answered),
        cost=sum((one.cost for one in answered), Cost()),
        median_seconds=plain_statistics.median(one.cost.seconds for one in answered) if answered else 0.0,
        reasons=tuple(sorted(reasons.items(), key=lambda one: (-one[1], one[0]))),
    )  # fmt: skip


def _refused(outcomes: Iterable[Outcome]) -> Share:
    tasks: dict[str, list[bool]] = defaultdict(list)
    for one in outcomes:
        tasks[one.task].append(one.refusal is not None)
    return share_of(list(tasks.values()))


def _difference(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> Difference | None:
    first, second = _answers_by_task(ours), _answers_by_task(theirs)
    both = [one for one in first if one in second]
    return difference_of([(first[one], second[one]) for one in both], detect=DETECT)


def _compare(
    one: str, other: str, found: Difference | None, p: float, by_label: Mapping[str, Sequence[Outcome]]
) -> Comparison:
    cost, reference = _common_costs(by_label[one], by_label[other])
    tokens = _ratio(cost.computed_tokens, reference.computed_tokens)
    generated = _ratio(cost.completion_tokens, reference.completion_tokens)
    seconds = _ratio(cost.seconds, reference.seconds)
    judgement = judge(found, p, tokens, seconds)
    return Comparison(one, other, found, p, tokens, generated, seconds, judgement,
                      verdict_of(judgement, other, found, tokens, seconds))  # fmt: skip


def _common_costs(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> tuple[Cost, Cost]:
    """The costs of what both answered, or a contestant that fails often would look cheap."""
    first = {(one.task, one.repeat): one.cost for one in ours if one.state is not State.ERROR}
    second = {(one.task, one.repeat): one.cost for one in theirs if one.state is not State.ERROR}
    both = [one for one in first if one in second]
    return sum((first[one] for one in both), Cost()), sum((second[one] for one in both), Cost())


def _ratio(one: float, other: float) -> float | None:
    return one / other if other else None


def judge(found: Difference | None, p: float, tokens: float | None, seconds: float | None) -> Judgement:
    """What a difference and its cost amount to.

    A difference is shown when its interval leaves out 0 and its adjusted p is below 0.05. Where none is shown, but
    the interval lies within five points of 0 on the side that matters, more cost is not worth it and less cost is as
    good. Dearer means a tenth more tokens or time, cheaper a tenth less of one and no more of the other.
    """
    if found is None:
        return Judgement.CANNOT_TELL
    ratios = [one for one in (tokens, seconds) if one is not None]
    dearer = any(one > _DEARER for one in ratios)
    cheaper = not dearer and any(one < _CHEAPER for one in ratios)
    if p < SIGNIFICANT and found.low > 0:
        return Judgement.BETTER
    if p < SIGNIFICANT and found.high < 0:
        return Judgement.WORSE_BUT_CHEAPER if cheaper else Judgement.NOT_WORTH_IT
    if dearer and found.high < DETECT:
        return Judgement.NOT_WORTH_IT
    if not dearer and found.low > -DETECT:
        return Judgement.AS_GOOD
    return Judgement.CANNOT_TELL


def verdict_of(
    judgement: Judgement, against: str, found: Difference | None, tokens: float | None, seconds: float | None
) -> Text:
    """The judgement as a sentence."""
    if found is None:
        return text("cannot tell: there is no task that both this and {against} answered", against=against)
    values = {
        "against": against, "points": _points(abs(found.value)), "low": _signed(found.low), "high": _signed(found.high),
        "price": text("{tokens} times the tokens and {seconds} times the time", tokens=_times(tokens),
                      seconds=_times(seconds)),
    }  # fmt: skip
    if judgement is Judgement.CANNOT_TELL:
        return _too_few(found, values)
    if judgement is Judgement.NOT_WORTH_IT and found.high >= 0:
        return text("not worth it: no difference to {against} could be shown, it is at most {most} points better, "
                    "for {price}", most=_points(found.high), **values)  # fmt: skip
    if judgement is Judgement.AS_GOOD:
        return text("as good as {against}: no difference could be shown, it is at most {most} points worse, "
                    "for {price}", most=_points(max(0.0, -found.low)), **values)  # fmt: skip
    shown = {
        Judgement.BETTER: text("better than {against} by {points} points ({low} to {high}) for {price}", **values),
        Judgement.WORSE_BUT_CHEAPER: text(
            "worse than {against} by {points} points ({low} to {high}), but for {price}", **values
        ),
        Judgement.NOT_WORTH_IT: text(
            "not worth it: worse than {against} by {points} points ({low} to {high}), for {price}", **values
        ),
    }
    return shown[judgement]


def _too_few(found: Difference, values: Mapping[str, object]) -> Text:
    if found.needed <= found.tasks:
        return text("cannot tell: no difference to {against} could be shown ({low} to {high} points, for {price}); "
                    "what there may be is small for {tasks} tasks", tasks=found.tasks, **values)  # fmt: skip
    return text(
        "cannot tell: no difference to {against} could be shown ({low} to {high} points, for {price}); {tasks} tasks "
        "are too few, about {needed} would be needed to show a difference of {detect} points", tasks=found.tasks,
        needed=found.needed, detect=_points(DETECT), **values,
    )  # fmt: skip


def _times(ratio: float | None) -> str:
    return "?" if ratio is None else f"{ratio:.1f}" if ratio >= 0.095 else f"{ratio:.2g}"


def _points(share: float) -> str:
    return f"{100 * share:.0f}" if round(100 * share, 1) == round(100 * share) else f"{100 * share:.1f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.0f}"
