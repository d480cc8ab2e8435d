"""Dates as the locales of the world write them, and whether 07/08/2025 is in July or in August."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise

_MONTHS = {
    "en": "jan feb mar apr may jun jul aug sep oct nov dec",
    "ru": "янв фев мар апр ма июн июл авг сен окт ноя дек",
    "uk": "січ лют бер кві тра чер лип сер вер жов лис гру",
    "de": "jan feb mär apr mai jun jul aug sep okt nov dez",
    "fr": "janv févr mars avr mai juin juil août sept oct nov déc",
    "es": "ene feb mar abr may jun jul ago sep oct nov dic",
    "it": "gen feb mar apr mag giu lug ago set ott nov dic",
    "pt": "jan fev mar abr mai jun jul ago set out nov dez",
    "pl": "sty lut mar kwi maj cze lip sie wrz paź lis gru",
    "nl": "jan feb maa apr mei jun jul aug sep okt nov dec",
}
# Longer beginnings first: "juil" must not be read as "jui".
_NAMES = sorted(
    {(name, number) for names in _MONTHS.values() for number, name in enumerate(names.split(), 1)}
    | {("mrz", 3), ("мая", 5), ("май", 5), ("märz", 3)},
    key=lambda one: (-len(one[0]), one),
)
_SKIPPED = r"(?:\s*(?:г\.|года|г|р\.|року))?"
_NUMBERS = re.compile(r"(?<!\d)(\d{1,2})\s?([./-])\s?(\d{1,2})\s?\2\s?(\d{4}|\d{2})(?!\d)\.?")
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})\s?(?:[./-]|年|년)\s?(\d{1,2})\s?(?:[./-]|月|월)\s?(\d{1,2})(?!\d)[日일.]?")
_DAY_NAMED = re.compile(
    r"(?<!\d)(\d{1,2})(?:\.|st|nd|rd|th|º|er)?\s+(?:de\s+|of\s+)?([^\W\d_]{2,12})\.?,?\s+(?:de\s+)?(\d{4})" + _SKIPPED
)
_NAMED_DAY = re.compile(r"([^\W\d_]{2,12})\.?\s+(\d{1,2})(?:st|nd|rd|th)?,?\s+(\d{4})")
_TIME = re.compile(
    r"(?P<before>오전|오후|上午|下午|午前|午後)?\s*(?<!\d)(?P<hour>\d{1,2})\s?[:.h時]\s?(?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:\.\d+)?)?"
    r"(?!\d)\s*(?P<half>[AaPp]\.?\s?[Mm]\b\.?|[ДП]П\b)?(?P<zone>\s?(?:Z|UTC|GMT)?(?:[+-]\d{1,2}(?::?\d{2})?)?)"
)
_AFTERNOON = ("p", "п", "오후", "下午", "午後")


@dataclass(frozen=True, slots=True)
class Written:
    """A date as it stands there. `day` and `month` are certain unless `open`: then they may be the other way round.

    `day_first` is what a number over 12 shows about its locale. `capitals` is whether it says AM or PM in capitals, as
    Americans do. `start` and `end` are where it stands in the text.
    """

    year: int
    month: int
    day: int
    clock: tuple[int, int, int] = (0, 0, 0)
    zone: tzinfo | None = None
    open: bool = False
    capitals: bool = False
    timed: bool = False
    day_first: bool | None = None
    start: int = 0
    end: int = 0

    def moment(self, *, day_first: bool, zone: tzinfo | None) -> float | None:
        """Seconds since the epoch; without a zone of its own it is meant in `zone`, else in this machine's."""
        month, day = (self.month, self.day) if not self.open or day_first else (self.day, self.month)
        try:
            whole = datetime(self.year, month, day, *self.clock, tzinfo=self.zone or zone)
            return (whole if whole.tzinfo else whole.astimezone()).timestamp()
        except (ValueError, OverflowError, OSError):
            return None


@dataclass(slots=True)
class DayOrder:
    """What the notes read so far tell about dates of two small numbers. `given` is what the user says."""

    given: bool | None = None
    day: int = 0
    month: int = 0

    @property
    def certain(self) -> bool:
        """Whether more notes need not be asked."""
        return self.given is not None or self.day + self.month >= 50

    def vote(self, *, day_first: bool) -> None:
        """One note's certain answer."""
        if day_first:
            self.day += 1
        else:
            self.month += 1

    def for_note(self, own: bool | None, *, capitals: bool) -> tuple[bool, bool]:
        """Whether the day comes first in a note that itself says `own`, and whether that is only a guess."""
        if own is not None:
            return own, False
        if self.given is not None:
            return self.given, False
        if self.day != self.month:
            return self.day > self.month, False
        return not capitals, True


def day_first_of(dates: Sequence[Written], known: Iterable[tuple[Written, float]] = ()) -> bool | None:
    """Whether the day comes first in these dates of one note, in their order; None where they do not tell.

    A number over 12 tells, then a date whose time is known from elsewhere (`known`), then the order: messages come
    one after another.
    """
    for one, moment in known:
        if one.open:
            gaps = [_gap(one, moment, day_first=first) for first in (True, False)]
            if min(gaps) < 2 * 86_400 < max(gaps):
                return gaps[0] < gaps[1]
    for one in dates:
        if one.day_first is not None:
            return one.day_first
    if not any(one.open for one in dates):
        return None
    day, month = (_rising([one.moment(day_first=first, zone=UTC) for one in dates]) for first in (True, False))
    return day if day != month else None


def _rising(moments: Sequence[float | None]) -> bool:
    """Whether each moment is one, and none is before the one that it follows."""
    real = [one for one in moments if one is not None]
    return len(real) == len(moments) and all(a <= b + 60 for a, b in pairwise(real))


def _gap(one: Written, moment: float, *, day_first: bool) -> float:
    found = one.moment(day_first=day_first, zone=UTC)
    return abs(found - moment) if found is not None else float("inf")


def written_date(text: str) -> Written | None:
    """The first date in `text`, with the time beside it."""
    found = [one for one in (_numbers(text), _year_first(text), _named(text)) if one is not None]
    if not found:
        return None
    first = min(found, key=lambda one: one.start)
    return _with_time(text, first)


def _numbers(text: str) -> Written | None:
    match = _NUMBERS.search(text)
    if match is None:
        return None
    first, second, year = int(match[1]), int(match[3]), int(match[4])
    year += 2000 if year < 100 else 0
    if first <= 12 and second <= 12:
        # With points the day comes first wherever points are used.
        return Written(
            year, second, first, open=match[2] != "." and first != second, start=match.start(), end=match.end()
        )
    month, day = (second, first) if first > 12 else (first, second)
    if not _real(year, month, day):
        return None
    shows = None if match[2] == "." else first > 12
    return Written(year, month, day, day_first=shows, start=match.start(), end=match.end())


def _year_first(text: str) -> Written | None:
    match = _YEAR_FIRST.search(text)
    if match is None or not _real(int(match[1]), int(match[2]), int(match[3])):
        return None
    return Written(int(match[1]), int(match[2]), int(match[3]), start=match.start(), end=match.end())


def _named(text: str) -> Written | None:
    for pattern, day, name in ((_DAY_NAMED, 1, 2), (_NAMED_DAY, 2, 1)):
        for match in pattern.finditer(text):
            month = _month(match[name])
            if month and _real(int(match[3]), month, int(match[day])):
                return Written(int(match[3]), month, int(match[day]), start=match.start(), end=match.end())
    return None


def _month(name: str) -> int | None:
    name = name.casefold()
    return next((number for start, number in _NAMES if name.startswith(start)), None)


def _real(year: int, month: int, day: int) -> bool:
    return 1990 <= year <= 2200 and 1 <= month <= 12 and 1 <= day <= 31


def _with_time(text: str, date: Written) -> Written:
    match = _TIME.search(text, date.end)
    # Only the words between ("at", "в", "um", a comma) may stand before the time.
    if match is None or len(text[date.end : match.start()].strip()) > 8:
        return date
    hour, minute, second = int(match["hour"]), int(match["minute"]), int(match["second"] or 0)
    half = (match["half"] or match["before"] or "").casefold()
    if half and hour <= 12:
        hour = hour % 12 + (12 if half.startswith(_AFTERNOON) else 0)
    if hour > 23 or minute > 59 or second > 59:
        return date
    capitals = (match["half"] or "")[:1] in {"A", "P"}
    return replace(
        date, clock=(hour, minute, second), zone=_zone(match["zone"]), capitals=capitals, timed=True, end=match.end()
    )


def _zone(text: str) -> tzinfo | None:
    text = text.strip()
    if not text:
        return None
    match = re.search(r"([+-])(\d{1,2})(?::?(\d{2}))?$", text)
    if match is None:
        return UTC
    minutes = int(match[2]) * 60 + int(match[3] or 0)
    if minutes > 14 * 60:
        return None
    return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
