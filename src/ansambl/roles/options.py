"""What a client asks of Ansambl itself, in the request field ``ansambl``. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.errors import RequestError
from ansambl.domain.role import Layout
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.roles.records import NO_OPTIONS, RequestOptions

FIELD = "ansambl"
"""The name of the field; it never reaches an engine."""

_KEYS = ("layout", "role", "tokens", "seconds", "rounds", "class", "patience", "knowledge", "memory")
_LONGEST_NAME = 200
_MOST_NAMES = 100

LONGEST_PATIENCE = Seconds(7 * 86_400.0)
"""A week: a request that nobody waits for is forgotten after that."""

CHOSEN_CLASSES = (RequestClass.INTERACTIVE, RequestClass.BATCH, RequestClass.BACKGROUND)
"""The classes that a client may name; a task is told by what it is."""

_SHOWN = 60


def take_options(request: ChatRequest) -> tuple[ChatRequest, RequestOptions]:
    """The request without the field, and what the field says; all its keys may be left out or null.

    Raises:
        RequestError: the field is no object, has an unknown key, or a value that means nothing; names the key.
    """
    if FIELD not in request.fields:
        return request, NO_OPTIONS
    found = request.value(FIELD)
    rest = request.changed({FIELD: None})
    if found is None:
        return rest, NO_OPTIONS
    if not isinstance(found, dict):
        raise RequestError(
            text("The field '{name}' must be an object with some of: {keys}.", name=FIELD, keys=", ".join(_KEYS)),
            param=FIELD,
        )
    for key in found:
        if key not in _KEYS:
            raise _unknown(key)
    return rest, RequestOptions(
        layout=_layout(found.get("layout")),
        role=_name(found.get("role")),
        tokens=_count(found, "tokens"),
        seconds=_seconds(found.get("seconds")),
        rounds=_count(found, "rounds"),
        request_class=_class(found.get("class")),
        patience=_patience(found.get("patience")),
        knowledge=_knowledge(found.get("knowledge")),
        memory=_memory(found.get("memory")),
    )


def _layout(value: Any) -> Layout | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in list(Layout):
        raise _wrong("layout", text("it is one of: {known}", known=", ".join(one.value for one in Layout)))
    return Layout(value)


def _name(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip() or len(value) > _LONGEST_NAME):
        raise _wrong("role", text("it is the name of a role"))
    return value


def _count(found: Mapping[str, Any], key: str) -> int | None:
    value = found.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise _wrong(key, text("it is a whole number from 1 on"))
    return value


def _seconds(value: Any) -> Seconds | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise _wrong("seconds", text("it is a number above 0"))
    return Seconds(float(value))


def _class(value: Any) -> RequestClass | None:
    if value is None:
        return None
    for one in CHOSEN_CLASSES:
        if value == one.value:
            return one
    raise _wrong("class", text("it is one of: {known}", known=", ".join(one.value for one in CHOSEN_CLASSES)))


def _patience(value: Any) -> Seconds | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_PATIENCE:
        raise _wrong("patience", text("it is a number of seconds from 0 to {most}", most=int(LONGEST_PATIENCE)))
    return Seconds(float(value))


def _knowledge(value: Any) -> bool | tuple[str, ...] | None:
    if value is None or isinstance(value, bool):
        return value
    names = isinstance(value, list) and len(value) <= _MOST_NAMES
    if not names or not all(isinstance(one, str) and 0 < len(one) <= _LONGEST_NAME for one in value):
        raise _wrong("knowledge", text("it is true, false, or a list of names of collections"))
    return tuple(value)


def _memory(value: Any) -> bool | None:
    if value is not None and not isinstance(value, bool):
        raise _wrong("memory", text("it is true or false"))
    return value


def _wrong(key: str, what: Text) -> RequestError:
    return RequestError(
        text("The field '{name}' cannot be used: {what}.", name=f"{FIELD}.{key}", what=what), param=f"{FIELD}.{key}"
    )


def _unknown(key: str) -> RequestError:
    return RequestError(
        text("The field '{name}' is not known; known are: {known}.", name=f"{FIELD}.{key[:_SHOWN]}",
             known=", ".join(_KEYS)),
        param=f"{FIELD}.{key[:_SHOWN]}",
    )  # fmt: skip
