"""What the running models can be asked for beside the chat, and which other ones could be asked instead."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ansambl.domain.errors import AnsamblError
from ansambl.domain.serving import Operation, Serving
from ansambl.engines.registry import ENGINES
from ansambl.engines.serving import able
from ansambl.runtime.coordinator import Coordinator

_ANYTHING = frozenset({"openai-compatible", "command"})
"""What stands for a program that nobody knows: it is no advice."""


async def serving(coordinator: Coordinator, model: str) -> Serving:
    """What the instance of `model` serves.

    Raises:
        AnsamblError: there is no such instance, or it cannot be made.
    """
    instance = coordinator.instance(model)
    if instance.endpoint() is not None:
        # It is made already, and nothing has to be looked at.
        return instance.serves()
    return await asyncio.to_thread(instance.serves)


async def models_that(coordinator: Coordinator, operation: Operation, *, perhaps: bool = False) -> list[str]:
    """The models here that certainly do something, in their order; with `perhaps` also those that may."""
    found = []
    for one in coordinator.statuses():
        with suppress(AnsamblError):
            known = await serving(coordinator, one.model)
            if operation in known.certain or (perhaps and known.may(operation)):
                found.append(one.model)
    return found


async def engines_that(operation: Operation) -> tuple[str, ...]:
    """The titles of the engines that do something for some model."""
    # The first time all adapters are imported.
    return await asyncio.to_thread(
        lambda: able([ENGINES.get(name) for name in ENGINES if name not in _ANYTHING], operation)
    )
