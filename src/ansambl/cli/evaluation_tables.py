"""What ``ansambl eval`` prints for people."""

from __future__ import annotations

from ansambl.cli.output import note, print_signed, print_table, say
from ansambl.domain.languages import language_name
from ansambl.domain.text import Text
from ansambl.domain.units import time_words
from ansambl.evaluation.records import Settings
from ansambl.evaluation.statistics import Share
from ansambl.evaluation.summary import Standing, Summary
from ansambl.evaluation.task_file import TaskSet
from ansambl.foundation.locales import speak

_NOTHING = "–"


def print_summary(summary: Summary, tasks: TaskSet, settings: Settings) -> None:
    """Print tables and verdicts."""
    say(
        speak(
            "{tasks} tasks of {file}, each asked {repeat} times; {tokens} tokens for each answer; seed {seed}"
        ).format(
            tasks=summary.tasks, file=tasks.name, repeat=settings.repeat, tokens=settings.tokens, seed=settings.seed
        )
    )
    standings = summary.standings
    headers = (speak("Who"), speak("Right"), speak("95 % sure"), speak("Answered"), speak("Cut off"), speak("Errors"),
               speak("Not run"))  # fmt: skip
    print_table(speak("Right answers"), headers, [
        (one.contestant.label, _percent(one.right), _interval(one.right), str(one.answers), str(one.cut),
         str(one.errors), str(one.not_run)) for one in standings
    ])  # fmt: skip
    _print_parts(standings)
    headers = (speak("Who"), speak("Prompt"), speak("Cached"), speak("Prefilled"), speak("Generated"),
               speak("Median time"), speak("Time in all"))  # fmt: skip
    print_table(speak("Cost in tokens and time"), headers, [
        (one.contestant.label, str(one.cost.prompt_tokens),
         _NOTHING if one.cost.cached_tokens is None else str(one.cost.cached_tokens), str(one.cost.prefilled_tokens),
         str(one.cost.completion_tokens), time_words(one.median_seconds, speak), time_words(one.cost.seconds, speak))
        for one in standings
    ])  # fmt: skip
    _print_refusals(standings)
    _print_verdicts(summary)
    _print_notes(standings)


def _print_parts(standings: tuple[Standing, ...]) -> None:
    kinds = sorted({kind for one in standings for kind in one.by_kind})
    languages = sorted({tongue for one in standings for tongue in one.by_language})
    parts = [*kinds, *(languages if len(languages) > 1 else ())]
    if len(parts) > 1:
        rows = [
            (one.contestant.label, *(_with_count({**one.by_kind, **one.by_language}.get(part)) for part in parts))
            for one in standings
        ]
        titles = [speak("Who"), *kinds, *(_language(tongue) for tongue in parts[len(kinds) :])]
        print_table(speak("Right by kind and language"), titles, rows)


def _print_refusals(standings: tuple[Standing, ...]) -> None:
    languages = sorted({tongue for one in standings for tongue in one.refused})
    if languages:
        rows = [
            (one.contestant.label, *(_with_count(one.refused.get(tongue)) for tongue in languages),
             str(one.refused_others)) for one in standings
        ]  # fmt: skip
        titles = [speak("Who"), *(_language(tongue) for tongue in languages), speak("Other tasks")]
        print_table(speak("Harmless questions refused"), titles, rows)


def _print_verdicts(summary: Summary) -> None:
    if summary.comparisons:
        say("")
        say(speak("Verdicts"))
        print_signed("·", "", [f"{one.contestant}: {one.verdict.render(speak)}" for one in summary.comparisons])


def _print_notes(standings: tuple[Standing, ...]) -> None:
    for one in standings:
        label = one.contestant.label
        for reason, count in one.reasons[:3]:
            note(speak("{name}: {count} × {reason}").format(name=label, count=count, reason=reason))
        if one.over:
            note(speak("{name}: {count} answers went over the budget of tokens").format(name=label, count=one.over))
    if any(one.refused for one in standings):
        note(speak("Refusals are recognised by phrases at the beginning of an answer, in English and Russian."))


def _percent(share: Share) -> str:
    return _NOTHING if share.value is None else f"{100 * share.value:.0f} %"


def _interval(share: Share) -> str:
    return _NOTHING if share.value is None else f"{100 * share.low:.0f}–{100 * share.high:.0f} %"


def _with_count(share: Share | None) -> str:
    if share is None or share.value is None:
        return _NOTHING
    return speak("{percent} of {count}").format(percent=_percent(share), count=share.tasks)


def _language(code: str) -> str:
    name = language_name(code)
    return name.render(speak) if isinstance(name, Text) else name
