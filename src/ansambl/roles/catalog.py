"""The roles and ensembles that exist: those that we ship, changed and joined by those of the configuration."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from ansambl.domain.errors import ConfigurationError
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.role import Ensemble, Layout, ModelName, Role, RoleWants
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds, parse_seconds
from ansambl.roles.records import PATTERNS, RoleCatalog

SAMPLING_FIELDS = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "repeat_penalty",
    "seed",
    "stop",
    "reasoning_effort",
)
"""Request fields that a role may set directly; others go into its table ``sampling``."""

ROLE_FIELDS = (
    "instruction", "description", "model", "layout", "sampling", "output_limit", "aliases", "wants", *SAMPLING_FIELDS
)  # fmt: skip
"""What a role's configuration may hold."""

ENSEMBLE_FIELDS = (
    "pattern",
    "roles",
    "conductor",
    "description",
    "branch_tokens",
    "answer_tokens",
    "seconds",
    "aliases",
)
"""What an ensemble's configuration may hold."""

_FILE = Path(__file__).resolve().parent / "data" / "roles.toml"
_FORBIDDEN = "[]\r\n\t"
Fields = Mapping[str, Any]
_Thing: TypeAlias = tuple[Role | Ensemble | ModelName, Text, str]
"""What has a name, how a sentence calls it, and the table of the configuration that it stands in."""


@cache
def _shipped() -> dict[str, Any]:
    return tomllib.loads(_FILE.read_text(encoding="utf-8"))


def shipped_names() -> tuple[str, ...]:
    """The names of the roles and ensembles that come with Ansambl."""
    return (*_shipped()["roles"], *_shipped()["ensembles"])


def build_catalog(
    configured_roles: Mapping[str, Fields],
    configured_ensembles: Mapping[str, Fields],
    models: Iterable[ModelName],
    *,
    default_model: str | None = None,
) -> RoleCatalog:
    """Join what is shipped, what is configured and the models into one catalog without double names.

    A configured role or ensemble of a shipped name replaces only the keys that it sets; the value None counts as not
    set. `default_model` is what roles without a model run on, the first model when left out.

    Raises:
        ConfigurationError: a double name, an unknown key, or a reference to a role, model or pattern that is not
            there; names the key and the nearest name.
    """
    by_name = {model.name: model for model in models}
    spellings = {folded(one): model.name for model in by_name.values() for one in (model.name, *model.aliases)}
    shipped = _shipped()
    roles = {
        name: _role(name, fields, origin, spellings)
        for name, (fields, origin) in _merged("roles", shipped["roles"], configured_roles, ROLE_FIELDS).items()
    }
    ensembles = {
        name: _ensemble(name, fields, origin, roles)
        for name, (fields, origin) in _merged(
            "ensembles", shipped["ensembles"], configured_ensembles, ENSEMBLE_FIELDS
        ).items()
    }
    _refuse_doubles(roles, ensembles, by_name)
    if default_model is not None:
        default_model = _known_model(("default_model",), default_model, spellings)
    return RoleCatalog(roles, ensembles, by_name, default_model or next(iter(by_name), None))


def _merged(
    table: str, shipped: Mapping[str, Fields], configured: Mapping[str, Fields], allowed: tuple[str, ...]
) -> dict[str, tuple[dict[str, Any], str]]:
    merged = {name: (dict(fields), "shipped") for name, fields in shipped.items()}
    for name, fields in configured.items():
        if not name.strip() or name != name.strip() or any(one in name for one in _FORBIDDEN):
            raise ConfigurationError(
                text(
                    "The name '{name}' in [{table}] is empty, or holds brackets, line breaks or spaces at its ends; "
                    "choose another.",
                    name=name,
                    table=table,
                ),
                keys=((table, name),),
            )
        for field in fields:
            if field not in allowed:
                raise _unknown((table, name, field), field, allowed)
        own = {field: value for field, value in fields.items() if value is not None}
        base = merged[name][0] if name in merged else {}
        merged[name] = ({**base, **own}, "configuration")
        if "sampling" in own or "sampling" in base:
            merged[name][0]["sampling"] = {**base.get("sampling", {}), **own.get("sampling", {})}
    return merged


def _role(name: str, fields: Fields, origin: str, models: Mapping[str, str]) -> Role:
    key = ("roles", name)
    model = fields.get("model")
    layout = fields.get("layout", Layout.SHARED_PREFIX)
    if layout not in list(Layout):
        raise _unknown((*key, "layout"), str(layout), [one.value for one in Layout])
    wants = fields.get("wants", RoleWants.CHAT)
    if wants not in list(RoleWants):
        raise _unknown((*key, "wants"), str(wants), [one.value for one in RoleWants])
    direct = {field: fields[field] for field in SAMPLING_FIELDS if field in fields}
    return Role(
        name=name,
        instruction=fields.get("instruction", ""),
        description=str(fields.get("description", "")),
        model=None if model is None else _known_model((*key, "model"), model, models),
        layout=Layout(layout),
        sampling={**fields.get("sampling", {}), **direct},
        output_limit=fields.get("output_limit"),
        aliases=tuple(fields.get("aliases", ())),
        origin=origin,
        wants=RoleWants(wants),
    )


def _ensemble(name: str, fields: Fields, origin: str, roles: Mapping[str, Role]) -> Ensemble:
    key = ("ensembles", name)
    pattern = fields.get("pattern", PATTERNS[0])
    if pattern not in PATTERNS:
        raise _unknown((*key, "pattern"), str(pattern), PATTERNS)
    members = tuple(fields.get("roles", ()))
    if not members:
        raise ConfigurationError(
            text('{key} names no role; list at least one, such as ["coder"].', key=".".join((*key, "roles"))),
            keys=((*key, "roles"),),
        )
    if len(set(members)) < len(members):
        raise ConfigurationError(
            text("{key} names a role twice; list each role once.", key=".".join((*key, "roles"))),
            keys=((*key, "roles"),),
        )
    conductor = fields.get("conductor") or members[0]
    for where, member in [*(((*key, "roles"), one) for one in members), ((*key, "conductor"), conductor)]:
        if member not in roles:
            raise _unknown(where, str(member), roles)
    seconds = fields.get("seconds")
    defaults = Ensemble(name, pattern, members)
    return Ensemble(
        name=name,
        pattern=pattern,
        roles=members,
        conductor=conductor,
        description=str(fields.get("description", "")),
        branch_tokens=fields.get("branch_tokens", defaults.branch_tokens),
        answer_tokens=fields.get("answer_tokens", defaults.answer_tokens),
        seconds=defaults.seconds if seconds is None else Seconds(parse_seconds(seconds)),
        aliases=tuple(fields.get("aliases", ())),
        origin=origin,
    )


def _known_model(key: tuple[str, ...], name: str, spellings: Mapping[str, str]) -> str:
    found = spellings.get(folded(name))
    if found is None:
        raise _unknown(key, name, sorted(set(spellings.values())))
    return found


def _unknown(path: tuple[str, ...], name: str, known: Iterable[str]) -> ConfigurationError:
    names = list(known)
    close = nearest_names(name, names)
    key = ".".join(path)
    return ConfigurationError(
        text("{key}: '{name}' is not known; did you mean {nearest}?", key=key, name=name, nearest=", ".join(close))
        if close
        else text(
            "{key}: '{name}' is not known; known are: {known}.", key=key, name=name, known=", ".join(names) or "-"
        ),
        keys=(path,),
    )


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
