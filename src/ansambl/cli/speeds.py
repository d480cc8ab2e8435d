"""Speeds as commands print them."""

from __future__ import annotations

from ansambl.domain.planning import PlannedPlacement
from ansambl.domain.speed import SpeedRange
from ansambl.domain.units import format_rate
from ansambl.foundation.locales import speak


def answering(placement: PlannedPlacement) -> str:
    """How fast a placement answers; a dash for a model that only reads."""
    return tokens_per_second(placement.speed.decode) if placement.candidate.generates else "—"


def tokens_per_second(speed: SpeedRange | None) -> str:
    """A speed for people: what is expected and the ends of the range."""
    if speed is None:
        return speak("unknown")
    return speak("{expected} tokens/s ({low} to {high})").format(
        expected=format_rate(speed.expected), low=format_rate(speed.low), high=format_rate(speed.high)
    )
