"""Whether a role, an ensemble or a model would answer at once: from memory, also while every engine is down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.instance import InstanceState, InstanceStatus
from ansambl.domain.role import Ensemble
from ansambl.domain.text import Text, text
from ansambl.roles.records import EnsembleTarget, ModelTarget, RoleCatalog, RoleTarget, Target
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.scheduling.records import InstanceView, Residency


class Presence(StrEnum):
    """Where a model is, in the words of llama.cpp's router, which Open WebUI and others read."""

    LOADED = "loaded"
    SLEEPING = "sleeping"
    LOADING = "loading"
    UNLOADED = "unloaded"


_RANKS = {Presence.LOADED: 0, Presence.SLEEPING: 1, Presence.LOADING: 2, Presence.UNLOADED: 3}
_PRESENCES = {
    InstanceState.READY: Presence.LOADED,
    # Until its engine has ended it answers those that were let in.
    InstanceState.STOPPING: Presence.LOADED,
    InstanceState.ASLEEP: Presence.SLEEPING,
    InstanceState.STARTING: Presence.LOADING,
    InstanceState.RESTARTING: Presence.LOADING,
}
_BROKEN = frozenset({InstanceState.FAILED, InstanceState.UNREACHABLE})


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether something answers at once.

    `failed` tells that it could not be loaded, or cannot be reached. `reason` says why it is not there, None where
    nothing more is to say. `context` is what one request may hold, None where that is not known. `models` are those
    that it needs.
    """

    presence: Presence
    failed: bool = False
    reason: Text | None = None
    context: int | None = None
    models: tuple[str, ...] = ()


class Availabilities:
    """What is there at one moment. `statuses` are the instances as they are shown, by the name of their model."""

    def __init__(self, coordinator: Coordinator, catalog: RoleCatalog) -> None:
        self.statuses = {one.model: one for one in coordinator.statuses()}
        self.views = coordinator.views()
        self._catalog = catalog

    def of(self, target: Target) -> Availability:
        """Of what a name means: all models that it needs, the least ready of which decides."""
        models = models_of(target, self._catalog)
        if not models:
            return Availability(Presence.UNLOADED, failed=True, reason=text("there is no model to run on"))
        found = [self._of_model(one) for one in models]
        worst = max(found, key=lambda one: (one.failed, _RANKS[one.presence]))
        known = [one.context for one in found if one.context is not None]
        context = min(known) if len(known) == len(found) else None
        return Availability(worst.presence, worst.failed, worst.reason, context, tuple(models))

    def _of_model(self, model: str) -> Availability:
        status = self.statuses.get(model)
        if status is None:
            return Availability(Presence.UNLOADED, failed=True, reason=text("there is no instance of '{model}'",
                                                                            model=model))  # fmt: skip
        named = self._catalog.models.get(model)
        context = status.context or (named.context if named is not None else None)
        if status.state in _BROKEN:
            return Availability(Presence.UNLOADED, failed=True, reason=status.message, context=context)
        presence = _presence(status, self.views.get(model))
        reason = None if presence in {Presence.LOADED, Presence.SLEEPING} else status.message
        return Availability(presence, reason=reason, context=context)


def models_of(target: Target, catalog: RoleCatalog) -> list[str]:
    """The names of the models that a target needs, in a fixed order; none where there is no model at all."""
    if isinstance(target, ModelTarget):
        return [target.model.name]
    if isinstance(target, RoleTarget):
        found = catalog.model_of(target.role)
        return [] if found is None else [found]
    return sorted(models_of_ensemble(target.ensemble, catalog))


def models_of_ensemble(ensemble: Ensemble, catalog: RoleCatalog) -> set[str]:
    """The models of all members, also of those of nested ensembles."""
    found: set[str | None] = {ensemble.embedder}
    left, seen = [*ensemble.roles, ensemble.merging_role], set[str]()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in catalog.roles:
            found.add(catalog.model_of(catalog.roles[name]))
        elif name in catalog.ensembles:
            left += [*catalog.ensembles[name].roles, catalog.ensembles[name].merging_role]
    return {one for one in found if one is not None}


def targets_of(catalog: RoleCatalog) -> Iterable[Target]:
    """Everything that a client can ask for by name: roles, ensembles, models, LoRA adapters."""
    for role in catalog.roles.values():
        yield RoleTarget(role)
    for ensemble in catalog.ensembles.values():
        yield EnsembleTarget(ensemble, (), catalog.roles[ensemble.merging_role])
    for model in catalog.models.values():
        yield ModelTarget(model)
    for lora in catalog.loras.values():
        if lora.model in catalog.models:
            yield ModelTarget(catalog.models[lora.model], lora)


def _presence(status: InstanceStatus, view: InstanceView | None) -> Presence:
    if status.attached and status.state is InstanceState.STARTING:
        # Nobody has asked that server yet, so it was not looked at.
        return Presence.UNLOADED
    if view is not None and (view.residency is Residency.LOADING or (view.residency is Residency.OUT and view.waiting)):
        return Presence.LOADING
    return _PRESENCES.get(status.state, Presence.UNLOADED)
