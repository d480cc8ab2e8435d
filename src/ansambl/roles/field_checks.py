"""Checks of single values that tables of roles and of ensembles share; each failure names its key."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ansambl.domain.errors import ConfigurationError, UsageError
from ansambl.domain.languages import language_code
from ansambl.domain.names import folded, nearest_names
from ansambl.domain.text import Text, text

Fields = Mapping[str, Any]
"""A table as it is written: key to value."""

KeyPath = tuple[str | int, ...]
"""The way to a key: the table of roles or of ensembles, the name, the key; a number stands for an element of a list."""


def written(path: KeyPath) -> str:
    """The path as a sentence names it: ``ensembles.auto.rules[0].role``."""
    return "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path).removeprefix(".")


def wrong(path: KeyPath, problem: Text) -> ConfigurationError:
    """An error about one key, in the words ``key: problem``."""
    return ConfigurationError(text("{key}: {problem}", key=written(path), problem=problem), keys=(path,))


def unknown(path: KeyPath, name: str, known: Iterable[str]) -> ConfigurationError:
    """A name that is not among `known`, with the nearest that are."""
    names = list(known)
    close = nearest_names(name, names)
    key = written(path)
    return ConfigurationError(
        text("{key}: '{name}' is not known; did you mean {nearest}?", key=key, name=name, nearest=", ".join(close))
        if close
        else text(
            "{key}: '{name}' is not known; known are: {known}.", key=key, name=name, known=", ".join(names) or "-"
        ),
        keys=(path,),
    )


def chosen(path: KeyPath, value: object, known: Iterable[str]) -> str:
    """`value`, which is one of `known`.

    Raises:
        ConfigurationError: it is none of them.
    """
    names = [str(one) for one in known]
    if value not in names:
        raise unknown(path, str(value), names)
    return str(value)


def within(path: KeyPath, value: Any, least: float, most: float) -> Any:
    """`value`, which is at least `least` and at most `most`.

    Raises:
        ConfigurationError: it is outside.
    """
    if not least <= value <= most:
        raise wrong(path, text("{value} is not between {least} and {most}", value=value, least=least, most=most))
    return value


def known_model(path: KeyPath, name: str, spellings: Mapping[str, str]) -> str:
    """The model's own name; `spellings` maps folded names and aliases to it.

    Raises:
        ConfigurationError: there is no such model.
    """
    found = spellings.get(folded(name))
    if found is None:
        raise unknown(path, name, sorted(set(spellings.values())))
    return found


def known_language(path: KeyPath, name: str | None) -> str | None:
    """The two-letter code of a language that is given by its code or its name; None stays None.

    Raises:
        ConfigurationError: there is no such language.
    """
    if name is None:
        return None
    try:
        return language_code(name)
    except UsageError:
        raise wrong(
            path, text("'{name}' is no language; give its code of two letters, such as \"ru\"", name=name[:40])
        ) from None
