"""How an instance stands for who looks at it: what runs and waits there, and what a request waits for, in words."""

from __future__ import annotations

from dataclasses import replace

from ansambl.domain.instance import InstanceStatus
from ansambl.domain.text import Text, text
from ansambl.runtime.scheduling.records import InstanceView, Residency


def with_view(status: InstanceStatus, view: InstanceView | None, ahead: float) -> InstanceStatus:
    """A status with what runs and waits there, as the scheduler sees its instance; as it is before it does.

    `ahead` are the seconds by which the time of day is ahead of the scheduler's clock.
    """
    if view is None:
        return status
    rests_at = None if view.rests_at is None else view.rests_at + ahead
    return replace(status, running=view.running, waiting=view.waiting, rests_at=rests_at)


def outlook_of(model: str, view: InstanceView | None) -> Text:
    """What a request for `model` waits for; `view` is how the scheduler sees its instance, None before it does."""
    if view is None:
        return text("'{model}' is looked at", model=model)
    before = max(0, view.waiting - 1)
    match view.residency:
        case Residency.LOADING:
            return text("'{model}' is being loaded; requests before this one: {count}", model=model, count=before)
        case Residency.IN:
            return text("'{model}' is busy; requests before this one: {count}", model=model, count=before)
        case Residency.DRAINING | Residency.LEAVING if view.wanted is not None:
            return text("'{model}' makes room for '{wanted}' first", model=model, wanted=view.wanted)
        case Residency.DRAINING | Residency.LEAVING:
            return text("'{model}' is unloaded first; requests before this one: {count}", model=model, count=before)
        case _:
            return text("other models make room for '{model}'; requests before this one: {count}", model=model,
                        count=before)  # fmt: skip
