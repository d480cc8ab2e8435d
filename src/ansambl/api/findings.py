"""What is wrong with a body or a query, from the findings of pydantic: which one to tell, where it is, in our words.

The fields of a finding: ``type``, ``loc`` (the way to it, "body" or "query" first), ``ctx`` (limits) and ``msg``, which
is English. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes

Finding = Mapping[str, Any]

SIZE_TOO_SMALL: Final = "size_too_small"
SIZE_TOO_LARGE: Final = "size_too_large"
"""The kinds of findings of sizes out of bounds: ``ctx`` has ``least`` or ``most`` in bytes."""


def _whole_number(place: str, _: Finding) -> Text:
    return text("{place} must be a whole number.", place=place)


def _number(place: str, _: Finding) -> Text:
    return text("{place} must be a number.", place=place)


def _truth(place: str, _: Finding) -> Text:
    return text("{place} must be true or false.", place=place)


def _words(place: str, _: Finding) -> Text:
    return text("{place} must be text.", place=place)


_SENTENCES: dict[str, Callable[[str, Finding], Text]] = {
    "missing": lambda place, _: text("{place} is missing; send it.", place=place),
    "extra_forbidden": lambda place, _: text("{place} is not known here; leave it out.", place=place),
    "greater_than_equal": lambda place, ctx: text("{place} must be {least} or more.", place=place, least=ctx["ge"]),
    "greater_than": lambda place, ctx: text("{place} must be more than {limit}.", place=place, limit=ctx["gt"]),
    "less_than_equal": lambda place, ctx: text("{place} must be {most} or less.", place=place, most=ctx["le"]),
    "less_than": lambda place, ctx: text("{place} must be less than {limit}.", place=place, limit=ctx["lt"]),
    SIZE_TOO_SMALL: lambda place, ctx: text(
        "{place} must be {size} or more ({bytes} bytes).", place=place, size=format_bytes(ctx["least"]),
        bytes=ctx["least"],
    ),
    SIZE_TOO_LARGE: lambda place, ctx: text(
        "{place} must be {size} or less ({bytes} bytes).", place=place, size=format_bytes(ctx["most"]),
        bytes=ctx["most"],
    ),
    "string_too_long": lambda place, ctx: text(
        "{place} may have {most} characters at most.", place=place, most=ctx["max_length"]
    ),
    "string_too_short": lambda place, ctx: text(
        "{place} must have {least} characters or more.", place=place, least=ctx["min_length"]
    ),
    "too_long": lambda place, ctx: text("{place} may name {most} at most.", place=place, most=ctx["max_length"]),
    "too_short": lambda place, ctx: text("{place} must name {least} or more.", place=place, least=ctx["min_length"]),
    "int_type": _whole_number, "int_parsing": _whole_number, "int_parsing_size": _whole_number,
    "int_from_float": _whole_number,
    "float_type": _number, "float_parsing": _number, "finite_number": _number,
    "bool_type": _truth, "bool_parsing": _truth,
    "string_type": _words, "string_unicode": _words,
    "list_type": lambda place, _: text("{place} must be a list.", place=place),
}  # fmt: skip
"""What people come across; the rest keeps the words of pydantic."""


def telling(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The finding that tells most: of what may be several kinds of things, that about the kind that was sent.

    A machine is a name or a description; of a description with a mistake nobody wants to read that it is no name.
    """
    return max(found, key=lambda one: (not one["type"].endswith("_type"), len(one["loc"])))


def place_of(finding: Finding, body: object) -> str:
    """Where it is, by the names that stand in the document: a kind of things that it could have been is none."""
    where, *parts = finding["loc"]
    if where != "body":
        return ".".join(map(str, finding["loc"]))
    names, within = [str(where)], body
    for part in parts:
        if _leads_on(within, part):
            within = within[part]  # type: ignore[index]
        elif part != parts[-1] or finding["type"] != "missing":
            continue
        names.append(str(part))
    return ".".join(names)


def sentence_of(finding: Finding, place: str) -> Text:
    """What is wrong at `place`, in one line."""
    make = _SENTENCES.get(finding["type"])
    if make is None:
        return text("{place}: {reason}", place=place, reason=finding["msg"])
    return make(place, finding.get("ctx", {}))


def _leads_on(within: object, part: object) -> bool:
    if isinstance(within, dict):
        return part in within
    return isinstance(within, list) and isinstance(part, int) and part < len(within)
