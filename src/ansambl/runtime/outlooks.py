"""What a request that waits waits for, in words."""

from __future__ import annotations

from ansambl.domain.text import Text, text
from ansambl.runtime.scheduling.records import InstanceView, Residency


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
