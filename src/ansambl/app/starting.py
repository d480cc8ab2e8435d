"""Which models are made resident when Ansambl starts, before anybody asks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.wiring import Product
from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.text import Text, text
from ansambl.runtime.scheduling.records import Residency

_THERE = frozenset({Residency.IN, Residency.LOADING, Residency.ASLEEP})


async def start_instances(loaded: LoadedSettings, warn: Callable[[Text], None], product: Product) -> None:
    """Start the pinned models, then the one that roles run on where that needs no other model's place.

    Others start when they are asked for.
    """
    first, pinned = product.catalog.default_model, _pinned(loaded, product)
    for name in pinned:
        await _start(name, warn, product)
    if first is not None and first not in pinned and await _has_room(first, product):
        await _start(first, warn, product)
    await _introduce(loaded, product)


async def start_pinned(loaded: LoadedSettings, warn: Callable[[Text], None], product: Product) -> None:
    """Start the pinned models, and let those come that are kept warm."""
    for name in _pinned(loaded, product):
        await _start(name, warn, product)
    await _introduce(loaded, product)


async def start_changed(name: str, loaded: LoadedSettings, warn: Callable[[Text], None], product: Product) -> None:
    """Start a model whose engine made place for other settings, where it is to be there without a request.

    The scheduler leaves alone what its owner had rest, so one that is kept warm would wait for the next request.
    """
    settings = loaded.settings.models.get(name)
    if settings is None:
        return
    if settings.pinned or (settings.warm and await _has_room(name, product)):
        await _start(name, warn, product)


def _pinned(loaded: LoadedSettings, product: Product) -> list[str]:
    configured = loaded.settings.models
    return [name for name in product.catalog.models if name in configured and configured[name].pinned]


async def _introduce(loaded: LoadedSettings, product: Product) -> None:
    """Tell the scheduler of the models that come by themselves where there is room: warm ones, and that of tasks."""
    settings = loaded.settings
    for name in product.catalog.models:
        if name == settings.tasks.model or (name in settings.models and settings.models[name].warm):
            # What cannot be made says why to the first request.
            with contextlib.suppress(AnsamblError):
                await product.coordinator.meet(name)


async def _start(name: str, warn: Callable[[Text], None], product: Product) -> None:
    try:
        await product.coordinator.wake(name)
    except UnavailableError as error:
        # It names the model itself.
        warn(error.message)
    except AnsamblError as error:
        warn(text("The model '{model}' is not ready: {reason}", model=name, reason=error.message))


async def _has_room(name: str, product: Product) -> bool:
    """Whether a model is there, or fits beside what is: an engine that was adopted may be wanted sooner than it."""
    view = product.coordinator.views().get(name)
    if view is not None and view.residency in _THERE:
        return True
    try:
        facts = await product.footprints.facts(name)
    except AnsamblError:
        # To start it tells why it cannot be started.
        return True
    free = {one.device: one.capacity - one.reserved - one.foreign for one in product.coordinator.devices()}
    return not facts.ours or all(size <= free.get(device, 0) for device, size in facts.needs.items())
