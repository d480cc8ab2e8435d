"""What roles are looked up in and resolved to: plain records, shared by pure and other modules of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansambl.domain.errors import NotSupportedError
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.role import Ensemble, Layout, ModelName, Pattern, Role
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.domain.units import Seconds

PATTERNS = (Pattern.COUNCIL.value, *(one.value for one in Pattern if one is not Pattern.COUNCIL))
"""The ways in which an ensemble can answer, the one that is taken where none is named first."""


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """What a client may ask of Ansambl itself, in the field ``ansambl`` of a request; None where it does not say.

    `layout` replaces the layout of every role in the request (comparisons need it), `role` forces a route's choice,
    `tokens`, `seconds` and `rounds` tighten an ensemble's own limits, and never widen them. `request_class` and
    `patience` are its standing among other requests. `knowledge` False searches nothing before the answer, names search
    these collections alone; `memory` False keeps the conversation out of what is remembered.
    """

    layout: Layout | None = None
    role: str | None = None
    tokens: int | None = None
    seconds: Seconds | None = None
    rounds: int | None = None
    request_class: RequestClass | None = None
    patience: Seconds | None = None
    knowledge: bool | tuple[str, ...] | None = None
    memory: bool | None = None


NO_OPTIONS = RequestOptions()
"""A request that asks nothing of Ansambl itself."""


@dataclass(frozen=True, slots=True)
class RoleCatalog:
    """Everything that a client can ask for by name, each by its own name.

    `default_model` is what a role without a model runs on; None when there is no model at all. `loras` are the LoRA
    adapters, each a model's other name; where a name is also that of something else, the something else is meant.
    """

    roles: Mapping[str, Role]
    ensembles: Mapping[str, Ensemble]
    models: Mapping[str, ModelName]
    default_model: str | None = None
    loras: Mapping[str, LoraAdapter] = field(default_factory=dict)

    def model_of(self, role: Role) -> str | None:
        """The name of the model that a role runs on: its own, else its LoRA adapter's, else the default one."""
        lora = self.loras.get(role.lora or "")
        return role.model or (lora.model if lora is not None else None) or self.default_model

    def lora_of(self, role: Role) -> LoraAdapter | None:
        """The LoRA adapter that a role answers with; None where it names none.

        Raises:
            NotSupportedError: it names one that is not there, or one of another model.
        """
        if role.lora is None:
            return None
        found = self.loras.get(role.lora)
        if found is None:
            raise NotSupportedError(
                text("The role '{role}' answers with the LoRA adapter '{lora}', which is not there; "
                     "`ansambl lora list` shows those that there are.", role=role.name, lora=role.lora)
            )  # fmt: skip
        if found.model != self.model_of(role):
            raise NotSupportedError(
                text("The role '{role}' runs on '{model}', but its LoRA adapter '{lora}' is for '{other}'; "
                     "change one of the two.", role=role.name, model=self.model_of(role) or "–", lora=role.lora,
                     other=found.model)
            )  # fmt: skip
        return found


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
    """The requested name means a plain model: no role, no note. `lora` is its LoRA adapter, None for none."""

    model: ModelName
    lora: LoraAdapter | None = None

    @property
    def name(self) -> str:
        """The model's own name, or that of its LoRA adapter."""
        return self.model.name if self.lora is None else self.lora.name


Target = RoleTarget | EnsembleTarget | ModelTarget
"""What a requested name can mean."""
