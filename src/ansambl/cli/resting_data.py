"""The data folder while no Ansambl runs, and names on the paths of the admin API: for commands of roles and keys."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from ansambl.foundation.paths import DataPaths
    from ansambl.foundation.sqlite import Database


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
