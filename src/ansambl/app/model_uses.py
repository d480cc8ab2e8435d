"""Which checkpoint each configured model runs, and so which models use a checkpoint that lies on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from ansambl.api.reading_schemas import (
    ConfiguredModelDocument,
    EmbeddedModelDocument,
    InstalledModelDocument,
    ModelsDocument,
)
from ansambl.app.configuration.settings import AUTO
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import engine_name
from ansambl.domain.errors import AnsamblError, CheckpointError
from ansambl.domain.text import Text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import embedded
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.model_catalog.download import free_space
from ansambl.model_catalog.library import Origin, disk_size, installed, installed_to_json


@dataclass(frozen=True, slots=True)
class ConfiguredModel:
    """A model of the configuration and the checkpoint that it runs.

    `engine` is None where Ansambl chooses it by the format. `path` and `size` (bytes) are those of the checkpoint; None
    where it has none (an attached model), or where `problem` says why it cannot be opened.
    """

    name: str
    aliases: tuple[str, ...]
    checkpoint: str | None
    engine: str | None
    context: int | None
    parallel: int | None
    pinned: bool
    attached: bool
    path: str | None = None
    size: Bytes | None = None
    format: str | None = None
    quantization: str | None = None
    problem: Text | None = None


def configured_models(loaded: LoadedSettings, paths: DataPaths) -> tuple[ConfiguredModel, ...]:
    """Every model of the configuration, by name. Blocks: it reads the headers of their checkpoints."""
    found = []
    for name, one in sorted(loaded.settings.models.items()):
        chosen_here = one.engine == AUTO and one.checkpoint is not None
        plain = (
            name, tuple(one.aliases), one.checkpoint, None if chosen_here else engine_name(one), one.context,
            one.parallel, one.pinned, one.address is not None,
        )  # fmt: skip
        if one.checkpoint is None:
            found.append(ConfiguredModel(*plain))
            continue
        try:
            here = open_checkpoint(one.checkpoint, paths.models)
        except AnsamblError as failure:
            found.append(ConfiguredModel(*plain, problem=failure.message))
        else:
            found.append(ConfiguredModel(*plain, here.path, here.size, here.format, here.quantization))
    return tuple(found)


def users_of(path: str, models: Iterable[ConfiguredModel]) -> tuple[str, ...]:
    """The names of those that run the checkpoint at `path`."""
    return tuple(one.name for one in models if one.path == path)


def models_document(loaded: LoadedSettings, paths: DataPaths, translate: Callable[[str], str]) -> ModelsDocument:
    """What is on this machine and what the configuration makes of it, as the admin API tells it. Blocks."""
    here, models = installed(paths.models), configured_models(loaded, paths)
    facts, path = embedded.load_embedded(), str(embedded.embedded_path(paths.models))
    try:
        embedded.find(paths.models, verify=False)
        is_here = True
    except CheckpointError:
        is_here = False
    return ModelsDocument(
        installed=[
            InstalledModelDocument(
                **installed_to_json(one), used_by=list(users_of(one.path, models)),
                removable=one.origin is Origin.ANSAMBL,
            )
            for one in here
        ],
        installed_size=disk_size(here), free=free_space(paths.models), folder=str(paths.models),
        configured=[_configured_document(one, translate) for one in models],
        embedded=EmbeddedModelDocument(
            reference=embedded.REFERENCE, title=facts.title, installed=is_here, path=path, size=facts.size,
            download=facts.download_size, licence=facts.licence, used_by=list(users_of(path, models)),
        ),
    )  # fmt: skip


def _configured_document(one: ConfiguredModel, translate: Callable[[str], str]) -> ConfiguredModelDocument:
    plain = {field.name: getattr(one, field.name) for field in fields(one) if field.name not in {"aliases", "problem"}}
    problem = None if one.problem is None else one.problem.render(translate)
    return ConfiguredModelDocument(**plain, aliases=list(one.aliases), problem=problem)
