"""Which checkpoint is judged where the user named none: by the rule that plans use, among those that fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from ansambl.domain.planning import PlannedPlacement
from ansambl.planner.choosing import Choice
from ansambl.planner.families import FOR_SAFETENSORS
from ansambl.planner.placement.inputs import Wants
from ansambl.planner.placement.rules import WorthRules
from ansambl.planner.placement.worth import speed_points, strength

UNPUBLISHED = 5.0
"""Points that files lose of which no source says where they are: making them is work (half a doubling)."""


FOREIGN = 20.0
"""Points that a GGUF file loses with an engine that is made for safetensors: it works slowly, or by a plugin."""


def preferred(
    choice: Choice, has_files: Callable[[PlannedPlacement], bool], native: Mapping[str, float], rules: WorthRules,
    *, stated: bool = False,
) -> Choice:  # fmt: skip
    """The same in the order of what each is worth in a chat, what fits before what does not.

    What ranks first by fitting alone may be two bits on the GPU where four bits with a few layers in RAM answer better.
    With `stated` the user said what is judged, and only the others are put in order. `native` is `native_bits` of all
    candidates.
    """

    def points(one: PlannedPlacement) -> float:
        decode, candidate = one.speed.decode, one.candidate
        found = strength(candidate, native, None, rules).points
        found += speed_points(decode.expected if decode else None, Wants.CHAT, rules)
        found -= 0 if has_files(one) else UNPUBLISHED
        return found - (FOREIGN if candidate.format == "gguf" and one.engine in FOR_SAFETENSORS else 0)

    every = list(choice.others) if stated else [choice.best, *choice.others]
    fitting = sorted((one for one in every if one.fits), key=points, reverse=True)
    ordered = [*fitting, *(one for one in every if not one.fits)]
    if stated:
        return replace(choice, others=tuple(ordered))
    return replace(choice, best=ordered[0], others=tuple(ordered[1:]))
