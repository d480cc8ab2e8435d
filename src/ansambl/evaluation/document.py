"""A run's summary as one JSON document. Scripts depend on its keys: add, never rename. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansambl.evaluation.records import Settings
from ansambl.evaluation.statistics import Share
from ansambl.evaluation.summary import Comparison, Standing, Summary
from ansambl.evaluation.task_file import TaskSet


def summary_document(
    summary: Summary, tasks: TaskSet, settings: Settings, translate: Callable[[str], str], *, interrupted: bool = False
) -> dict[str, Any]:
    """The document of ``eval --json``; verdicts in the language of `translate`. Shares are between 0 and 1."""
    return {
        "tasks": {"name": tasks.name, "digest": tasks.digest, "in_file": len(tasks.tasks), "asked": summary.tasks,
                  "left_out": tasks.left_out},
        "settings": {"tokens": settings.tokens, "repeat": settings.repeat, "seed": settings.seed,
                     "temperature": settings.temperature, "parallel": settings.parallel},
        "interrupted": interrupted,
        "contestants": [_standing(one) for one in summary.standings],
        "comparisons": [_comparison(one, translate) for one in summary.comparisons],
    }  # fmt: skip


def _share(share: Share) -> dict[str, Any] | None:
    if share.value is None:
        return None
    return {"share": share.value, "low": share.low, "high": share.high, "tasks": share.tasks}


def _standing(one: Standing) -> dict[str, Any]:
    cost, contestant = one.cost, one.contestant
    return {
        "name": contestant.label,
        "model": contestant.name,
        "kind": str(contestant.kind),
        "layout": None if contestant.layout is None else str(contestant.layout),
        "right": _share(one.right),
        "by_kind": {name: _share(share) for name, share in one.by_kind.items()},
        "by_language": {name: _share(share) for name, share in one.by_language.items()},
        "refused_harmless": {name: _share(share) for name, share in one.refused.items()},
        "refused_others": one.refused_others,
        "answers": one.answers,
        "errors": one.errors,
        "not_run": one.not_run,
        "reasons": [{"reason": reason, "count": count} for reason, count in one.reasons],
        "cut_at_budget": one.cut,
        "over_budget": one.over,
        "prompt_tokens": cost.prompt_tokens,
        "cached_tokens": cost.cached_tokens,
        "prefilled_tokens": cost.prefilled_tokens,
        "completion_tokens": cost.completion_tokens,
        "seconds": {"total": cost.seconds, "median": one.median_seconds},
    }


def _comparison(one: Comparison, translate: Callable[[str], str]) -> dict[str, Any]:
    found = one.difference
    return {
        "name": one.contestant,
        "against": one.against,
        "difference": None if found is None else {
            "share": found.value, "low": found.low, "high": found.high, "p": found.p, "p_adjusted": one.p,
            "tasks": found.tasks, "tasks_needed": found.needed,
        },
        "computed_tokens_ratio": one.tokens_ratio,
        "completion_tokens_ratio": one.generated_ratio,
        "seconds_ratio": one.seconds_ratio,
        "judgement": str(one.judgement),
        "verdict": one.verdict.render(translate),
    }  # fmt: skip
