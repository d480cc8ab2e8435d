"""What may be asked of knowledge over HTTP: the arguments of each call, checked with words that name the field."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ansambl.domain.errors import RequestError
from ansambl.domain.text import text

LONGEST_QUERY = 4_000
MOST_HITS = 50
LONGEST_READ = 50_000
"""Characters of a document that one call returns at most."""

_Asked = TypeVar("_Asked", bound="msgspec.Struct")
_SHOWN = 200
_LONGEST_AGO = 1e11
"""Seconds; some three thousand years."""


class Search(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A question. `language` is an ISO 639-1 code; times are ISO 8601, or seconds since the epoch."""

    query: str
    collections: list[str] | None = None
    limit: int = 8
    language: str | None = None
    since: str | float | None = None
    until: str | float | None = None
    words_only: bool = False


class ReadDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`length` characters of a document from character `start` on."""

    id: int
    start: int = 0
    length: int = 8_000


class ReadPassage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A passage by the id that a search gave it, with `around` passages before and behind it."""

    id: str
    around: int = 1


def convert(arguments: Mapping[str, Any] | None, kind: type[_Asked]) -> _Asked:
    """Arguments as a record.

    Raises:
        RequestError: a field is missing, unknown, or of the wrong kind or size.
    """
    try:
        found = msgspec.convert(dict(arguments or {}), kind)
    except (msgspec.ValidationError, TypeError) as error:
        raise RequestError(text("The arguments cannot be used: {reason}", reason=str(error)[:_SHOWN])) from None
    if isinstance(found, Search):
        _check(found)
    if isinstance(found, ReadDocument):
        _between("start", found.start, 0, 2**53)
        _between("length", found.length, 1, LONGEST_READ)
    if isinstance(found, ReadPassage):
        _between("around", found.around, 0, 5)
    return found


def _check(found: Search) -> None:
    if not found.query.strip():
        raise RequestError(text("'query' is empty; say what is looked for."), param="query")
    if len(found.query) > LONGEST_QUERY:
        raise RequestError(
            text("'query' is longer than {most} characters; ask something shorter.", most=LONGEST_QUERY), param="query"
        )
    _between("limit", found.limit, 1, MOST_HITS)
    moment("since", found.since)
    moment("until", found.until)


def _between(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise RequestError(
            text("'{name}' must be between {least} and {most}.", name=name, least=least, most=most), param=name
        )


def moment(name: str, value: str | float | None) -> float | None:
    """A moment in seconds since the epoch; a day without a time begins at midnight, without a zone it is UTC.

    Raises:
        RequestError: it is none.
    """
    if value is None:
        return None
    if isinstance(value, (int, float)):
        if math.isfinite(value) and abs(value) <= _LONGEST_AGO:
            return float(value)
    else:
        try:
            found = dt.datetime.fromisoformat(value.strip())
            return (found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)).timestamp()
        except (ValueError, OverflowError):
            pass
    raise RequestError(
        text("'{name}' must be a day such as 2025-08-07, a moment in ISO 8601, or seconds since the epoch.", name=name),
        param=name,
    )


def passage_of(written: str) -> tuple[int, int]:
    """The document and the number of a passage.

    Raises:
        RequestError: it is no such id.
    """
    document, dot, number = written.partition(".")
    short = len(written) <= _SHOWN
    if short and dot and document.isascii() and document.isdigit() and number.isascii() and number.isdigit():
        return int(document), int(number)
    raise RequestError(
        text("'{id}' is no id of a passage; searches give them, such as 12.3.", id=written[:_SHOWN]), param="id"
    )
