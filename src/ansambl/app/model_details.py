"""What lists of models show of each: found in the background in the heads of the models' files, told at once."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from ansambl.app.configuration.settings import EMBEDDED, ModelSettings
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.looked_up import LookedUp
from ansambl.domain.errors import AnsamblError
from ansambl.domain.model_details import ModelDetails
from ansambl.foundation.logging import get_logger
from ansambl.foundation.paths import DataPaths
from ansambl.model_catalog import embedded
from ansambl.model_catalog.checkpoints import open_checkpoint

_log = get_logger(__name__)

_PROJECTOR = "--mmproj"
_RANKS = "rank"
_LONGEST_CONFIG = 4 << 20

DetailsBook = LookedUp[ModelDetails]


def model_details(loaded: LoadedSettings, paths: DataPaths) -> DetailsBook:
    """The details of all models of a configuration that run here; of a server elsewhere nothing is known."""
    models: Mapping[str, ModelSettings] = loaded.settings.models
    readers = {
        name: partial(details_of, model, paths.models)
        for name, model in models.items()
        if model.address is None and model.checkpoint is not None
    }
    return LookedUp(readers, what="details of a model")


def details_of(model: ModelSettings, models_folder: Path) -> ModelDetails | None:
    """The details of one model; None where its files are not there, or are no model."""
    reference = model.checkpoint
    if reference is None:
        return None
    try:
        whole = reference != EMBEDDED
        if not whole:
            # Its hash was looked at when it was fetched, and is before it is started.
            reference = embedded.find(models_folder, verify=False).path
        found = open_checkpoint(reference, models_folder)
        sees = model.mmproj is not None or _PROJECTOR in model.arguments or _has_vision(Path(found.path))
    except (OSError, AnsamblError, ValueError) as error:
        _log.info("model_details_not_read", reason=str(error))
        return None
    return ModelDetails(
        format=found.format,
        architecture=found.architecture or "",
        quantization=found.quantization or "",
        size=found.size,
        parameters=None if whole else embedded.load_embedded().parameters,
        context=found.context,
        embeds=found.pooling is not None and found.pooling != _RANKS,
        reranks=found.pooling == _RANKS,
        vision=sees,
    )


def _has_vision(path: Path) -> bool:
    """Whether a folder's ``config.json`` tells of a part that sees; engines load it with the rest."""
    config = path / "config.json"
    if not path.is_dir() or not config.is_file() or config.stat().st_size > _LONGEST_CONFIG:
        return False
    try:
        found = msgspec.json.decode(config.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(found, dict) and isinstance(found.get("vision_config"), dict)
