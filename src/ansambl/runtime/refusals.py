"""Why a request got no place, in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import Text, text
from ansambl.domain.units import format_bytes, format_seconds
from ansambl.runtime.scheduling.records import Refusal, Refuse

_LONGEST_PAUSE = 3600
_FOR_GOOD = frozenset({Refusal.DOES_NOT_FIT, Refusal.GONE})
"""Refusals that waiting alone does not change."""


def error_of(
    refused: Refuse, model: str, request_class: RequestClass, failures: Mapping[str, AnsamblError]
) -> AnsamblError:
    """The error for a request that asked for `model`; `failures` says why its last load failed."""
    if refused.refusal is Refusal.LOAD_FAILED and model in failures:
        return failures[model]
    pause = None
    if refused.refusal not in _FOR_GOOD:
        pause = min(_LONGEST_PAUSE, max(1, math.ceil(refused.retry_after)))
    return UnavailableError(_words(refused, model, request_class), code=refused.refusal.value, retry_after=pause)


def _words(refused: Refuse, model: str, request_class: RequestClass) -> Text:
    pause = format_seconds(refused.retry_after)
    lacking = ", ".join(f"{format_bytes(size)} ({device})" for device, size in refused.lacking.items())
    expired = text("'{model}' was not in memory before the request expired; send X-Ansambl-Patience to let it wait "
                   "longer, or another class.", model=model)  # fmt: skip
    sentences = {
        Refusal.QUEUE_FULL: text("As many requests wait for '{model}' as may wait. Try again in {time}.", model=model,
                                 time=pause),
        Refusal.TOO_LONG: text("A request for '{model}' might wait longer than scheduling.longest_wait allows. Try "
                               "again in {time}.", model=model, time=pause),
        Refusal.DOES_NOT_FIT: text("'{model}' does not fit: it lacks {lacking} beside what must stay in memory; lower "
                                   "its context, take a smaller checkpoint, raise the [budget], or pin less.",
                                   model=model, lacking=lacking or "?"),
        Refusal.EXPIRED: text("No chat model had time for this task.") if request_class is RequestClass.TASK
        else expired,
        Refusal.NO_MODEL_FOR_TASK: text("No chat model is in memory that could answer this task, and none is loaded "
                                        "for it."),
        Refusal.GONE: text("'{model}' was taken out of the configuration while the request waited.", model=model),
    }  # fmt: skip
    return sentences.get(refused.refusal) or text("'{model}' could not be started; see: ansambl logs", model=model)
