"""How a plan is put into words, for the command and the page alike. `speak` translates; literals are sentences."""

from __future__ import annotations

from collections.abc import Callable

from ansambl.domain.figures import in_language, number_words
from ansambl.domain.planning import Plan, PlannedPlacement, PlanOption, Residency
from ansambl.domain.speed import SpeedRange
from ansambl.domain.units import rate_figure

Speak = Callable[[str], str]

COUNTED = ("worth.", "speed")
"""What the codes of reasons begin with that say how points were counted: details, not arguments."""


def goal_word(plan: Plan, speak: Speak) -> str:
    """The goal of a plan."""
    words = {
        "depth": speak("depth: the strongest answers"), "parallel": speak("parallel: many answers at once"),
        "balanced": speak("balanced: strong and quick"), "no-swap": speak("no-swap: nothing is ever loaded anew"),
    }  # fmt: skip
    return words[str(plan.goal)]


def residency_word(placement: PlannedPlacement, speak: Speak) -> str:
    """Whether a placement is always in memory."""
    return speak("always in memory") if placement.residency is Residency.RESIDENT else speak("in turn with others")


def swaps_words(option: PlanOption, speak: Speak) -> str:
    """How often a model will be loaded anew."""
    return speak("{count} an hour").format(count=number_words(option.swaps_expected_per_hour, ".3g", speak))


def answering(placement: PlannedPlacement, speak: Speak) -> str:
    """How fast a placement answers; a dash for a model that only reads."""
    return tokens_per_second(placement.speed.decode, speak) if placement.candidate.generates else "—"


def tokens_per_second(speed: SpeedRange | None, speak: Speak) -> str:
    """A speed: what is expected and the ends of the range."""
    if speed is None:
        return speak("unknown")
    expected, low, high = (in_language(rate_figure(one), speak) for one in (speed.expected, speed.low, speed.high))
    return speak("{expected} tokens/s ({low} to {high})").format(expected=expected, low=low, high=high)
