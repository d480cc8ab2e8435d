"""Speeds as commands print them."""

from __future__ import annotations

from ansambl.domain.planning import PlannedPlacement
from ansambl.domain.speed import SpeedRange
from ansambl.foundation.locales import speak


def answering(placement: PlannedPlacement) -> str:
    """How fast a placement answers; a dash for a model that only reads."""
    return tokens_per_second(placement.speed.decode) if placement.candidate.generates else "—"


def tokens_per_second(speed: SpeedRange | None) -> str:
    """A speed for people: what is expected and the ends of the range."""
    if speed is None:
        return speak("unknown")
    return speak("{expected} tokens/s ({low} to {high})").format(
        expected=_short(speed.expected), low=_short(speed.low), high=_short(speed.high)
    )


def _short(number: float) -> str:
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"
