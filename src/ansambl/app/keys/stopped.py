"""The keys of a data folder on which no Ansambl runs. The caller holds the data lock."""

from __future__ import annotations

from dataclasses import replace

from ansambl.access.store import KeyStore
from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.keys.desk import KeyDesk
from ansambl.app.roles.book import RoleBook
from ansambl.foundation.clock import Clock
from ansambl.foundation.paths import DataPaths
from ansambl.foundation.sqlite import Database
from ansambl.model_catalog.lora.store import LoraFolders
from ansambl.roles.resolver import Resolver
from ansambl.roles.store import SavedRoles


def stopped_desk(loaded: LoadedSettings, paths: DataPaths, database: Database, clock: Clock) -> KeyDesk:
    """A desk on the database of a data folder."""

    def own_name(written: str) -> str:
        catalog = RoleBook(loaded, SavedRoles(database)).joined.catalog
        adapters = {one.name: one for one in LoraFolders(paths.loras).all()}
        return Resolver(replace(catalog, loras=adapters)).resolve(written).name

    return KeyDesk(KeyStore(database), own_name, clock)
