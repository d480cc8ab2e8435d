"""Which model gives texts their vectors, and which one sorts: by the configuration, whether Ansambl runs or not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ansambl.app.configuration.knowledge_settings import AUTO, BUNDLED, MODEL, NONE
from ansambl.app.configuration.settings import EMBEDDED
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_records import attachments
from ansambl.app.knowledge.asking import AddressedModel, Asks, RestingModel
from ansambl.app.knowledge.model_embedder import ModelEmbedder
from ansambl.app.knowledge.prefixes import prefixes_for
from ansambl.app.knowledge.reranking import ModelReranker
from ansambl.app.knowledge.spaces import SpaceBook, content_digest
from ansambl.domain.errors import AnsamblError
from ansambl.domain.model import Checkpoint
from ansambl.foundation.logging import get_logger
from ansambl.foundation.paths import DataPaths
from ansambl.knowledge.embedders import bundled
from ansambl.knowledge.embedding import VectorSpace
from ansambl.model_catalog.checkpoints import open_checkpoint

log = get_logger(__name__)

SPACES = "spaces.json"
"""The file of `SpaceBook` in the folder of knowledge."""

_SCORES = "rank"

Asking = Callable[[str], Asks]
"""How a configured model is asked, by its name."""
AnyEmbedder = ModelEmbedder | bundled.BundledEmbedder


@dataclass(frozen=True, slots=True)
class Chosen:
    """A configured model with what its files say; `checkpoint` is None for one at an address or with a command."""

    name: str
    checkpoint: Checkpoint | None


def resting(loaded: LoadedSettings) -> Asking:
    """How models are asked while Ansambl does not run: those at an address directly, others not at all."""
    found = {one.model: one for one in attachments(loaded)}

    def asking(name: str) -> Asks:
        return AddressedModel(found[name]) if name in found else RestingModel(name)

    return asking


def embedder_for(loaded: LoadedSettings, paths: DataPaths, asking: Asking) -> AnyEmbedder | None:
    """The embedder of a configuration; None where texts are found by words alone.

    Raises:
        NotSupportedError: the bundled model is asked for by name and is not installed.
        AnsamblError: the checkpoint of the model that is named cannot be read.
    """
    wanted = loaded.settings.knowledge.embedder
    if wanted == NONE:
        return None
    if wanted == BUNDLED:
        return bundled.BundledEmbedder()
    if wanted == AUTO:
        chosen = first_that(loaded, paths, lambda pooling: pooling != _SCORES)
        if chosen is None:
            return bundled.BundledEmbedder() if bundled.is_installed() else None
    else:
        chosen = Chosen(wanted, _checkpoint(loaded, paths, wanted))
    return _embedder(loaded, paths, asking, chosen)


def embedder_title(loaded: LoadedSettings, paths: DataPaths) -> str | None:
    """Who gives texts their vectors, in a few words; None where nobody does. Asks no model.

    Raises:
        AnsamblError: as `embedder_for`.
    """
    found = embedder_for(loaded, paths, RestingModel)
    if found is None:
        return None
    try:
        return found.space_name if isinstance(found, ModelEmbedder) else bundled.SPACE.model
    finally:
        found.close()


def former_embedder(
    loaded: LoadedSettings, paths: DataPaths, asking: Asking, space: VectorSpace
) -> AnyEmbedder | None:  # fmt: skip
    """Who can still give vectors in a space that was used before; None where nobody can."""
    if space == bundled.SPACE:
        return bundled.BundledEmbedder() if bundled.is_installed() else None
    for name in loaded.settings.models:
        try:
            found = _embedder(loaded, paths, asking, Chosen(name, _checkpoint(loaded, paths, name)))
        except (AnsamblError, OSError, ValueError):
            continue
        if found.space_name == space.model:
            return found
    return None


def _embedder(loaded: LoadedSettings, paths: DataPaths, asking: Asking, chosen: Chosen) -> ModelEmbedder:
    model, checkpoint = loaded.settings.models[chosen.name], chosen.checkpoint
    if checkpoint is None:
        shown = space_name = model.name or chosen.name
    else:
        path = Path(checkpoint.path)
        shown = checkpoint.repo or (path.stem if path.is_file() else path.name)
        space_name = f"{shown}@{content_digest(path)}"
    prefixes = prefixes_for(shown, chosen.name, model.checkpoint or "")
    return ModelEmbedder(asking(chosen.name), space_name, prefixes, SpaceBook(paths.knowledge / SPACES))


def reranker_for(loaded: LoadedSettings, paths: DataPaths, asking: Asking) -> ModelReranker | None:
    """The reranker of a configuration; None where none is wanted, or none is there."""
    wanted = loaded.settings.knowledge.rerank
    if wanted == NONE:
        return None
    if wanted != MODEL:
        return ModelReranker(asking(wanted), wanted)
    chosen = first_that(loaded, paths, lambda pooling: pooling == _SCORES)
    if chosen is None:
        log.warning("no_reranker", wanted=wanted)
        return None
    return ModelReranker(asking(chosen.name), chosen.name)


def first_that(loaded: LoadedSettings, paths: DataPaths, fits: Callable[[str], bool]) -> Chosen | None:
    """The first configured model whose files say how it makes one vector of a text, where that fits."""
    for name, model in loaded.settings.models.items():
        if model.checkpoint is None or model.checkpoint == EMBEDDED or model.address is not None:
            continue
        try:
            checkpoint = _checkpoint(loaded, paths, name)
        except (AnsamblError, OSError, ValueError) as error:
            log.info("model_not_looked_at", model=name, reason=str(error))
            continue
        if checkpoint is not None and checkpoint.pooling is not None and fits(checkpoint.pooling):
            return Chosen(name, checkpoint)
    return None


def _checkpoint(loaded: LoadedSettings, paths: DataPaths, name: str) -> Checkpoint | None:
    reference = loaded.settings.models[name].checkpoint
    return None if reference is None or reference == EMBEDDED else open_checkpoint(reference, paths.models)
