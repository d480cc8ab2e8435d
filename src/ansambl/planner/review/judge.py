"""All findings of a review, in the order in which they are told."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from ansambl.domain.review import Finding, Level
from ansambl.planner.review.asked import open_questions
from ansambl.planner.review.facts import ReviewFacts
from ansambl.planner.review.licences import licence_findings
from ansambl.planner.review.memory import context_findings, memory_findings, quantization_findings, speed_findings
from ansambl.planner.review.model import ability_findings, download_findings, kind_findings, language_findings
from ansambl.planner.review.rivals import rival_findings
from ansambl.planner.review.works import ui_findings, works_findings

_ORDER = list(Level)


def review_findings(facts: ReviewFacts) -> tuple[Finding, ...]:
    """What holds, what is weak, what was forgotten, what does not work; the worst first.

    Raises:
        UsageError: a version that was stated is none, or a setting makes no sense.
    """
    parts: tuple[Iterator[Finding], ...] = (
        kind_findings(facts), works_findings(facts), memory_findings(facts), context_findings(facts),
        speed_findings(facts), quantization_findings(facts), ui_findings(facts), language_findings(facts),
        ability_findings(facts), rival_findings(facts), licence_findings(facts), download_findings(facts),
        open_questions(facts),
    )  # fmt: skip
    return tuple(sorted(chain(*parts), key=lambda one: _ORDER.index(one.level)))
