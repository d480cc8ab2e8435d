"""A table from names to things that are imported only when they are asked for."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class UnknownEntryError(KeyError):
    """Nothing is registered under this name; `nearest` holds similar names."""

    def __init__(self, name: str, nearest: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name = name
        self.nearest = nearest


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> tuple[str, ...]:
    """The known names that look like `name`, best first; letter case is ignored."""
    by_folded = {one.casefold(): one for one in known}
    close = difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.5)
    return tuple(by_folded[one] for one in close)


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
                raise UnknownEntryError(name, nearest_names(name, self._entries))
            module, _, attribute = self._entries[name].partition(":")
            self._made[name] = getattr(importlib.import_module(module), attribute)()
        return self._made[name]
