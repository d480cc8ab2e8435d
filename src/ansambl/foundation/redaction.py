"""Masks secrets in whatever is written down: values that were registered exactly, and what looks like a secret.

Registered are the values that Ansambl makes or is told (API keys, the token of a run, the secrets of engines). They are
found as they are, and as the usual escapes write them (JSON, Python's `repr`, URLs). What looks like a secret is masked
without being known: our own keys, ``Bearer …``, the keys of other services, the password in an address, and fields
whose name says what they hold.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, quote_plus

MASK: Final = "[secret]"
"""What stands in the place of a secret."""
SHORTEST = 8
"""Characters of the shortest value that is registered; to mask shorter ones would tear up words that are none."""
MOST = 100
"""Values of single runs that are registered at once, the newest ones: of one that ended long ago nothing is written."""

_NAMES = (
    r"api[_-]?keys?|x-api-key|authorization|proxy-authorization|cookie|set-cookie|passw(?:or)?d|secret"
    r"|(?:access|admin|auth|hf|refresh|session)[_-]?token"
)
_FIELD = re.compile(rf"(?:{_NAMES}|key|token)", re.IGNORECASE)
"""Names of fields of which nothing is written; ids of keys are logged as ``key_id``."""
_START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
"""Where a word begins, also after a line's end that was written as an escape."""
_SHAPES = re.compile(
    # Our own keys, wherever they stand.
    r"ansambl-[A-Za-z0-9]{24,}"
    # Keys of other services by what they begin with.
    rf"|{_START}(?:(?:sk|pk|rk)-[A-Za-z0-9_-]{{16,}}|hf_[A-Za-z0-9]{{20,}}|gh[opsu]_[A-Za-z0-9]{{20,}}"
    r"|AIza[A-Za-z0-9_-]{30,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,})"
)
_BEARER = re.compile(r"\b(Bearer|Basic)(\s+|%20|\+)[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE)
_USER_INFO = re.compile(r"(://)[^\s/@\"'<>]+@")
_ASSIGNED = re.compile(
    # name=value, name: value, "name": "value"; the value in quotes or brackets, or up to the next gap.
    rf"(?<![A-Za-z0-9])((?:{_NAMES})\\?[\"']?\s*[=:]\s*)"
    r"(\\?\"(?:[^\"\\]|\\[^\"])*\\?\"|'[^']*'|\[[^\]]*\]|[^\s,;&\"'\])}]+)",
    re.IGNORECASE,
)
_OPTION = re.compile(r"(--(?:api-key|hf-token|token|password|admin-api-key)[ =]+)(\S+)", re.IGNORECASE)
_QUERY = re.compile(r"([?&](?:key|token|sig|signature)=)[^&\s\"']+", re.IGNORECASE)
_NOTHING = frozenset({"", "none", "null", "true", "false", "[]", "bearer", "basic"})
"""Values of such fields that tell nothing."""
_HINTS = ("-", "_", "=", ":", "earer", "asic", "AIza", "eyJ")
"""What some shape needs: a line without all of these is left alone without a search."""


class _Register:
    """The registered values, with one pattern for all of them that is made when it is next asked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, int] = {}
        self._lasting: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._changed = False

    def add(self, value: str, *, lasting: bool) -> None:
        with self._lock:
            self._counts[value] = self._counts.pop(value, 0) + 1
            if lasting:
                self._lasting.add(value)
            if len(self._counts) - len(self._lasting) > MOST:
                del self._counts[next(one for one in self._counts if one not in self._lasting)]
            self._changed = True

    def remove(self, value: str) -> None:
        with self._lock:
            left = self._counts.get(value, 0) - 1
            if left > 0:
                self._counts[value] = left
            else:
                self._counts.pop(value, None)
                self._lasting.discard(value)
            self._changed = True

    def values(self) -> tuple[str, ...]:
        with self._lock:
            return tuple(self._counts)

    def pattern(self) -> re.Pattern[str] | None:
        if self._changed:
            with self._lock:
                self._pattern, self._changed = _pattern(self._counts), False
        return self._pattern


def _pattern(values: Iterable[str]) -> re.Pattern[str] | None:
    """One for all spellings of all values, divided by their first letters: few are compared at each place of a line."""
    by_first: dict[str, list[str]] = {}
    # The longest first, because an alternation takes the first that matches.
    for form in sorted({form for value in values for form in spellings(value)}, key=lambda one: (-len(one), one)):
        by_first.setdefault(form[0], []).append(re.escape(form[1:]))
    branches = (f"{re.escape(first)}(?:{'|'.join(rest)})" for first, rest in sorted(by_first.items()))
    return re.compile("|".join(branches)) if by_first else None


_REGISTER = _Register()


def spellings(value: str) -> set[str]:
    """A value as it is and as the usual escapes write it: JSON (twice, too), `repr`, URLs."""
    found = {value, quote(value, safe=""), quote(value), quote_plus(value)}
    for ascii_only in (True, False):
        once = json.dumps(value, ensure_ascii=ascii_only)[1:-1]
        found |= {once, json.dumps(once, ensure_ascii=ascii_only)[1:-1], once.replace("/", "\\/")}
    shown, in_bytes = repr(value)[1:-1], repr(value.encode("utf-8", "surrogatepass"))[2:-1]
    # `repr` takes the other quote where one is inside, and as a part of something longer either may be escaped.
    for one in (shown, in_bytes, ascii(value)[1:-1]):
        found |= {one, one.replace("\\'", "'"), one.replace("'", "\\'"), one.replace("\\", "\\\\")}
    found |= {one.replace('"', '\\"') for one in tuple(found) if '"' in one}
    return {one for one in found if len(one) >= SHORTEST}


def register_secret(value: str, *, lasting: bool = False) -> None:
    """Mask this value from now on. One that is shorter than `SHORTEST` is not registered.

    `lasting` ones are good for as long as Ansambl runs, however many engines are started meanwhile; there must be few.
    """
    if len(value) >= SHORTEST:
        _REGISTER.add(value, lasting=lasting)


def forget_secret(value: str) -> None:
    """Take one registration back: the value is worth nothing any more."""
    if len(value) >= SHORTEST:
        _REGISTER.remove(value)


def registered_secrets() -> tuple[str, ...]:
    """The values that are registered now."""
    return _REGISTER.values()


def redact(words: str) -> str:
    """`words` with every secret masked."""
    pattern = _REGISTER.pattern()
    if pattern is not None:
        words = pattern.sub(MASK, words)
    if not any(one in words for one in _HINTS):
        return words
    if "://" in words:
        words = _USER_INFO.sub(rf"\1{MASK}@", words)
    words = _SHAPES.sub(MASK, words)
    words = _BEARER.sub(rf"\1\2{MASK}", words)
    words = _OPTION.sub(rf"\1{MASK}", words)
    words = _ASSIGNED.sub(_assigned, words)
    return _QUERY.sub(rf"\1{MASK}", words)


def _assigned(found: re.Match[str]) -> str:
    value = found[2]
    # A scheme stays: what follows it was masked already.
    if MASK in value or value.strip("\"'\\").lower() in _NOTHING:
        return found[0]
    return found[1] + MASK


def redacted_field(name: str, value: Any) -> Any:
    """A field of a log line with its secrets masked: all of it where its name says that it is one."""
    if _FIELD.fullmatch(name) and value not in (None, "", True, False):
        return MASK
    return redacted(value)


def redacted(value: Any) -> Any:
    """A value with the secrets in it masked, however deep they lie; other objects become their text."""
    if isinstance(value, str):
        return redact(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (bytes, bytearray)):
        return redact(bytes(value).decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping):
        return {redact(str(name)): redacted_field(str(name), one) for name, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(one) for one in value]
    return redact(str(value))
