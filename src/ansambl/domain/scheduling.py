"""How urgent a request is and on whose behalf it comes: what decides about its turn and about what it may share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.units import Seconds

LOCAL_KEY = "local"
"""The id under which requests without a key are served: all of them come from the machine's owner."""


class RequestClass(StrEnum):
    """How a request is treated while others wait (DESIGN section 5).

    ``INTERACTIVE``: a person waits. ``BATCH``: a program waits; it yields to people but its wait is bounded, too.
    ``BACKGROUND``: nobody waits; it is served when its model is resident for another reason, until its deadline.
    ``TASK``: a by-product of a chat (its title, tags, follow-ups), which any resident chat model may answer.
    The last two never cause a swap.
    """

    INTERACTIVE = "interactive"
    BATCH = "batch"
    BACKGROUND = "background"
    TASK = "task"

    @property
    def may_swap(self) -> bool:
        """Whether models are swapped for such a request."""
        return self is RequestClass.INTERACTIVE or self is RequestClass.BATCH


@dataclass(frozen=True, slots=True)
class Standing:
    """Of which class a request is and whose.

    `key` is the id of the API key that asks: nothing that was read for one key is reused for another. `patience` is how
    long it may wait before it expires, None for what its class has.
    """

    request_class: RequestClass = RequestClass.INTERACTIVE
    key: str = LOCAL_KEY
    patience: Seconds | None = None


ORDINARY = Standing()
"""A person's request without a key."""
