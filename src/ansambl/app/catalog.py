"""The roles, ensembles and models of a configuration, joined; contradictions are told with their line."""

from __future__ import annotations

from dataclasses import replace

from ansambl.app.configuration.settings import EMBEDDED
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.configuration.settings_lines import written_path
from ansambl.app.configuration.settings_records import ensemble_fields, model_names, role_fields
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.plan import Attachment
from ansambl.domain.role import ModelName
from ansambl.model_catalog.embedded import load_embedded
from ansambl.roles.catalog import Kind, Tables, build_catalog
from ansambl.roles.records import RoleCatalog


def catalog_of(loaded: LoadedSettings, offered: Attachment | None = None, saved: Tables | None = None) -> RoleCatalog:
    """The roles, ensembles and models that clients can ask for.

    `offered` is a server that was found running; it stands in for the embedded model. `saved` is what the database
    holds; a role of the file takes the place of a saved one.

    Raises:
        ConfigurationError: a double name, or a reference to something that is not there; with its line.
    """
    return CatalogMaker(loaded, offered).make(saved)


class CatalogMaker:
    """Joins one configuration with one set of saved roles after another."""

    def __init__(self, loaded: LoadedSettings, offered: Attachment | None = None) -> None:
        self._loaded = loaded
        self._tables = configured_tables(loaded)
        models = list(model_names(loaded.settings))
        if offered is not None:
            models = [ModelName(offered.model, description=offered.server or "", origin="found")]
        self._models = [_with_embedded_facts(loaded, one) for one in models]

    def make(self, saved: Tables | None = None) -> RoleCatalog:
        """The catalog.

        Raises:
            ConfigurationError: a contradiction, with its line where the file has part in it.
        """
        roles, joined = self._tables.roles, saved or Tables()
        # Roles that the first plan placed on a model of their own are not the file's: what is saved goes on top.
        planned = [name for name in roles if name in joined.roles and not in_file(self._loaded, "roles", name)]
        if planned:
            joined = Tables({**joined.roles, **{one: {**roles[one], **joined.roles[one]} for one in planned}},
                            joined.ensembles)  # fmt: skip
            roles = {name: one for name, one in roles.items() if name not in planned}
        try:
            return build_catalog(roles, self._tables.ensembles, self._models, saved=joined)
        except ConfigurationError as error:
            raise self._loaded.located(error.keys, error.message) from None


def configured_tables(loaded: LoadedSettings) -> Tables:
    """The roles and ensembles of the configuration."""
    return Tables(role_fields(loaded.settings), ensemble_fields(loaded.settings))


def in_file(loaded: LoadedSettings, kind: Kind, name: str) -> bool:
    """Whether the configuration file has a table of this role or ensemble."""
    return written_path((kind, name)) in loaded.tables


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
