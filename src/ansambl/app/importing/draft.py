"""A configuration in the making: tables, and what could not be taken over with the reason."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ansambl.app.catalog import catalog_of
from ansambl.app.configuration.settings import EMBEDDED
from ansambl.app.configuration.settings_file import load_settings
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import Text, text
from ansambl.foundation.toml_writer import write_toml
from ansambl.model_catalog.printable import printable
from ansambl.roles.catalog import shipped

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_WIDTH, _LONGEST = 400, 80


@dataclass(frozen=True, slots=True)
class Left:
    """Something that was not taken over, or that its owner should look at: where it stood, and why."""

    where: str
    reason: Text


@dataclass
class Draft:
    """What was taken over so far. Use `model_name` for every model before its table is added."""

    title: str
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    roles: dict[str, dict[str, Any]] = field(default_factory=dict)
    engines: dict[str, dict[str, Any]] = field(default_factory=dict)
    left: list[Left] = field(default_factory=list)

    def leave(self, where: str, reason: Text) -> None:
        """Note what is not taken over; the same is noted once."""
        one = Left(printable(where, 120), reason)
        if one not in self.left:
            self.left.append(one)

    def model_name(self, wanted: str) -> str:
        """A table's name near `wanted` that nothing has yet, neither here nor among what comes with Ansambl."""
        plain = _UNSAFE.sub("-", wanted)[:_LONGEST].strip("-.") or "model"
        name, number, taken = plain, 2, self._taken()
        while name.casefold() in taken:
            name, number = f"{plain}-{number}", number + 1
        return name

    def aliases(self, where: str, wanted: Sequence[str], own: str) -> list[str]:
        """Those of `wanted` that the table called `own` can have as further names; the others are noted."""
        found: list[str] = []
        taken = self._taken()
        for one in dict.fromkeys(wanted):
            if one == own:
                continue
            if not one or len(one) > _LONGEST or any(each.isspace() or not each.isprintable() for each in one):
                self.leave(where, text("'{name}' cannot be a name here", name=printable(one)))
            elif one.casefold() in taken or one in found:
                self.leave(where, text("the name '{name}' is another's already", name=printable(one)))
            else:
                found.append(one)
        return found

    def _taken(self) -> set[str]:
        tables = (*self.models.items(), *self.roles.items())
        names = {name for name, _ in tables} | {alias for _, table in tables for alias in table.get("aliases", ())}
        return {one.casefold() for one in names} | _shipped_names()


@cache
def _shipped_names() -> frozenset[str]:
    """What clients may ask for before anything is configured: the roles and ensembles that come with Ansambl."""
    tables = shipped()
    listed = {alias for kind in (tables.roles, tables.ensembles) for one in kind.values()
              for alias in one.get("aliases") or ()}  # fmt: skip
    return frozenset(one.casefold() for one in {*tables.roles, *tables.ensembles, *listed, EMBEDDED})


def written(draft: Draft, *, check: bool = True) -> str:
    """The ``ansambl.toml``, commented, read by our own reader before anybody gets it.

    Raises:
        ConfigurationError: nothing was taken over, or the result would not be valid (a mistake of ours; with its line).
    """
    if not draft.models:
        reasons = "; ".join(f"{one.where}: {one.reason.render()}" for one in draft.left[:3])
        raise ConfigurationError(
            text("{title} holds no model that can be taken over{reasons}", title=draft.title,
                 reasons=f" ({reasons})" if reasons else "")
        )  # fmt: skip
    lines = [f"# Taken over from {draft.title} by 'ansambl import-config'. Check it with: ansambl config show", "#"]
    if draft.left:
        lines += ["# Not taken over, or to be looked at:"]
        lines += [f"#   {printable(f'{one.where}: {one.reason.render()}', _WIDTH)}" for one in draft.left]
    else:
        lines += ["# Everything was taken over."]
    tables: dict[str, Mapping[str, Any]] = {"models": draft.models, "roles": draft.roles, "engines": draft.engines}
    document = "\n".join(lines) + "\n\n" + write_toml({name: table for name, table in tables.items() if table})
    if check:
        _check(document, draft.title)
    return document


def _check(document: str, title: str) -> None:
    with tempfile.TemporaryDirectory(prefix="ansambl-import-") as folder:
        file = Path(folder) / "ansambl.toml"
        file.write_text(document, encoding="utf-8")
        try:
            catalog_of(load_settings(file, environment={}))
        except ConfigurationError as failure:
            raise ConfigurationError(
                text("what was made of {title} is not valid ({reason}); take over the rest by hand", title=title,
                     reason=failure.message.render().replace(f"{file}", "ansambl.toml"))
            ) from failure  # fmt: skip
