"""What a review is made from: what was stated, what was taken for the rest, and what is known of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ansambl.domain.catalog import CatalogModel
from ansambl.domain.compatibility import CompatibilityFacts, KnownUi
from ansambl.domain.device import PlannedMachine
from ansambl.domain.planning import Candidate, PlannedPlacement
from ansambl.domain.review import LicenceTerms
from ansambl.domain.text import Text, text
from ansambl.domain.units import rate_figure
from ansambl.planner.choosing import Choice
from ansambl.planner.fitting import Wish
from ansambl.planner.placement.rules import WorthRules

RULES = "memory and speed rules of the planner"
"""The source of what the planner worked out itself."""

CATALOG = "catalog of Ansambl: ansambl models list"
"""The source of what follows from several models of the catalog."""

DEFAULTS = "default of Ansambl"
"""The source of what was taken because nobody said anything."""

NO_SOURCE = "no source was found"
"""The source of what is unknown."""

NEARLY = 0.85
"""A forecast of speed is no more exact than this part of a bound."""


@dataclass(frozen=True, slots=True)
class Stated:
    """What the user said; what is None or False was left open."""

    machine: bool = False
    ui: KnownUi | None = None
    language: str | None = None
    engine: str | None = None
    quantization: str | None = None
    context: bool = False
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """Where the files of the chosen checkpoint lie on the hub. `exact`: a source says that they are there."""

    repo: str | None
    exact: bool


@dataclass(frozen=True, slots=True)
class ReviewFacts:
    """Everything that findings are made of.

    `name` is the model as the user wrote it, `card` its entry of the catalog (None for files), `candidates` all its
    checkpoints. `choice` is what fits best of what was asked for, None when nothing could be tried; then `untried`
    says why. `taken_for_ui` says that the engine was taken because the interface needs it. `licence` is the licence's
    name, `terms` what it asks. `models` and `rivals` are the catalog and all its checkpoints.
    """

    name: str
    machine: PlannedMachine
    wish: Wish
    compatibility: CompatibilityFacts
    stated: Stated = field(default_factory=Stated)
    card: CatalogModel | None = None
    candidates: tuple[Candidate, ...] = ()
    choice: Choice | None = None
    untried: Text | None = None
    taken_for_ui: bool = False
    licence: str | None = None
    terms: LicenceTerms | None = None
    fetched: Fetched | None = None
    models: tuple[CatalogModel, ...] = ()
    rivals: tuple[Candidate, ...] = ()
    native: Mapping[str, float] = field(default_factory=dict)
    rules: WorthRules = field(default_factory=WorthRules)

    @property
    def best(self) -> PlannedPlacement | None:
        """The placement that is judged."""
        return self.choice.best if self.choice else None

    @property
    def title(self) -> str:
        """The model's name for people."""
        return self.card.title if self.card else self.name

    @property
    def writes_text(self) -> bool:
        """Whether one can ask the model something; true where the kind is unknown."""
        return self.card is None or self.card.kind.writes


def joined(parts: Iterable[Text | str]) -> Text | str:
    """Several texts in a row, divided by commas; an empty string for none."""
    result: Text | str = ""
    for part in parts:
        result = text("{first}, {second}", first=result, second=part) if result else part
    return result


def divided(parts: Iterable[Text | str]) -> Text | str:
    """Several texts in a row, divided by semicolons; an empty string for none."""
    result: Text | str = ""
    for part in parts:
        result = text("{first}; {second}", first=result, second=part) if result else part
    return result


def tokens_a_second(placement: PlannedPlacement) -> Text:
    """The expected decode speed for a sentence."""
    decode = placement.speed.decode
    if decode is None:
        return text("unknown speed")
    return text("{speed} tokens/s", speed=rate_figure(decode.expected))
