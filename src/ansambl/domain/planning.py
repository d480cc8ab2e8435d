"""What a plan is made of: checkpoints to choose from, placements on machines, owned or not, options side by side.

`domain.plan.Placement` is what runs here; the records of this module may be about hardware that nobody owns yet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ansambl.domain.architecture import Architecture
from ansambl.domain.catalog import Basis, CatalogModel, ModelKind
from ansambl.domain.device import PlannedMachine
from ansambl.domain.footprint import Footprint, Reason, WeightBytes
from ansambl.domain.measurement import Measurement
from ansambl.domain.speed import SpeedForecast
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes

USUAL_CONTEXT = 32_768
"""Tokens for each sequence when nobody says; of a model made for less, what it was made for."""


class Goal(StrEnum):
    """What the owner wants most: the strongest answers, many at once, something of both, or no swap ever."""

    DEPTH = "depth"
    PARALLEL = "parallel"
    BALANCED = "balanced"
    NO_SWAP = "no-swap"


class Residency(StrEnum):
    """Whether a placement stays in memory, or shares it with others that it takes turns with."""

    RESIDENT = "resident"
    SWAPPED = "swapped"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A checkpoint that a plan may choose, on the disk or not: one model in one format and quantization.

    `model` is the short name, `reference` what fetches or opens it (a hub repository or a path). `size` is the bytes of
    its files; `basis` says whether a source reports it or it is derived. `card` is the catalog's entry, None for a
    checkpoint that the catalog does not know. `expert_format` lies in `weights`.
    """

    model: str
    reference: str
    quantization: str
    format: str
    size: Bytes
    weights: WeightBytes
    architecture: Architecture
    basis: Basis
    source: str
    card: CatalogModel | None = None

    @property
    def title(self) -> str:
        """The model's name for people."""
        return self.card.title if self.card else self.model

    @property
    def bits(self) -> float:
        """Bits for each weight over the whole checkpoint."""
        return self.weights.total * 8 / max(1, self.architecture.parameters)

    @property
    def generates(self) -> bool:
        """Whether the model writes text: one for embeddings or ranking only reads."""
        return self.card is None or self.card.kind not in {ModelKind.EMBEDDING, ModelKind.RERANKER}


@dataclass(frozen=True, slots=True)
class PlannedPlacement:
    """One candidate on the devices of one machine with one engine and its settings, and what is forecast of it.

    `machine` holds only the GPUs that it uses; `settings` are the engine's own by name, those that the planner chose
    among them (``{"n_cpu_moe": 26}``). `id` is unique in a plan. `measured` is what this machine measured of the same
    checkpoint and engine, perhaps with another context; None where it did not.
    """

    id: str
    candidate: Candidate
    engine: str
    machine: PlannedMachine
    context: int
    parallel: int
    kv_type: str
    footprint: Footprint
    speed: SpeedForecast
    settings: Mapping[str, Any] = field(default_factory=dict)
    residency: Residency = Residency.RESIDENT
    measured: Measurement | None = None

    @property
    def written_settings(self) -> str:
        """The settings as ``--set`` takes them, in one line."""
        return " ".join(f"{name}={value}" for name, value in self.settings.items())

    @property
    def fits(self) -> bool:
        """Whether every device holds its part."""
        return self.footprint.fits


@dataclass(frozen=True, slots=True)
class PlanOption:
    """One way to use the machines. `roles` maps a role to the id of its placement.

    Roles in one of `prefix_groups` run on one placement with equal head material, so a change between them costs no
    reload and almost no prefill. `clones` counts by placement the copies of the KV cache that roles answering at once
    need beyond the first (llama.cpp; the footprint holds them). `slowdown` is how many times slower one token comes
    than with the first option's strongest placement, None where either speed is unknown. `rank` compares options of one
    plan by the goal: the greater is better, None where nothing fits. `speaks_for` and `speaks_against` say what is good
    and bad about the option.
    """

    id: str
    title: Text
    placements: tuple[PlannedPlacement, ...]
    roles: Mapping[str, str]
    prefix_groups: tuple[tuple[str, ...], ...] = ()
    swaps_expected_per_hour: float = 0.0
    speaks_for: tuple[Reason, ...] = ()
    speaks_against: tuple[Reason, ...] = ()
    fits: bool = True
    clones: Mapping[str, int] = field(default_factory=dict)
    slowdown: float | None = None
    rank: float | None = None

    @property
    def prefilling_roles(self) -> tuple[str, ...]:
        """Roles that have company on their placement and share their prefix with none of it."""
        sharing = {role for group in self.prefix_groups if len(group) > 1 for role in group}
        where = Counter(self.roles.values())
        return tuple(role for role, place in self.roles.items() if where[place] > 1 and role not in sharing)


@dataclass(frozen=True, slots=True)
class Plan:
    """The options for some machines side by side; `recommended` is an option's id, None when nothing fits.

    `rejected` says of what was left out why.
    """

    machines: tuple[PlannedMachine, ...]
    goal: Goal
    options: tuple[PlanOption, ...]
    recommended: str | None
    why: tuple[Reason, ...] = ()
    rejected: tuple[Reason, ...] = ()

    @property
    def best(self) -> PlanOption | None:
        """The option that is recommended."""
        return next((one for one in self.options if one.id == self.recommended), None)
