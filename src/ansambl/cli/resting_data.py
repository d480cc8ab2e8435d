"""What commands of roles and keys reach: the running Ansambl, or its data folder while none runs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

if TYPE_CHECKING:
    from ansambl.app.configuration.settings_file import LoadedSettings
    from ansambl.cli.client import Client
    from ansambl.foundation.paths import DataPaths
    from ansambl.foundation.sqlite import Database


Access = TypeVar("Access")


def on_path(name: str) -> str:
    """A name as one segment of a path of the admin API."""
    # A dot segment would be resolved away.
    return quote(name, safe="").replace(".", "%2E")


@contextlib.contextmanager
def resting_database(paths: DataPaths, *, changes: bool) -> Iterator[Database]:
    """The database of a data folder that no Ansambl uses. The folder is locked, and made if something `changes`.

    Raises:
        DataFolderError: the folder cannot be used.
    """
    from ansambl.app.data_folder import MIGRATIONS, DataLock, open_database, prepare_folder
    from ansambl.foundation.sqlite import Database, load_migrations

    with contextlib.ExitStack() as stack:
        if changes or paths.database.exists():
            prepare_folder(paths)
            stack.enter_context(DataLock(paths))
            database = open_database(paths)
        else:
            # Who only looks makes no data folder.
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ansambl-"))
            database = Database(Path(folder) / "empty.db", load_migrations(MIGRATIONS))
        stack.callback(database.close)
        yield database


@contextlib.contextmanager
def reached(
    config: Path | None, *, changes: bool, running: Callable[[Client], Access],
    resting: Callable[[LoadedSettings, DataPaths, Database], Access],
) -> Iterator[Access]:  # fmt: skip
    """The same things by one of two ways: `running` where an Ansambl runs on the data folder, else `resting`.

    Without a running one the folder is locked meanwhile, and made if something `changes`.

    Raises:
        ConfigurationError: the configuration cannot be used.
        DataFolderError: the data folder cannot be used.
    """
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.app.running_state import read_state
    from ansambl.cli.client import Client

    paths = load_data_paths(config)
    state = read_state(paths)
    if state is not None:
        with Client(state) as client:
            yield running(client)
        return
    from ansambl.app.configuration.settings_file import load_settings

    loaded = load_settings(config)
    with resting_database(paths, changes=changes) as database:
        yield resting(loaded, paths, database)
