"""What works with what: rows of facts with the first version that works, and the judgement made from them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.footprint import Reason


class Verdict(StrEnum):
    """Whether a combination works. A missing fact is unknown, never no."""

    YES = "yes"
    SLOW = "slow"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Judgement:
    """One combination judged. `since` is the first version of the engine that does it, None when no source says."""

    verdict: Verdict
    since: str | None = None
    reasons: tuple[Reason, ...] = ()
