"""From the name that a client asked for to a role, an ensemble or a plain model. Pure."""

from __future__ import annotations

from ansambl.domain.errors import UnknownNameError
from ansambl.domain.names import LONGEST_ASKED, folded, nearest_names
from ansambl.domain.text import text
from ansambl.roles.records import EnsembleTarget, ModelTarget, RoleCatalog, RoleTarget, Target

__all__ = ["EnsembleTarget", "ModelTarget", "Resolver", "RoleTarget", "Target"]


class Resolver:
    """Looks names up in a catalog: the exact name first, then an alias, then either without regard to letter case."""

    def __init__(self, catalog: RoleCatalog) -> None:
        self.use(catalog)

    def use(self, catalog: RoleCatalog) -> None:
        """Look names up in another catalog from now on; targets that were handed out stay what they are."""
        exact: dict[str, Target] = {}
        aliases: dict[str, Target] = {}
        for target, own, others in _targets(catalog):
            exact[own] = target
            aliases.update(dict.fromkeys(others, target))
        for alias, target in aliases.items():
            exact.setdefault(alias, target)
        self._exact = exact
        self._folded = {folded(name): target for name, target in exact.items()}

    def resolve(self, name: str) -> Target:
        """What `name` means.

        Raises:
            UnknownNameError: no role, ensemble or model has this name; the message holds the nearest ones.
        """
        target = self._exact.get(name)
        if target is None and len(name) <= LONGEST_ASKED:
            target = self._folded.get(folded(name))
        if target is not None:
            return target
        close = nearest_names(name, self._exact)
        shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
        if close:
            raise UnknownNameError(
                text(
                    "There is no role or model named '{name}'; nearest: {nearest}; GET /v1/models lists all.",
                    name=shown,
                    nearest=", ".join(close),
                ),
                param="model",
            )
        raise UnknownNameError(
            text("There is no role or model named '{name}'; GET /v1/models lists all names.", name=shown),
            param="model",
        )


_SHOWN = 100


def _targets(catalog: RoleCatalog) -> list[tuple[Target, str, tuple[str, ...]]]:
    found: list[tuple[Target, str, tuple[str, ...]]] = [
        (RoleTarget(role), role.name, role.aliases) for role in catalog.roles.values()
    ]
    for ensemble in catalog.ensembles.values():
        roles = tuple(catalog.roles.get(name) or catalog.ensembles[name] for name in ensemble.roles)
        conductor = catalog.roles[ensemble.merging_role]
        found.append((EnsembleTarget(ensemble, roles, conductor), ensemble.name, ensemble.aliases))
    found.extend((ModelTarget(model), model.name, model.aliases) for model in catalog.models.values())
    taken = {folded(name) for _, own, others in found for name in (own, *others)}
    found.extend(
        (ModelTarget(catalog.models[lora.model], lora), lora.name, ())
        for lora in catalog.loras.values()
        if lora.model in catalog.models and folded(lora.name) not in taken
    )
    return found
