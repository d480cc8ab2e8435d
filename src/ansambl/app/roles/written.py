"""Roles and ensembles as people write them: checked as the configuration file is, wherever they come from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_lines import KeyPath, key_lines, line_of
from ansambl.app.configuration.settings_problems import problem_of
from ansambl.app.configuration.settings_records import ensemble_fields, role_fields
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import Text, text
from ansambl.roles.catalog import Kind, Tables

KINDS: tuple[Kind, ...] = ("roles", "ensembles")
"""The two tables, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the tables were read from: its name for people, and the line of each key."""

    name: str
    lines: Mapping[KeyPath, int]


def read_toml(source: str, name: str) -> tuple[dict[str, Any], Source]:
    """The tables of a TOML text, and where each key stands.

    Raises:
        ConfigurationError: it is not TOML; with the line.
    """
    try:
        return tomllib.loads(source), Source(name, key_lines(source))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(text("{file}: not valid TOML: {reason}", file=name, reason=error)) from None
    except (RecursionError, ValueError):
        raise ConfigurationError(
            text("{file} has a number or a nesting that is too large to read; shorten it", file=name)
        ) from None


def check_tables(document: Mapping[str, Any], source: Source | None = None) -> Tables:
    """The tables ``roles`` and ``ensembles`` of `document`, checked key by key, named as the catalog names the keys.

    Raises:
        ConfigurationError: another table, an unknown key, a value that cannot be used; with the line of `source`.
    """
    for name in document:
        if name not in KINDS:
            raise ConfigurationError(
                _placed((name,), text("'{name}' is no table of roles or ensembles; write for example {example}",
                                      name=name, example="[roles.poet]"), source)
            )  # fmt: skip
    try:
        settings = Settings.model_validate({**document})
    except ValidationError as error:
        problems = [problem_of(one, document) for one in error.errors(include_url=False)]
        path, problem = problems[0]
        raise ConfigurationError(_placed(path, problem, source), keys=(path,)) from None
    return Tables(role_fields(settings), ensemble_fields(settings))


def _placed(path: KeyPath, problem: Text, source: Source | None) -> Text:
    line = line_of(path, source.lines) if source is not None else None
    if source is None or line is None:
        return problem
    return text("{file} line {line}: {problem}", file=source.name, line=line, problem=problem)
