"""How urgent a request is, read from what its client says: headers, and two fields of the body.

The header wins over the request's own field, because the owner of a connection, or a proxy, sets it for all that pass.
A by-product of a chat stays one whatever else is said: one connection carries chats and their titles.
"""

from __future__ import annotations

import math

import msgspec

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.access import Caller
from ansambl.domain.errors import RequestError
from ansambl.domain.scheduling import RequestClass, Standing
from ansambl.domain.text import Text, text
from ansambl.domain.units import Seconds
from ansambl.gateway.asgi import Scope, header
from ansambl.roles.options import CHOSEN_CLASSES, LONGEST_PATIENCE
from ansambl.roles.records import RequestOptions
from ansambl.roles.tasks.recognising import task_of_header, task_of_request
from ansambl.roles.tasks.records import Task

CLASS_HEADER, PATIENCE_HEADER, TASK_HEADER = b"x-ansambl-class", b"x-ansambl-patience", b"x-task"

_TIERS = {"flex": RequestClass.BATCH, "priority": RequestClass.INTERACTIVE, "fast": RequestClass.INTERACTIVE}
"""OpenAI's ``service_tier``: "flex" is theirs for answers that may come slowly. The others ask for nothing."""

_URGENCY = (RequestClass.INTERACTIVE, RequestClass.BATCH, RequestClass.BACKGROUND, RequestClass.TASK)
"""The classes, the most urgent first."""

_PLACEHOLDER = b"{{"
"""An Open WebUI that fills in no placeholders sends the text ``{{TASK}}`` as it stands in its settings."""

_TIER_FIELD = b'"service_tier"'
_SHOWN = 40
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def standing_of(scope: Scope, body: bytes, options: RequestOptions, caller: Caller, task: Task | None) -> Standing:
    """The standing of a request.

    The first of these that says something is its class: that it is a `task`, the header ``X-Ansambl-Class``, the field
    ``ansambl.class``, the field ``service_tier`` of `body`, and what the caller's key gives. Nobody can ask for more
    than the key gives: what is more urgent counts as that.

    Raises:
        RequestError: a header has a value that means nothing; names it.
    """
    said = _class_of_header(scope) or options.request_class or _class_of_tier(body) or caller.default_class
    found = RequestClass.TASK if task is not None else max(said, caller.default_class, key=_URGENCY.index)
    patience = _patience_of_header(scope)
    return Standing(found, caller.key, options.patience if patience is None else patience)


def task_of(scope: Scope, request: ChatRequest, *, recognises: bool) -> Task | None:
    """Which by-product of a chat is asked for; None for a chat.

    A client that sends ``X-Task`` says it of every request, so an empty one, and one of a kind that is unknown here,
    is a chat. Without the header, or where its placeholder was not filled in, the shape of the request tells, if
    `recognises` allows that.
    """
    named = header(scope, TASK_HEADER)
    if named is not None and _PLACEHOLDER not in named:
        return task_of_header(named.decode("latin-1"))
    return task_of_request(request) if recognises else None


def _class_of_header(scope: Scope) -> RequestClass | None:
    found = header(scope, CLASS_HEADER)
    if found is None:
        return None
    said = found.decode("latin-1").strip().lower()
    for one in CHOSEN_CLASSES:
        if said == one.value:
            return one
    raise _wrong(
        "X-Ansambl-Class", text("'{value}' is not one of: {known}", value=said[:_SHOWN],
                                known=", ".join(one.value for one in CHOSEN_CLASSES))
    )  # fmt: skip


def _patience_of_header(scope: Scope) -> Seconds | None:
    found = header(scope, PATIENCE_HEADER)
    if found is None:
        return None
    said = found.decode("latin-1").strip()
    try:
        seconds = float(said[:_SHOWN])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= LONGEST_PATIENCE:
        raise _wrong(
            "X-Ansambl-Patience", text("'{value}' is not a number of seconds from 0 to {most}", value=said[:_SHOWN],
                                       most=int(LONGEST_PATIENCE))
        )  # fmt: skip
    return Seconds(seconds)


def _wrong(name: str, what: Text) -> RequestError:
    return RequestError(
        text("The header '{name}' cannot be used: {what}.", name=name, what=what), code="invalid_header", param=name
    )


def _class_of_tier(body: bytes) -> RequestClass | None:
    """What ``service_tier`` says. It is read from the body itself: the translated dialects leave it out."""
    if _TIER_FIELD not in body:
        return None
    try:
        raw = _decode_fields(body).get("service_tier")
        found = None if raw is None else msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _TIERS.get(found) if isinstance(found, str) else None
