"""What a review of a user's choice is made of: findings by level, the verdict that follows, licences as data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.device import PlannedMachine
from ansambl.domain.footprint import Footprint
from ansambl.domain.text import Text


class Level(StrEnum):
    """What a finding says of the choice: it does not work, it is weak, something was not thought of, it holds."""

    WRONG = "wrong"
    WEAK = "weak"
    FORGOTTEN = "forgotten"
    HOLDS = "holds"


class ReviewVerdict(StrEnum):
    """What all findings come to."""

    HOLDS = "holds"
    WITH_REMARKS = "holds-with-remarks"
    DOES_NOT_HOLD = "does-not-hold"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing said of a choice. `code` is stable for scripts, `source` is where the fact comes from."""

    level: Level
    code: str
    text: Text
    source: str


@dataclass(frozen=True, slots=True)
class TrainingFinding:
    """Whether a LoRA adapter can be trained. `method` is ``"lora"`` or ``"qlora"``, `note` says how it was counted.

    `footprint` is None where nothing could be forecast.
    """

    method: str
    footprint: Footprint | None
    note: Text
    source: str

    @property
    def fits(self) -> bool:
        """Whether the machine holds it."""
        return self.footprint is not None and self.footprint.fits


@dataclass(frozen=True, slots=True)
class Review:
    """A choice judged. `engine` is the one that was stated or taken, None where none could be.

    `findings` stand in the order of the levels; `commands` are what to type next.
    """

    model: str
    machine: PlannedMachine
    ui: str | None
    language: str | None
    engine: str | None
    findings: tuple[Finding, ...]
    training: tuple[TrainingFinding, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def verdict(self) -> ReviewVerdict:
        """One finding that something does not work decides; else any remark counts."""
        levels = {one.level for one in self.findings}
        if Level.WRONG in levels:
            return ReviewVerdict.DOES_NOT_HOLD
        return ReviewVerdict.WITH_REMARKS if levels - {Level.HOLDS} else ReviewVerdict.HOLDS


class CommercialUse(StrEnum):
    """Whether a licence lets one earn money with a model: yes, up to some size or under conditions, or no."""

    YES = "yes"
    CONDITIONS = "conditions"
    NO = "no"


@dataclass(frozen=True, slots=True)
class LicenceTerms:
    """What a licence asks of whoever uses a model; no advice of a lawyer.

    `users` is the count of users a month and `revenue` the US dollars a month above which `above` is due: ``"ask"``
    for an agreement or ``"show"`` the name. `shown` is the notice that those show who offer the model to others.
    `duties` are codes of further duties; `gated` are owners on the hub that ask to accept the licence before a
    download. None is no limit that the source names.
    """

    name: str
    title: str
    commercial: CommercialUse
    source: str
    users: int | None = None
    revenue: int | None = None
    above: str | None = None
    shown: str | None = None
    duties: tuple[str, ...] = ()
    gated: tuple[str, ...] = ()
