"""Reading tables of TOML that people write: every wrong value is one line that names the file and the field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansambl.domain.errors import UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import text
from ansambl.domain.units import Bytes, format_bytes, parse_bytes

_SHOWN = 60
_LARGEST = 2**63 - 1
_OPERATIONS = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)\s*(sparse\s+)?([GTP])(?:FLOPS|OPS)(?:/s)?", re.IGNORECASE)
_PREFIXES = {"g": 1e9, "t": 1e12, "p": 1e15}
_SPARSITY = 2.0
"""2:4 sparsity doubles what a data sheet may claim: two of four weights are zero."""

MEMORY = (Bytes(2**26), Bytes(2**46))
"""The sizes that a device's memory may have: 64 MiB to 64 TiB. A bare number of GB is below it and so is refused."""
_BANDWIDTH = (1e8, 1e15)
_OPERATION_RATES = (1e9, 1e18)

Pair = tuple[float, float]


def shown(value: object) -> str:
    """A value as a message quotes it: short, on one line, without codes that a terminal would obey."""
    try:
        words = (
            f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
        )
    except ValueError:
        # Python writes no number of more than 4300 digits.
        return "a number of thousands of digits"
    words = "".join(one if one.isprintable() else "?" for one in " ".join(words.split()))
    return words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"


@dataclass(frozen=True, slots=True)
class Fields:
    """One table of a file. `path` is how a message names it (``"gpus[2]"``), empty for the file itself.

    Every method raises UsageError, in one line with the file, the field and what to write instead.
    """

    file: str
    table: Mapping[str, Any]
    path: str = ""

    def field(self, key: str) -> str:
        """The full name of a key for messages."""
        name = shown(key).strip('"')
        return f"{self.path}.{name}" if self.path else name

    def wrong(self, key: str, example: str) -> UsageError:
        """The error for a value of the wrong kind."""
        return UsageError(
            text("{file}: {field} cannot be {value}; write for example {example}",
                 file=self.file, field=self.field(key), value=shown(self.table[key]), example=example)
        )  # fmt: skip

    def missing(self, key: str, example: str) -> UsageError:
        """The error for a key that must be there."""
        return UsageError(
            text("{file}: {field} is missing; write for example {example}",
                 file=self.file, field=self.field(key), example=example)
        )  # fmt: skip

    def outside(self, key: str, low: str, high: str) -> UsageError:
        """The error for an amount that no device has."""
        return UsageError(
            text("{file}: {field} is {value}, which no device has; it must be between {low} and {high}",
                 file=self.file, field=self.field(key), value=shown(self.table[key]), low=low, high=high)
        )  # fmt: skip

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys that are not `known`."""
        names = tuple(known)
        for key in self.table:
            if key in names:
                continue
            nearest = nearest_names(key[:_SHOWN], names, 1)
            if nearest:
                message = text('{file}: there is no key {field}; did you mean "{nearest}"?',
                               file=self.file, field=self.field(key), nearest=nearest[0])  # fmt: skip
            else:
                message = text("{file}: there is no key {field}; the keys here are: {known}",
                               file=self.file, field=self.field(key), known=", ".join(names))  # fmt: skip
            raise UsageError(message)

    def words(self, key: str) -> str | None:
        """A text that is not empty; None when the key is not there."""
        value = self.table.get(key)
        if key in self.table and (not isinstance(value, str) or not value.strip() or not value.isprintable()):
            raise self.wrong(key, '"RTX 4090"')
        return value

    def all_words(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty when the key is not there."""
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) and one.isprintable() for one in value):
            raise self.wrong(key, '["a", "b"]')
        return tuple(value)

    def flag(self, key: str) -> bool | None:
        """True or false; None when the key is not there."""
        value = self.table.get(key)
        if key in self.table and not isinstance(value, bool):
            raise self.wrong(key, "true")
        return value

    def count(self, key: str, low: int, high: int) -> int | None:
        """A whole number between `low` and `high`; None when the key is not there."""
        if key not in self.table:
            return None
        value = self.table[key]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, str(low))
        if not low <= value <= high:
            raise self.outside(key, str(low), str(high))
        return value

    def counts(self, key: str, low: int, high: int) -> tuple[int, int] | None:
        """A whole number or a pair of them, the lower first."""
        value = self.table.get(key)
        if not isinstance(value, list):
            single = self.count(key, low, high)
            return None if single is None else (single, single)
        if len(value) != 2 or not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
            raise self.wrong(key, f"[{low}, {high}]")
        if not low <= value[0] <= value[1] <= high:
            raise self.outside(key, str(low), str(high))
        return value[0], value[1]

    def memory(self, key: str) -> Bytes | None:
        """A size of memory in bytes; None when the key is not there."""
        if key not in self.table:
            return None
        example = '"24GiB"'
        size = Bytes(round(self._amount(key, self.table[key], example)))
        low, high = MEMORY
        if not low <= size <= high:
            raise self.outside(key, format_bytes(low), format_bytes(high))
        return size

    def bandwidth(self, key: str) -> Pair | None:
        """Bytes a second as a pair (low, high), equal for one figure; None when the key is not there."""
        example = '"1008 GB/s"'
        return self._pair(
            key, example, lambda one: self._amount(key, one, example), _BANDWIDTH, ("0.1 GB/s", "1000000 GB/s")
        )

    def operations(self, key: str) -> Pair | None:
        """Dense operations a second as a pair; a figure marked as sparse is halved. None when the key is not there."""
        example = '"165.2 TFLOPS"'
        return self._pair(
            key, example, lambda one: self._rate(key, one, example), _OPERATION_RATES, ("1 GFLOPS", "1000 PFLOPS")
        )

    def inner(self, key: str) -> Fields:
        """A table inside this one; an empty one when the key is not there."""
        value = self.table.get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"[{key}]")
        return Fields(self.file, value, self.field(key))

    def tables(self, key: str) -> tuple[Fields, ...]:
        """The tables of a list; none when the key is not there."""
        value = self.table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.wrong(key, f"[[{key}]]")
        return tuple(
            Fields(self.file, one, f"{self.field(key)}[{number}]") for number, one in enumerate(value, start=1)
        )

    def _pair(self, key: str, example: str, read: Any, limits: Pair, written: tuple[str, str]) -> Pair | None:
        if key not in self.table:
            return None
        value = self.table[key]
        given = value if isinstance(value, list) else [value, value]
        if len(given) != 2:
            raise self.wrong(key, example)
        low, high = (float(read(one)) for one in given)
        if not limits[0] <= low <= high <= limits[1]:
            raise self.outside(key, *written)
        return low, high

    def _amount(self, key: str, value: object, example: str) -> float:
        """Bytes, or bytes a second."""
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise self.wrong(key, example)
        if isinstance(value, int) and abs(value) > _LARGEST:
            raise self.wrong(key, example)
        try:
            return parse_bytes(value.strip().removesuffix("/s") if isinstance(value, str) else value)
        except UsageError:
            raise self.wrong(key, example) from None

    def _rate(self, key: str, value: object, example: str) -> float:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= _LARGEST:
            return float(value)
        match = _OPERATIONS.fullmatch(value.strip()) if isinstance(value, str) else None
        if not match:
            raise self.wrong(key, example)
        dense = float(match[1]) * _PREFIXES[match[3].lower()]
        return dense / _SPARSITY if match[2] else dense
