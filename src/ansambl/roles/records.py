"""What roles are looked up in and resolved to: plain records, shared by pure and other modules of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansambl.domain.role import Ensemble, ModelName, Role

PATTERNS = ("council",)
"""The ways in which an ensemble can answer."""


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
    """The requested name means an ensemble; `roles` answer, `conductor` merges."""

    ensemble: Ensemble
    roles: tuple[Role, ...]
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
