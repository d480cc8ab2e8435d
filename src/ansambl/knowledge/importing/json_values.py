"""The values of a JSON file one by one, in memory for one of them: exports of years are files of gigabytes.

Values are told apart by their brackets alone and decoded each by itself. So one that is broken inside does not end the
file, and a file that ends too early gives all that stand before its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

import msgspec

LARGEST_VALUE = 256 * 1024 * 1024
"""Bytes of one value, which is one conversation. The largest that people reported are some tens of MB."""

_READ = 1 << 20
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# Possessive, so that a text of many MB in one string needs no memory for turning back.
_STEP = re.compile(rb'[{}\[\]]|"(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
_QUOTE = b'"'[0]
_OPENING = frozenset(b"{[")


@dataclass(frozen=True, slots=True)
class Broken:
    """A value that could not be had. `ended` is whether the file ended in it; `number` counts from 1."""

    number: int
    reason: str
    ended: bool = False


def json_values(stream: IO[bytes], *, largest: int = LARGEST_VALUE) -> Iterator[Any]:
    """The elements of a file that is one array, or its values one after another; a `Broken` for each that is none.

    Only objects and arrays count as values; what else stands between them is passed over.
    """
    number = 0
    for raw in _cut(stream, largest):
        number += 1
        if isinstance(raw, str):
            yield Broken(number, raw, ended=raw.startswith("the file ends"))
            continue
        try:
            yield decoded(raw)
        except ValueError as error:
            yield Broken(number, str(error))


def decoded(raw: bytes) -> Any:
    """The value of `raw`. Halves of a letter and bytes that are no UTF-8 become a mark instead of an error.

    Exports cut texts in the middle of an emoji, and half of a surrogate pair is no text that could be kept.

    Raises:
        ValueError: it is no JSON; the message says why.
    """
    try:
        return msgspec.json.decode(raw)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        strict = f"it is no valid JSON ({str(error)[:120]})"
    try:
        lenient = json.loads(raw.decode("utf-8", "replace"), strict=False)
        return msgspec.json.decode(json.dumps(lenient, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except ValueError:
        raise ValueError(strict) from None


class _Cutter:
    """Where one stands in the bytes: how deep, whether inside a string, and what the present value began with."""

    def __init__(self, largest: int) -> None:
        self.largest = largest
        self.in_array: bool | None = None
        self.depth = 0
        self.in_string = False
        self.parts: list[bytes] = []
        self.size = 0
        self.too_large = False

    def feed(self, data: bytes) -> tuple[list[bytes | str], bytes]:
        """The values that end in `data`, and the rest of it that must come again in front of the next bytes."""
        found: list[bytes | str] = []
        position, begin = 0, 0 if self.depth else -1
        if self.in_string:
            position = _string_end(data, 0)
            if position < 0:
                return found, self._hold(data, 0, len(data) - (1 if _ends_in_escape(data) else 0))
            self.in_string = False
        while (step := _STEP.search(data, position)) is not None:
            position = step.end()
            kind = data[step.start()]
            if kind != _QUOTE:
                begin = self._bracket(kind, data, step, begin, found)
            elif not step.group(1):
                # The string goes on in the next bytes; a lone backslash at the end goes with them.
                self.in_string = self.base_open
                return found, self._hold(data, begin, position) if self.base_open else b""
        return found, self._hold(data, begin, len(data)) if self.base_open else b""

    def _bracket(self, kind: int, data: bytes, step: re.Match[bytes], begin: int, found: list[bytes | str]) -> int:
        """Take in a bracket; where the present value begins in `data` after it."""
        if kind in _OPENING:
            if self.in_array is None:
                self.in_array = kind == b"["[0]
                if self.in_array:
                    return begin
            self.depth += 1
            return step.start() if self.depth == 1 else begin
        if self.depth:
            self.depth -= 1
            if self.depth == 0:
                found.append(self._take(data[begin : step.end()]))
                return -1
        return begin

    @property
    def base_open(self) -> bool:
        """Whether a value is open."""
        return self.depth > 0

    def _hold(self, data: bytes, begin: int, end: int) -> bytes:
        self.size += end - begin
        if self.size > self.largest:
            self.too_large = True
            self.parts.clear()
        else:
            self.parts.append(data[begin:end])
        return data[end:]

    def _take(self, last: bytes) -> bytes | str:
        whole = self.size + len(last)
        value: bytes | str = (
            f"it is larger than {self.largest >> 20} MiB"
            if self.too_large or whole > self.largest
            else b"".join((*self.parts, last))
        )
        self.parts.clear()
        self.size, self.too_large = 0, False
        return value


def _ends_in_escape(data: bytes) -> bool:
    count = len(data) - len(data.rstrip(b"\\"))
    return count % 2 == 1


def _string_end(data: bytes, position: int) -> int:
    """The position behind the quote that ends the string which `position` stands in; -1 where it does not end."""
    found = _IN_STRING.match(data, position)
    end = found.end() if found else position
    return end + 1 if end < len(data) and data[end] == _QUOTE else -1


def _cut(stream: IO[bytes], largest: int) -> Iterator[bytes | str]:
    cutter, rest = _Cutter(largest), b""
    first = True
    while data := stream.read(_READ):
        if first:
            data, first = data.removeprefix(b"\xef\xbb\xbf"), False
        found, rest = cutter.feed(rest + data)
        yield from found
    if cutter.base_open:
        yield "the file ends in the middle of it"
