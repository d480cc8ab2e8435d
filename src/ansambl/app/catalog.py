"""The roles, ensembles and models of a configuration, joined; contradictions are told with their line."""

from __future__ import annotations

from dataclasses import replace

from ansambl.app.settings import EMBEDDED
from ansambl.app.settings_file import LoadedSettings
from ansambl.app.settings_records import ensemble_fields, model_names, role_fields
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.plan import Attachment
from ansambl.domain.role import ModelName
from ansambl.model_catalog.embedded import load_embedded
from ansambl.roles.catalog import build_catalog
from ansambl.roles.records import RoleCatalog


def catalog_of(loaded: LoadedSettings, offered: Attachment | None = None) -> RoleCatalog:
    """The roles, ensembles and models that clients can ask for.

    `offered` is a server that was found running; it stands in for the embedded model.

    Raises:
        ConfigurationError: a double name, or a reference to something that is not there; with its line.
    """
    models = list(model_names(loaded.settings))
    if offered is not None:
        models = [ModelName(offered.model, description=offered.server or "", origin="found")]
    try:
        return build_catalog(
            role_fields(loaded.settings),
            ensemble_fields(loaded.settings),
            [_with_embedded_facts(loaded, one) for one in models],
        )
    except ConfigurationError as error:
        raise loaded.located(error.keys, error.message) from None


def _with_embedded_facts(loaded: LoadedSettings, model: ModelName) -> ModelName:
    configured = loaded.settings.models.get(model.name)
    if configured is None or configured.checkpoint != EMBEDDED:
        return model
    facts = load_embedded()
    return replace(
        model,
        description=model.description or facts.title,
        output_limit=model.output_limit or facts.output_limit,
        context=model.context or facts.context,
        sampling=facts.sampling,
    )
