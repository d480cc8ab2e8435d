"""Speeds as commands print them."""

from __future__ import annotations

from ansambl.app import plan_words
from ansambl.domain.planning import PlannedPlacement
from ansambl.domain.speed import SpeedRange
from ansambl.foundation.locales import speak


def answering(placement: PlannedPlacement) -> str:
    """How fast a placement answers; a dash for a model that only reads."""
    return plan_words.answering(placement, speak)


def tokens_per_second(speed: SpeedRange | None) -> str:
    """A speed for people: what is expected and the ends of the range."""
    return plan_words.tokens_per_second(speed, speak)
