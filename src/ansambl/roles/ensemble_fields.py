"""Reads one ensemble from its table, and checks how ensembles contain each other. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansambl.domain.errors import ConfigurationError
from ansambl.domain.role import Ensemble, Merge, Pattern, RouteRule
from ansambl.domain.text import text
from ansambl.domain.units import Seconds, parse_seconds
from ansambl.roles.field_checks import (
    Fields,
    KeyPath,
    chosen,
    known_language,
    known_model,
    unknown,
    within,
    written,
    wrong,
)
from ansambl.roles.records import PATTERNS
from ansambl.roles.routing.patterns import safe_pattern
from ansambl.roles.routing.rules import THINGS, check_rules

ENSEMBLE_FIELDS = (
    "pattern", "roles", "conductor", "description", "branch_tokens", "answer_tokens", "seconds", "aliases", "tokens",
    "rounds", "samples", "merge", "rules", "default", "threshold", "embedder", "asks",
)  # fmt: skip
"""What an ensemble's table may hold."""

RULE_FIELDS = ("role", "words", "pattern", "language", "has", "longer_than", "shorter_than")
"""What a rule of a route may hold."""

MOST_ROUNDS, MOST_SAMPLES, DEEPEST = 8, 16, 4
"""Bounds of an ensemble: each round and each sample is a whole set of answers, and each ensemble inside an ensemble
multiplies them."""

_LONGEST_CYCLE = 50
"""Longer cycles are told as too deep, which they are too; so that no file can exhaust Python's stack."""


def merged_ensemble(base: Fields, own: Fields) -> dict[str, object]:
    """An ensemble's table with what another one sets over it.

    Where the members change, inherited rules and an inherited default that name a member no more are left out.
    """
    merged = {**base, **own}
    if "roles" in own:
        members = tuple(own["roles"])
        if "rules" not in own and "rules" in base:
            merged["rules"] = [one for one in base["rules"] if one.get("role") in members]
        if "default" not in own and base.get("default") not in members:
            merged.pop("default", None)
    return merged


def read_ensemble(
    name: str, fields: Fields, origin: str, models: Mapping[str, str], roles: Collection[str], others: Collection[str]
) -> Ensemble:
    """The ensemble that the table `fields` describes.

    `models` maps folded spellings to the names of models; `roles` and `others` are the names of all roles and of all
    ensembles.

    Raises:
        ConfigurationError: a value that means nothing, or a role, an ensemble or a model that is not there.
    """
    key = ("ensembles", name)
    members = _members((*key, "roles"), fields, roles, others)
    standard = Ensemble(name, Pattern.COUNCIL, members)
    conductor = fields.get("conductor") or next((one for one in members if one in roles), None)
    if conductor is None:
        raise wrong(
            (*key, "conductor"), text('no member is a role that could conduct; name a role here, such as "reasoner"')
        )
    if conductor not in roles:
        raise unknown((*key, "conductor"), str(conductor), roles)
    default, embedder = fields.get("default"), fields.get("embedder")
    if default is not None and default not in members:
        raise unknown((*key, "default"), str(default), members)
    seconds = fields.get("seconds")
    return Ensemble(
        name=name,
        pattern=chosen((*key, "pattern"), fields.get("pattern", PATTERNS[0]), PATTERNS),
        roles=members,
        conductor=conductor,
        description=str(fields.get("description", "")),
        branch_tokens=fields.get("branch_tokens", standard.branch_tokens),
        answer_tokens=fields.get("answer_tokens", standard.answer_tokens),
        seconds=standard.seconds if seconds is None else Seconds(parse_seconds(seconds)),
        aliases=tuple(fields.get("aliases", ())),
        origin=origin,
        tokens=fields.get("tokens"),
        rounds=within((*key, "rounds"), fields.get("rounds", standard.rounds), 1, MOST_ROUNDS),
        samples=within((*key, "samples"), fields.get("samples", standard.samples), 1, MOST_SAMPLES),
        merge=Merge(chosen((*key, "merge"), fields.get("merge", standard.merge), Merge)),
        rules=_rules((*key, "rules"), fields.get("rules", ()), members),
        default=default,
        threshold=within((*key, "threshold"), fields.get("threshold", standard.threshold), 0, 1),
        embedder=None if embedder is None else known_model((*key, "embedder"), embedder, models),
        asks=bool(fields.get("asks", standard.asks)),
    )


def _members(key: KeyPath, fields: Fields, roles: Collection[str], others: Collection[str]) -> tuple[str, ...]:
    members = tuple(fields.get("roles", ()))
    if not members:
        raise ConfigurationError(
            text('{key} names no role; list at least one, such as ["coder"].', key=written(key)), keys=(key,)
        )
    if len(set(members)) < len(members):
        raise ConfigurationError(text("{key} names a role twice; list each role once.", key=written(key)), keys=(key,))
    for member in members:
        if member not in roles and member not in others:
            raise unknown(key, str(member), [one for one in (*roles, *others) if one != key[1]])
    return members


def _rules(key: KeyPath, listed: Sequence[Fields], members: tuple[str, ...]) -> tuple[RouteRule, ...]:
    rules = tuple(_rule((*key, index), one, members) for index, one in enumerate(listed))
    try:
        check_rules(rules, members)
    except ConfigurationError as error:
        raise wrong(key, error.message) from None
    return rules


def _rule(key: KeyPath, fields: Fields, members: tuple[str, ...]) -> RouteRule:
    for field in fields:
        if field not in RULE_FIELDS:
            raise unknown((*key, field), field, RULE_FIELDS)
    asked = {field: value for field, value in fields.items() if value is not None}
    role = asked.pop("role", None)
    if role not in members:
        raise unknown((*key, "role"), str(role or ""), members)
    if not any(value not in ((), []) for value in asked.values()):
        raise wrong(key, text("the rule says only its role, so it would match everything; use 'default' for that"))
    pattern, has = asked.get("pattern"), asked.get("has")
    if pattern is not None:
        try:
            safe_pattern(pattern)
        except ConfigurationError as error:
            raise wrong((*key, "pattern"), error.message) from None
    return RouteRule(
        role=role,
        words=tuple(asked.get("words", ())),
        pattern=pattern,
        language=known_language((*key, "language"), asked.get("language")),
        has=None if has is None else chosen((*key, "has"), has, THINGS),
        longer_than=_length((*key, "longer_than"), asked.get("longer_than")),
        shorter_than=_length((*key, "shorter_than"), asked.get("shorter_than")),
    )


def _length(key: KeyPath, value: Any) -> int | None:
    if value is not None and value < 0:
        raise wrong(key, text("{value} is no number of letters; it is 0 or more", value=value))
    return None if value is None else int(value)


def check_nesting(members: Mapping[str, tuple[str, ...]]) -> None:
    """Refuse ensembles that contain themselves over any detour, or that are nested too deep.

    `members` holds the members of each ensemble.

    Raises:
        ConfigurationError: names the cycle, or the ensemble that is too deep.
    """
    depths: dict[str, int] = {}
    for name in members:
        if _depth(name, members, (), depths) > DEEPEST:
            raise _too_deep(name)


def _too_deep(name: str) -> ConfigurationError:
    return wrong(
        ("ensembles", name, "roles"),
        text("ensembles stand in ensembles more than {most} deep; take one level out", most=DEEPEST),
    )


def _depth(name: str, members: Mapping[str, tuple[str, ...]], above: tuple[str, ...], depths: dict[str, int]) -> int:
    if name in above:
        cycle = " → ".join((*above[above.index(name) :], name))
        raise wrong(
            ("ensembles", name, "roles"),
            text("the ensemble contains itself: {cycle}; take one of them out", cycle=cycle),
        )
    if len(above) > _LONGEST_CYCLE:
        raise _too_deep(above[0])
    if name not in depths:
        inner = [one for one in members[name] if one in members]
        depths[name] = 1 + max((_depth(one, members, (*above, name), depths) for one in inner), default=0)
    return depths[name]
