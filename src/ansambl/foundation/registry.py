"""A table from names to things that are imported only when they are asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownEntryError(KeyError):
    """Nothing is registered under this name."""


class Registry(Generic[T]):
    """Maps a name to ``"module:attribute"``; the attribute is called once, when first asked for."""

    def __init__(self, entries: Mapping[str, str]) -> None:
        self._entries = dict(entries)
        self._made: dict[str, T] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def get(self, name: str) -> T:
        """Return the thing registered under `name`.

        Raises:
            UnknownEntryError: there is none.
        """
        if name not in self._made:
            if name not in self._entries:
                raise UnknownEntryError(name)
            module, _, attribute = self._entries[name].partition(":")
            self._made[name] = getattr(importlib.import_module(module), attribute)()
        return self._made[name]
