"""What roles are looked up in and resolved to: plain records, shared by pure and other modules of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansambl.domain.role import Ensemble, Layout, ModelName, Pattern, Role
from ansambl.domain.units import Seconds

PATTERNS = (Pattern.COUNCIL.value, *(one.value for one in Pattern if one is not Pattern.COUNCIL))
"""The ways in which an ensemble can answer, the one that is taken where none is named first."""


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a client may ask of Ansambl itself, in the field ``ansambl`` of a request; None where it does not say.

    `layout` replaces the layout of every role in the request (comparisons need it), `role` forces a route's choice,
    `tokens`, `seconds` and `rounds` tighten an ensemble's own limits, and never widen them.
    """

    layout: Layout | None = None
    role: str | None = None
    tokens: int | None = None
    seconds: Seconds | None = None
    rounds: int | None = None


NO_OPTIONS = RequestOptions()
"""A request that asks nothing of Ansambl itself."""


@dataclass(frozen=True, slots=True)
class RoleCatalog:
    """Everything that a client can ask for by name, each by its own name.

    `default_model` is what a role without a model runs on; None when there is no model at all.
    """

    roles: Mapping[str, Role]
    ensembles: Mapping[str, Ensemble]
    models: Mapping[str, ModelName]
    default_model: str | None = None


@dataclass(frozen=True, slots=True)
class RoleTarget:
    """The requested name means a role."""

    role: Role

    @property
    def name(self) -> str:
        """The role's own name."""
        return self.role.name


@dataclass(frozen=True, slots=True)
class EnsembleTarget:
    """The requested name means an ensemble; `roles` are its members, `conductor` merges."""

    ensemble: Ensemble
    roles: tuple[Role | Ensemble, ...]
    conductor: Role

    @property
    def name(self) -> str:
        """The ensemble's own name."""
        return self.ensemble.name


@dataclass(frozen=True, slots=True)
class ModelTarget:
    """The requested name means a plain model: no role, no note."""

    model: ModelName

    @property
    def name(self) -> str:
        """The model's own name."""
        return self.model.name


Target = RoleTarget | EnsembleTarget | ModelTarget
"""What a requested name can mean."""
