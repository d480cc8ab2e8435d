"""Whether the models of a configuration go together with the memory and with each other, before anything is started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.footprints import Footprints
from ansambl.app.model_memory import Devices, device_title
from ansambl.domain.errors import AnsamblError, NotSupportedError
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes, format_bytes
from ansambl.runtime.scheduling.records import RAM, InstanceFacts


async def check_plan(loaded: LoadedSettings, footprints: Footprints) -> None:
    """Refuse what cannot work whatever is asked for. Models that cannot be made are left to their own errors.

    Raises:
        NotSupportedError: the pinned models need more of a device than models may use; with the figures.
        ConfigurationError: pinned models may not be in memory together, or the model for tasks does not chat.
    """
    settings = loaded.settings
    pinned = [name for name, one in settings.models.items() if one.pinned and one.address is None]
    _check_groups(loaded, pinned)
    task_model = settings.tasks.model
    found = {name: facts for name in pinned if (facts := await _facts(footprints, name)) is not None}
    if found:
        _check_pinned(found, await asyncio.to_thread(lambda: footprints.devices))
    if task_model is not None:
        facts = found.get(task_model) or await _facts(footprints, task_model)
        if facts is not None and not facts.chats:
            raise loaded.problem(
                ("tasks", "model"),
                text("'{model}' does not chat, so it cannot answer tasks; name another one, or leave it out",
                     model=task_model),
            )  # fmt: skip


async def misfits(loaded: LoadedSettings, footprints: Footprints) -> AsyncIterator[Text]:
    """A warning for each model that needs more than models may ever use; its requests are refused."""
    pinned = dict[str, int]()
    models = loaded.settings.models
    for name in sorted(models, key=lambda one: not models[one].pinned):
        facts = await _facts(footprints, name) if models[name].address is None else None
        if facts is None:
            continue
        devices = await asyncio.to_thread(lambda: footprints.devices)
        for device, needed in facts.needs.items():
            left = devices.capacity.get(device, 0) - (0 if facts.pinned else pinned.get(device, 0))
            if needed > left:
                yield _too_large(name, device, needed, max(0, left), limited=devices.limited(device))
                break
        if facts.pinned:
            for device, needed in facts.needs.items():
                pinned[device] = pinned.get(device, 0) + needed


def _too_large(model: str, device: str, needed: int, left: int, *, limited: bool) -> Text:
    gaps = {"model": model, "needed": format_bytes(Bytes(needed)), "left": format_bytes(Bytes(left)),
            "device": device_title(device)}  # fmt: skip
    if limited:
        return text(
            "models.{model} needs {needed} of {device}, and the [budget] leaves it {left}: its requests are refused; "
            "raise the budget, lower context, or choose a smaller checkpoint", **gaps,
        )  # fmt: skip
    return text(
        "models.{model} needs {needed} of {device}, and at most {left} can be free for it: its requests are refused; "
        "lower context, choose a smaller checkpoint, or pin less", **gaps,
    )  # fmt: skip


def _check_pinned(pinned: Mapping[str, InstanceFacts], devices: Devices) -> None:
    for device in {device: None for one in pinned.values() for device in one.needs}:
        parts = {name: one.needs[device] for name, one in pinned.items() if one.needs.get(device)}
        capacity, needed = devices.capacity.get(device, Bytes(0)), sum(parts.values())
        if needed <= capacity:
            continue
        listed = ", ".join(f"{name} {format_bytes(size)}" for name, size in parts.items())
        gaps = {"models": listed, "device": device_title(device), "needed": format_bytes(Bytes(needed)),
                "capacity": format_bytes(capacity)}  # fmt: skip
        if devices.limited(device):
            raise NotSupportedError(
                text("The pinned models do not fit into {device} together: {models} are {needed}, and budget.{key} is "
                     "{capacity}; pin fewer, lower their context, or raise the budget.",
                     key="ram" if device == RAM else "gpu", **gaps)
            )  # fmt: skip
        raise NotSupportedError(
            text("The pinned models do not fit into {device} together: {models} are {needed}, and there are "
                 "{capacity}; pin fewer, lower their context, or choose smaller checkpoints.", **gaps)
        )  # fmt: skip


def _check_groups(loaded: LoadedSettings, pinned: Sequence[str]) -> None:
    """Two pinned models that are in sets, but in none together, could never both be there."""
    groups = [frozenset(one) for one in loaded.settings.scheduling.together]
    grouped = [name for name in pinned if any(name in one for one in groups)]
    for position, first in enumerate(grouped):
        for second in grouped[position + 1 :]:
            if not any({first, second} <= one for one in groups):
                raise loaded.problem(
                    ("scheduling", "together"),
                    text("'{first}' and '{second}' are pinned, and no set has both; pin one of them, or name them "
                         "together", first=first, second=second),
                )  # fmt: skip


async def _facts(footprints: Footprints, model: str) -> InstanceFacts | None:
    try:
        return await footprints.facts(model)
    except AnsamblError:
        return None
