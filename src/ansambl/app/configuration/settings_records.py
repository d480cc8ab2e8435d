"""From settings to the records that the other parts take."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from functools import cache
from typing import Any

import psutil

from ansambl.app.configuration.settings import (
    ATTACHED_ENGINE,
    AUTO,
    BUNDLED_ENGINE,
    COMMAND_ENGINE,
    EMBEDDED,
    BudgetSettings,
    EngineSettings,
    ModelSettings,
    Settings,
)
from ansambl.app.configuration.settings_file import DEFAULT, LoadedSettings
from ansambl.domain.engine import EngineOptions
from ansambl.domain.model import Checkpoint, EmbeddedModel
from ansambl.domain.plan import Attachment, Placement
from ansambl.domain.role import ModelName
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.engines.registry import ALIASES
from ansambl.model_catalog.embedded import load_embedded

DEFAULT_CONTEXT = 8192
"""Tokens for each request when nothing is configured: enough for a long conversation, small enough for any machine."""

_RAM_SHARE = 4
"""The embedded model's slots may take that part of the RAM that is available: a quarter."""

_CACHE_SHARE = 16
"""Earlier prompts may take that part of a budget for RAM: a sixteenth."""


def is_unconfigured(loaded: LoadedSettings) -> bool:
    """Whether nobody chose a model: neither under [models] nor for a role."""
    settings = loaded.settings
    return (
        set(settings.models) == {EMBEDDED}
        and loaded.origins.get(f"models.{EMBEDDED}.checkpoint", DEFAULT) == DEFAULT
        and all(role.model is None for role in settings.roles.values())
    )


def attachments(loaded: LoadedSettings, environment: Mapping[str, str] | None = None) -> tuple[Attachment, ...]:
    """The models that run at an address.

    Raises:
        ConfigurationError: ``key_env`` names a variable that is not set.
    """
    variables = os.environ if environment is None else environment
    found = []
    for name, model in loaded.settings.models.items():
        if model.address is None:
            continue
        key = model.key
        if model.key_env is not None:
            key = variables.get(model.key_env)
            if not key:
                raise loaded.problem(
                    ("models", name, "key_env"),
                    text("the environment variable {variable} is not set; set it to the key", variable=model.key_env),
                )
        found.append(
            Attachment(name, model.address, model.name or name, key, model.parallel, engine=engine_name(model))
        )
    return tuple(found)


def engine_name(model: ModelSettings) -> str:
    """The registered name of the engine that a model asks for."""
    if model.address is not None:
        return ATTACHED_ENGINE if model.engine == AUTO else ALIASES.get(model.engine, model.engine)
    if model.command is not None:
        return COMMAND_ENGINE
    return ALIASES.get(model.engine, model.engine)


def engine_settings(settings: Settings, engine: str) -> EngineSettings:
    """The table of one engine, under its registered name or an alias; defaults when there is none.

    What is said of llama.cpp holds for the bundled build too where that has no table of its own: they are one engine.
    """
    names = [engine, *(alias for alias, name in ALIASES.items() if name == engine and alias != AUTO)]
    if engine == BUNDLED_ENGINE:
        names.append("llama.cpp")
    return next((settings.engines[name] for name in names if name in settings.engines), EngineSettings())


def placement(loaded: LoadedSettings, name: str, checkpoint: Checkpoint | None, engine: str | None = None) -> Placement:
    """What the configuration says of the model `name`, which has no address, as a placement on `engine`.

    `checkpoint` is what its reference was resolved to; the engine is the configured one when left out.

    Raises:
        ConfigurationError: the context is longer than the model's; with the line.
    """
    model = loaded.settings.models[name]
    engine = engine or engine_name(model)
    common = engine_settings(loaded.settings, engine)
    trained = checkpoint.context if checkpoint is not None else None
    if model.context is not None and trained is not None and model.context > trained:
        raise loaded.problem(
            ("models", name, "context"),
            text(
                "{context} is longer than the {trained} tokens that the model was trained for; lower it",
                context=model.context,
                trained=trained,
            ),
        )
    options = EngineOptions(
        # What the user wrote comes last, because the last one counts.
        arguments=(*_embedded_arguments(model, engine), *common.arguments, *model.arguments),
        environment={**common.environment, **model.environment},
        command=model.command,
        name=model.name,
    )
    return Placement(
        model=name,
        engine=engine,
        checkpoint=checkpoint,
        context=model.context or min(trained or DEFAULT_CONTEXT, DEFAULT_CONTEXT),
        parallel=parallel_of(model, loaded.settings.budget),
        options=options,
        threads=model.threads or common.threads,
        prompt_cache=prompt_cache(common, loaded.settings.budget),
        kv_type=model.kv_type,
        settings=model.settings,
        gpus=model.gpus or (),
        mmproj=model.mmproj,
        draft=model.draft,
    )


def prompt_cache(common: EngineSettings, budget: BudgetSettings) -> Bytes:
    """RAM for earlier prompts: as configured, but never a part of a small budget that would keep a model from fitting.

    It depends on settings alone, because it stands in the command line, by which a running engine is adopted.
    """
    return min(common.prompt_cache, Bytes(budget.ram // _CACHE_SHARE)) if budget.ram else common.prompt_cache


def conversation_budget(settings: Settings) -> Bytes:
    """Disk space for conversations; 0 where none are to be kept."""
    return settings.conversations.budget if settings.conversations.persist else Bytes(0)


def _embedded_arguments(model: ModelSettings, engine: str) -> tuple[str, ...]:
    if model.checkpoint != EMBEDDED or engine != BUNDLED_ENGINE or platform.system() == "Darwin":
        return ()
    return load_embedded().cpu_arguments


def parallel_of(model: ModelSettings, budget: BudgetSettings | None = None) -> int:
    """How many requests a model that runs here works on at once: as configured, else one.

    The embedded model works on several where they cost a machine nothing that it would miss, so that the roles of an
    ensemble answer at once. A `budget` counts as the machine's RAM.
    """
    if model.parallel is not None:
        return model.parallel
    if model.checkpoint != EMBEDDED or model.command is not None:
        return 1
    available = _available_ram()
    limit = budget.ram if budget is not None else None
    return embedded_slots(load_embedded(), model.context, min(available, limit or available))


@cache
def _available_ram() -> Bytes:
    # Looked at once: a number of slots that changed between two looks would contradict itself.
    return Bytes(psutil.virtual_memory().available)


def embedded_slots(embedded: EmbeddedModel, context: int | None, available: Bytes) -> int:
    """The embedded model's slots on a machine with `available` bytes of RAM: all of `embedded.parallel`, or one."""
    tokens = min(context or DEFAULT_CONTEXT, embedded.context) * embedded.parallel
    return embedded.parallel if tokens * embedded.kv_bytes_per_token * _RAM_SHARE <= available else 1


def model_names(settings: Settings) -> tuple[ModelName, ...]:
    """The configured models as clients may name them."""
    return tuple(
        ModelName(name, model.aliases, model.description, model.output_limit, model.context)
        for name, model in settings.models.items()
    )


def role_fields(settings: Settings) -> dict[str, dict[str, Any]]:
    """For each configured role the keys that were set, named as in `ansambl.domain.role.Role`."""
    return {name: _renamed(role.model_dump(exclude_none=True)) for name, role in settings.roles.items()}


def ensemble_fields(settings: Settings) -> dict[str, dict[str, Any]]:
    """For each configured ensemble the keys that were set, named as in `ansambl.domain.role.Ensemble`."""
    return {name: one.model_dump(exclude_none=True) for name, one in settings.ensembles.items()}


def _renamed(fields: dict[str, Any]) -> dict[str, Any]:
    if "max_tokens" in fields:
        fields["output_limit"] = fields.pop("max_tokens")
    return fields
