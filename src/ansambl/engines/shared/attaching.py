"""What engines have in common that are only attached to: they run already, and Ansambl starts nothing."""

from __future__ import annotations

from ansambl.domain.engine import ExitExplanation, ExitReason
from ansambl.domain.errors import NotSupportedError
from ansambl.domain.plan import Placement
from ansambl.domain.text import Text, text


def refuse_start(placement: Placement, title: str, instead: Text) -> NotSupportedError:
    """The error for a placement of such an engine; `instead` says what to do."""
    return NotSupportedError(
        text("models.{model}: {engine} is only attached to, not started; {instead}", model=placement.model,
             engine=title, instead=instead)
    )  # fmt: skip


def gone(title: str) -> ExitExplanation:
    """All that can be said of a server that is somebody else's."""
    return ExitExplanation(ExitReason.UNKNOWN, text("{engine} went away; start it again", engine=title))
