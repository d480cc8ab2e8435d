r"""Regular expressions that an owner writes, made safe to search with: how many steps one can take is bounded.

Python's `re` tries alternatives one after another, so a pattern such as ``(a+)+b`` takes time that doubles with
every letter, and nothing can interrupt it. A pattern is therefore parsed when it is read: what repeats a choice is
refused, and of what can take n^k steps only so many characters are searched that `MOST_STEPS` is never passed. A
run of white space is searched as one space (or one line break), so that ``\s+`` between words costs nothing.
"""

from __future__ import annotations

import importlib
import math
import re
import warnings
from dataclasses import dataclass
from typing import Any

from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import Text, text
from ansambl.roles.routing.records import searched

MOST_STEPS = 10_000_000
"""Steps that a search may take at worst: some tenths of a second. In practice it takes microseconds."""

LONGEST_SEARCHED = 20_000
"""Characters of a message that a rule looks at, at most: its beginning and its end."""

LONGEST_PATTERN = 1_000
"""Characters of a pattern."""

SHORTEST_SEARCHED = 150
"""A pattern of which fewer characters could be searched is refused."""

_MANY = 10
"""A repetition whose count may vary by so much counts as open, by less as that many choices."""

_UNBEARABLE = 1e9
"""So many choices are refused anyway."""

# The parser of `re` itself, so that what is judged is what will run. It is not documented, and the same since 3.11.
_parser: Any = importlib.import_module("re._parser")


@dataclass(frozen=True, slots=True)
class SafePattern:
    """A compiled pattern and how many characters of a text it is searched in (its beginning and its end)."""

    pattern: re.Pattern[str]
    limit: int

    def is_in(self, written: str) -> bool:
        """Whether the pattern is found; letter case does not matter."""
        once = _WHITE.sub(_one_white, searched(written, self.limit))
        return self.pattern.search(once) is not None


_WHITE = re.compile(r"\s+")


def _one_white(run: re.Match[str]) -> str:
    return "\n" if "\n" in run.group() else " "


def safe_pattern(pattern: str) -> SafePattern:
    """Compile a pattern of a rule.

    Raises:
        ConfigurationError: it is no regular expression, or could take too long on some message.
    """
    if len(pattern) > LONGEST_PATTERN:
        raise _wrong(pattern, text("it is longer than {most} characters", most=LONGEST_PATTERN))
    try:
        with warnings.catch_warnings():
            # What Python warns of is read otherwise by a later version.
            warnings.simplefilter("error")
            compiled = re.compile(pattern, re.IGNORECASE)
            parsed = _parser.parse(pattern, re.IGNORECASE)
        cost = _cost(parsed)
    except (re.error, RecursionError, OverflowError, Warning) as error:
        raise _wrong(pattern, text("it is no regular expression ({reason})", reason=str(error))) from None
    except _RepeatedChoiceError:
        raise _wrong(
            pattern,
            text("it repeats something that may match in several ways, as (a+)+ does; repeat a single set instead"),
        ) from None
    # A search that can begin at one place alone is not repeated at each character.
    power = cost.open if _begins_once(parsed, compiled.flags) and cost.open else cost.open + 1
    limit = int((MOST_STEPS * math.factorial(power) / cost.choices) ** (1 / power)) if power < 10 else 0
    if limit < SHORTEST_SEARCHED:
        raise _wrong(
            pattern,
            text("it has too many open repetitions or choices, so a search could take minutes; split it into rules"),
        )
    return SafePattern(compiled, min(limit, LONGEST_SEARCHED))


class _RepeatedChoiceError(Exception):
    """A repetition of what may itself match in several ways."""


@dataclass(frozen=True, slots=True)
class _Cost:
    """`open` repetitions, each of which may end anywhere, and the product of all other `choices`."""

    open: int = 0
    choices: float = 1

    def then(self, other: _Cost) -> _Cost:
        return _Cost(self.open + other.open, min(self.choices * other.choices, _UNBEARABLE))

    def either(self, other: _Cost) -> _Cost:
        return _Cost(max(self.open, other.open), min(self.choices + other.choices, _UNBEARABLE))


def _begins_once(parsed: Any, flags: int) -> bool:
    if not parsed or str(parsed[0][0]) != "AT":
        return False
    where = str(parsed[0][1])
    return where == "AT_BEGINNING_STRING" or (where == "AT_BEGINNING" and not flags & re.MULTILINE)


def _cost(parsed: Any) -> _Cost:
    cost = _Cost()
    for operation, argument in parsed:
        cost = cost.then(_part(str(operation), argument))
    return cost


def _part(operation: str, argument: Any) -> _Cost:
    if operation in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
        return _repeated(*argument)
    if operation == "BRANCH":
        first, *others = argument[1]
        cost = _cost(first)
        for other in others:
            cost = cost.either(_cost(other))
        return cost
    if operation == "GROUPREF_EXISTS":
        return _cost(argument[1]).either(_cost(argument[2] or []))
    inner = argument[-1] if operation in {"SUBPATTERN", "ASSERT", "ASSERT_NOT"} else argument
    if operation in {"SUBPATTERN", "ASSERT", "ASSERT_NOT", "ATOMIC_GROUP"}:
        return _cost(inner)
    return _Cost()


def _repeated(least: Any, most: Any, body: Any) -> _Cost:
    inner = _cost(body)
    freedom = int(most) - int(least)
    if int(most) <= 1:
        return _Cost(inner.open, inner.choices + freedom)
    if (inner.open or inner.choices > 1) and freedom:
        raise _RepeatedChoiceError
    if _is_white(body):
        # There is at most one: it is there, or it is not.
        return _Cost(choices=1 if int(least) else 2)
    if freedom >= _MANY:
        return _Cost(open=1)
    if freedom:
        return _Cost(choices=freedom + 1)
    return _Cost(inner.open * int(least), min(min(inner.choices, 1_000) ** min(int(least), 64), _UNBEARABLE))


def _is_white(body: Any) -> bool:
    if len(body) != 1:
        return False
    operation, argument = str(body[0][0]), body[0][1]
    items = argument if operation == "IN" else [body[0]]
    return all(
        (str(kind) == "CATEGORY" and str(what) == "CATEGORY_SPACE") or (str(kind) == "LITERAL" and chr(what).isspace())
        for kind, what in items
    )


def _wrong(pattern: str, why: Text) -> ConfigurationError:
    return ConfigurationError(
        text("The pattern '{pattern}' of a route's rule cannot be used: {why}.", pattern=pattern[:60], why=why)
    )
