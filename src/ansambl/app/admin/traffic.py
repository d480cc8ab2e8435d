"""What was asked in the last minutes, as the admin API tells it: the book's minutes added up to steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import TypeVar

from ansambl.api.reading_schemas import KeyTrafficRowDocument, TrafficDocument, TrafficRowDocument
from ansambl.runtime.recent_minutes import Pair
from ansambl.runtime.usage import KeyUsage, MinuteRow, Usage, UsageBook

_MINUTE = 60
_NOT_TOLD = frozenset({"saved", "restored"})
"""They are counted when usage is written, not when they happen."""

_Sums = TypeVar("_Sums", Usage, KeyUsage)


def traffic_document(book: UsageBook, minutes: int, step: int, now: float) -> TrafficDocument:
    """The newest `minutes` in steps of `step` minutes; a step begins at a multiple of it since the epoch."""
    newest = int(now // _MINUTE)
    # Whole steps, so that the first one is not one of half the height.
    first = (newest - minutes + 1) // step * step
    length = newest - first + 1
    rows = _by_step(book.minutes(length), step, Usage)
    keys = _by_step(book.key_minutes(length), step, KeyUsage)
    return TrafficDocument(
        start=first * _MINUTE, step=step * _MINUTE, now=now, counted_since=book.counted_since,
        traffic=[
            TrafficRowDocument(
                time=at, model=model, name=name,
                **{field: value for field, value in asdict(sums).items() if field not in _NOT_TOLD},
            )
            for (at, (model, name)), sums in rows if sums.requests or sums.prompt_tokens or sums.output_tokens
        ],
        by_key=[
            KeyTrafficRowDocument(time=at, key=key, model=model, **asdict(sums)) for (at, (key, model)), sums in keys
        ],
    )  # fmt: skip


def _by_step(
    rows: Iterable[MinuteRow[_Sums]], step: int, make: type[_Sums]
) -> list[tuple[tuple[int, Pair], _Sums]]:  # fmt: skip
    found: dict[tuple[int, Pair], _Sums] = {}
    for row in rows:
        place = row.minute // step * step * _MINUTE, row.pair
        if place not in found:
            found[place] = make()
        found[place].add(row.usage)
    return sorted(found.items(), key=lambda one: one[0])
