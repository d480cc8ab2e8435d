"""The files of saved conversations: private, whole or not there, and never given to an engine unless proven ours.

Each is checked by a keyed hash over what it belongs to and what is in it. The key lies beside the files, readable for
the user alone: the hash finds damage, mix-ups and files from elsewhere, not an attacker who can read all that the user
can.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import hmac
import os
import secrets
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ansambl.foundation.paths import PRIVATE_FILE, PRIVATE_FOLDER, write_atomically

_SECRET = "secret"  # noqa: S105 - the name of a file
_SECRET_BYTES = 32
_ENDING, _PARTIAL = ".state", ".partial"
_CHUNK = 4 * 2**20

SPARE_SHARE, SPARE_MOST = 0.05, 10 * 2**30
"""What stays free of the disk: this share of it, and at most so many bytes."""


class Shelf:
    """One folder of states. Every call blocks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secret = b""

    def open(self) -> bool:
        """Make the folder, and read or make its secret; False when the secret is new, so that no file can be proven.

        Raises:
            OSError: it cannot be made or read.
        """
        self.folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        self.folder.chmod(PRIVATE_FOLDER)
        path = self.folder / _SECRET
        with contextlib.suppress(FileNotFoundError):
            self.secret = path.read_bytes()
            path.chmod(PRIVATE_FILE)
        if len(self.secret) == _SECRET_BYTES:
            return True
        self.secret = secrets.token_bytes(_SECRET_BYTES)
        write_atomically(path, self.secret)
        return False

    def sizes(self) -> dict[str, int]:
        """The bytes of each whole state, by name."""
        found = {}
        for path in self.folder.glob("*" + _ENDING):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    found[path.stem] = path.stat().st_size
        return found

    def keep_only(self, names: Iterable[str]) -> int:
        """Remove all states but those, and what was left half written; returns how many there were."""
        kept, count = {name + _ENDING for name in names}, 0
        with contextlib.suppress(OSError):
            for path in list(self.folder.iterdir()):
                if path.name not in kept and path.suffix in {_ENDING, _PARTIAL}:
                    path.unlink(missing_ok=True)
                    count += 1
        return count

    def remove(self, name: str) -> None:
        """Remove one state; a missing one is no error."""
        with contextlib.suppress(OSError):
            self._path(name).unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove the folder with the secret, if it is there."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def check_room(self, size: int) -> None:
        """Look whether `size` bytes may be written there, with what stays free for others.

        Raises:
            OSError: they may not, as if the disk was full; or the folder is gone.
        """
        usage = shutil.disk_usage(self.folder)
        if usage.free - size < min(SPARE_MOST, usage.total * SPARE_SHARE):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.folder))

    def take(self, source: Path, name: str, belongs_to: bytes) -> bytes:
        """Move the file `source` here as `name` and return its checksum; afterwards `source` is gone, or unchanged.

        Raises:
            OSError: it cannot be moved, the disk being full for example; nothing is left here then.
        """
        partial = self.folder / (name + _PARTIAL)
        try:
            if self._same_disk(source):
                source.rename(partial)
                partial.chmod(PRIVATE_FILE)
                checksum = self._checksum(partial, belongs_to)
            else:
                checksum = self._copied(source, partial, belongs_to)
                source.unlink()
            # Not forced onto the disk: after a power cut the checksum tells whether all of it got there.
            partial.rename(self._path(name))
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        return checksum

    def hand_out(self, name: str, target: Path, belongs_to: bytes, checksum: bytes) -> bool:
        """Put a state at `target`, where an engine reads it; False, and nothing there, when it is not what was taken.

        Raises:
            OSError: it is not there, or cannot be copied.
        """
        path = self._path(name)
        try:
            if self._same_disk(target.parent):
                # The link comes first: what is checked is what is there, whatever happens to the name.
                os.link(path, target, follow_symlinks=False)
                found = self._checksum(target, belongs_to)
            else:
                found = self._copied(path, target, belongs_to)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        if hmac.compare_digest(found, checksum):
            return True
        target.unlink(missing_ok=True)
        return False

    def _path(self, name: str) -> Path:
        return self.folder / (name + _ENDING)

    def _same_disk(self, other: Path) -> bool:
        return other.stat().st_dev == self.folder.stat().st_dev

    def _checksum(self, path: Path, belongs_to: bytes) -> bytes:
        return self._read(path, belongs_to, lambda _: None)

    def _copied(self, source: Path, target: Path, belongs_to: bytes) -> bytes:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(target, flags, PRIVATE_FILE), "wb", buffering=0) as file:
            return self._read(source, belongs_to, lambda part: _write(file.fileno(), part))

    def _read(self, path: Path, belongs_to: bytes, each: Callable[[memoryview], None]) -> bytes:
        # Twice as fast as BLAKE2 on processors that have instructions for it, which is most of the time of a restore.
        chain = hmac.new(self.secret, digestmod=hashlib.sha256)
        chain.update(len(belongs_to).to_bytes(8, "big") + belongs_to)
        space = bytearray(_CHUNK)
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb", buffering=0) as file:
            while count := file.readinto(space):
                part = memoryview(space)[:count]
                chain.update(part)
                each(part)
        return chain.digest()


def _write(descriptor: int, part: memoryview) -> None:
    while part:
        part = part[os.write(descriptor, part) :]
