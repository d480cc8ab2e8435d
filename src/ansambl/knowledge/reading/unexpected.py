"""An error of ours is told from what a library raises for a damaged file: the user can mend the file, not our code."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from ansambl.domain.text import text
from ansambl.knowledge.contract import Refused

_MISTAKES = (NameError, AttributeError, TypeError, LookupError, AssertionError, NotImplementedError)
"""What a mistake in a program raises. A library raises them for damaged files, too; then they come from its code."""

_FRAMES = 4


@dataclass(frozen=True, slots=True)
class Unexpected(Refused):
    """Refused because of an error of ours: its kind, and the newest places of the code. The log has no other words.

    What an error says may be words of a document, and those have no place in a log.
    """

    error: str = ""
    at: tuple[str, ...] = ()


def refusal(place: str, error: BaseException) -> Refused:
    """What is said of a file where reading it failed with something that no format foresees."""
    frames = [
        (str(frame.f_globals.get("__name__", "")), line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    kind = type(error).__name__
    if isinstance(error, _MISTAKES) and frames and frames[-1][0].partition(".")[0] == __name__.partition(".")[0]:
        reason = text(
            "unexpected {error} in Ansambl while it was read; please report it, the log says where: ansambl logs",
            error=kind,
        )  # fmt: skip
        return Unexpected(place, reason, error=kind, at=tuple(f"{name}:{line}" for name, line in frames[-_FRAMES:]))
    said = " ".join(str(error).split())[:150]
    return Refused(
        place,
        text(
            "it is damaged or not what it seems ({error}); open it in its program and save it again",
            error=f"{kind}: {said}" if said else kind,
        ),
    )
