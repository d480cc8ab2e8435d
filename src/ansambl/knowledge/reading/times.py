"""Times as documents write them."""

from __future__ import annotations

import datetime as dt
import email.utils
import re

_PDF = re.compile(r"\AD?:?(\d{4})(\d\d)?(\d\d)?(\d\d)?(\d\d)?(\d\d)?(?:(Z)|([+-])(\d\d)'?(\d\d)?'?)?")


def seconds_of(written: str) -> float | None:
    """Seconds since the epoch of a time by ISO 8601, RFC 5322 or PDF 32000-1 (7.9.4); None for anything else.

    A time without a zone is taken for UTC.
    """
    written = written.strip()
    try:
        return _seconds(dt.datetime.fromisoformat(written))
    except (ValueError, OverflowError):
        pass
    try:
        return _seconds(email.utils.parsedate_to_datetime(written))
    except (ValueError, TypeError, IndexError, OverflowError):
        pass
    return _pdf(written)


def _seconds(time: dt.datetime) -> float | None:
    try:
        return (time if time.tzinfo else time.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def _pdf(written: str) -> float | None:
    found = _PDF.match(written)
    if not found:
        return None
    year, month, day, hour, minute, second, _, sign, hours, minutes = found.groups()
    try:
        zone = dt.timedelta(hours=int(hours or 0), minutes=int(minutes or 0))
        time = dt.datetime(
            int(year), int(month or 1), int(day or 1), int(hour or 0), int(minute or 0), int(second or 0),
            tzinfo=dt.timezone(-zone if sign == "-" else zone),
        )  # fmt: skip
    except ValueError:
        return None
    return _seconds(time)
