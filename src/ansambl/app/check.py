"""What one check of ``ansambl doctor`` found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.text import Text


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked. `name` is stable for scripts; `fix` says what to do when it is not well."""

    name: str
    level: Level
    message: Text
    fix: Text | None = None
