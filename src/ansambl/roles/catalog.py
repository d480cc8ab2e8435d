"""The roles and ensembles that exist: those that we ship, changed and joined by saved and by configured ones."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from ansambl.domain.errors import ConfigurationError
from ansambl.domain.names import folded
from ansambl.domain.role import Ensemble, ModelName, Role
from ansambl.domain.text import Text, text
from ansambl.roles.ensemble_fields import ENSEMBLE_FIELDS, check_nesting, merged_ensemble, read_ensemble
from ansambl.roles.field_checks import Fields, known_model, unknown
from ansambl.roles.records import RoleCatalog
from ansambl.roles.role_fields import ROLE_FIELDS, check_fits, merged_role, read_role

SHIPPED, SAVED, CONFIGURATION = "shipped", "saved", "configuration"
"""Where a role or an ensemble came from last: the package, the database, the configuration file."""

Kind = Literal["roles", "ensembles"]
"""Which table something stands in."""

_FILE = Path(__file__).resolve().parent / "data" / "roles.toml"
_FORBIDDEN = "[]\r\n\t"
_Thing: TypeAlias = tuple[Role | Ensemble | ModelName, Text, str]
"""What has a name, how a sentence calls it, and the table of the configuration that it stands in."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables ``roles`` and ``ensembles`` of one source, by name."""

    roles: Mapping[str, Fields] = field(default_factory=dict)
    ensembles: Mapping[str, Fields] = field(default_factory=dict)

    def of(self, kind: Kind) -> Mapping[str, Fields]:
        """The tables of one kind."""
        return self.roles if kind == "roles" else self.ensembles


_ALLOWED: Mapping[Kind, tuple[str, ...]] = {"roles": ROLE_FIELDS, "ensembles": ENSEMBLE_FIELDS}
_MERGES: Mapping[Kind, Callable[[Fields, Fields], dict[str, Any]]] = {
    "roles": merged_role, "ensembles": merged_ensemble
}  # fmt: skip


@cache
def shipped() -> Tables:
    """The roles and ensembles that come with Ansambl, as they are written."""
    read = tomllib.loads(_FILE.read_text(encoding="utf-8"))
    return Tables(read["roles"], read["ensembles"])


def build_catalog(
    configured_roles: Mapping[str, Fields],
    configured_ensembles: Mapping[str, Fields],
    models: Iterable[ModelName],
    *,
    default_model: str | None = None,
    saved: Tables | None = None,
) -> RoleCatalog:
    """Join what is shipped, saved and configured and the models into one catalog without double names.

    A saved or configured role or ensemble of a shipped name replaces only the keys that it sets; the value None counts
    as not set. A configured one takes the place of a saved one of its name. `default_model` is what roles without a
    model run on, the first model when left out.

    Raises:
        ConfigurationError: a double name, an unknown key, a cycle of ensembles, an instruction that cannot fit, or a
            reference to a role, model or pattern that is not there; names the key and the nearest name.
    """
    by_name = {model.name: model for model in models}
    spellings = {folded(one): model.name for model in by_name.values() for one in (model.name, *model.aliases)}
    saved = saved or Tables()
    written_roles = _merged("roles", saved.roles, configured_roles)
    written_ensembles = _merged("ensembles", saved.ensembles, configured_ensembles)
    roles = {name: read_role(name, fields, origin, spellings) for name, (fields, origin) in written_roles.items()}
    # First, because what contains itself has no role that could conduct it.
    check_nesting({name: tuple(fields.get("roles", ())) for name, (fields, _) in written_ensembles.items()})
    ensembles = {
        name: read_ensemble(name, fields, origin, spellings, roles, written_ensembles)
        for name, (fields, origin) in written_ensembles.items()
    }
    _refuse_doubles(roles, ensembles, by_name)
    if default_model is not None:
        default_model = known_model(("default_model",), default_model, spellings)
    default_model = default_model or next(iter(by_name), None)
    for role in roles.values():
        check_fits(role, by_name.get(role.model or default_model or ""))
    return RoleCatalog(roles, ensembles, by_name, default_model)


def effective_fields(kind: Kind, name: str, saved: Tables, configured: Tables) -> dict[str, Any]:
    """What of a role or an ensemble is in effect, as a table: the shipped keys, and those that are set over them."""
    merged = _merged(kind, {one: saved.of(kind)[one] for one in saved.of(kind) if one == name},
                     {one: configured.of(kind)[one] for one in configured.of(kind) if one == name})  # fmt: skip
    return merged[name][0] if name in merged else {}


def check_name(kind: Kind, name: str) -> None:
    """Refuse a name that could not be written or asked for.

    Raises:
        ConfigurationError: it is empty, or holds brackets, line breaks or spaces at its ends.
    """
    if not name.strip() or name != name.strip() or any(one in name for one in _FORBIDDEN):
        raise ConfigurationError(
            text(
                "The name '{name}' in [{table}] is empty, or holds brackets, line breaks or spaces at its ends; "
                "choose another.",
                name=name,
                table=kind,
            ),
            keys=((kind, name),),
        )


def _merged(
    kind: Kind, saved: Mapping[str, Fields], configured: Mapping[str, Fields]
) -> dict[str, tuple[dict[str, Any], str]]:
    merged = {name: (dict(fields), SHIPPED) for name, fields in shipped().of(kind).items()}
    layers = [(name, fields, SAVED) for name, fields in saved.items() if name not in configured]
    layers += [(name, fields, CONFIGURATION) for name, fields in configured.items()]
    for name, fields, origin in layers:
        check_name(kind, name)
        for key in fields:
            if key not in _ALLOWED[kind]:
                raise unknown((kind, name, key), key, _ALLOWED[kind])
        own = {key: value for key, value in fields.items() if value is not None}
        merged[name] = (_MERGES[kind](merged[name][0] if name in merged else {}, own), origin)
    return merged


def _refuse_doubles(
    roles: Mapping[str, Role], ensembles: Mapping[str, Ensemble], models: Mapping[str, ModelName]
) -> None:
    taken: dict[str, _Thing] = {}
    things: list[_Thing] = [
        *((one, text("the role '{name}'", name=one.name), "roles") for one in roles.values()),
        *((one, text("the ensemble '{name}'", name=one.name), "ensembles") for one in ensembles.values()),
        *((one, text("the model '{name}'", name=one.name), "models") for one in models.values()),
    ]
    for thing in things:
        one, words, table = thing
        for spelling in (one.name, *one.aliases):
            owner, owner_words, owner_table = taken.setdefault(folded(spelling), thing)
            if owner is not one:
                raise ConfigurationError(
                    text(
                        "Two things answer to '{name}': {first} and {second}; rename one or change its aliases.",
                        name=spelling,
                        first=owner_words,
                        second=words,
                    ),
                    # What comes with Ansambl has no line; the other one is configured.
                    keys=((table, one.name, "aliases"), (owner_table, owner.name, "aliases")),
                )
