"""Which checkpoint is judged where the user named none: by the rule that plans use, among those that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ansambl.domain.planning import PlannedPlacement
from ansambl.planner.choosing import Choice
from ansambl.planner.placement.inputs import Wants
from ansambl.planner.placement.rules import WorthRules
from ansambl.planner.placement.worth import speed_points, strength

UNPUBLISHED = 5.0
"""Points that files lose of which no source says where they are: making them is work (half a doubling)."""


def preferred(
    choice: Choice, has_files: Callable[[PlannedPlacement], bool], native: Mapping[str, float], rules: WorthRules
) -> Choice:
    """The same with the placement first that is worth most in a chat; unchanged when nothing fits.

    What ranks first by fitting alone may be two bits on the GPU where four bits with a few layers in RAM answer better.
    `native` is `native_bits` of all candidates.
    """
    every = (choice.best, *choice.others)
    fitting = [one for one in every if one.fits]
    if not fitting:
        return choice

    def points(one: PlannedPlacement) -> float:
        decode = one.speed.decode
        speed = speed_points(decode.expected if decode else None, Wants.CHAT, rules)
        return strength(one.candidate, native, None, rules).points + speed - (0 if has_files(one) else UNPUBLISHED)

    best = max(fitting, key=points)
    return replace(choice, best=best, others=tuple(one for one in every if one is not best))
