"""Where things are kept, and writing files so that a crash leaves the old or the new content, never half of it."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

DATA_VARIABLE = "ANSAMBL_DATA"
"""Environment variable that names another data folder."""

PRIVATE_FILE, PRIVATE_FOLDER = 0o600, 0o700


@dataclass(frozen=True, slots=True)
class DataPaths:
    """The data folder and what lies where in it."""

    root: Path

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.root / "ansambl.db"

    @property
    def lock(self) -> Path:
        """Held by the one Ansambl that uses this folder."""
        return self.root / "lock"

    @property
    def state(self) -> Path:
        """Where the running Ansambl says how to reach it (mode 0600)."""
        return self.root / "state.json"

    @property
    def models(self) -> Path:
        """Downloaded checkpoints."""
        return self.root / "models"

    @property
    def engines(self) -> Path:
        """Engines that Ansambl installed."""
        return self.root / "engines"

    @property
    def loras(self) -> Path:
        """LoRA adapters that were added."""
        return self.root / "loras"

    @property
    def logs(self) -> Path:
        """Our log and the engines' logs."""
        return self.root / "logs"

    @property
    def conversations(self) -> Path:
        """States of conversations that come back after a swap or a restart (mode 0700)."""
        return self.root / "conversations"

    @property
    def knowledge(self) -> Path:
        """Documents, conversations and their index (mode 0700)."""
        return self.root / "knowledge"

    @property
    def companions(self) -> Path:
        """Programs that run beside Ansambl, and what they keep (mode 0700)."""
        return self.root / "companions"

    @property
    def backups(self) -> Path:
        """Copies of the database."""
        return self.root / "backups"

    def create(self) -> None:
        """Make the folders, private to the user.

        Raises:
            OSError: no permission, or something else stands there.
        """
        for folder in (self.root, self.models, self.logs, self.backups):
            folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self.root, prefix=".writable-"):
            pass


def expanded(path: str | Path) -> Path:
    """A path as a user wrote it, ``~`` being the home folder.

    ``~nobody``, where there is no such user, stays as it is, so that what opens it says that it does not exist.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111 - pathlib raises when there is no such user


def default_data_folder() -> Path:
    """The data folder by the platform's convention, or what ``ANSAMBL_DATA`` says."""
    chosen = os.environ.get(DATA_VARIABLE)
    if not chosen:
        return platformdirs.user_data_path("ansambl")
    return expanded(chosen).absolute()


def default_configuration_file() -> Path:
    """The configuration file in the user's configuration folder."""
    return platformdirs.user_config_path("ansambl") / "ansambl.toml"


def write_atomically(path: Path, content: bytes, mode: int = PRIVATE_FILE) -> None:
    """Replace `path` by `content` in one step: readers see the old file or the new one."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
