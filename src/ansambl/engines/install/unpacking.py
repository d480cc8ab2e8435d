"""Putting one member of an archive on the disk, so that nothing of it lands outside of the folder that it is for."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path, PurePosixPath

_MODE = 0o755


def put(packed: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """Extract `member` below `target`.

    Raises:
        tarfile.TarError: it is hostile: a path or a link that leads out, a device.
        OSError: it cannot be written.
    """
    if hasattr(tarfile, "data_filter"):
        packed.extract(member, target, filter="data")
    else:
        put_checked(packed, member, target)


def put_checked(packed: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    """As `put`, for a Python without filters (before 3.11.4, as in Debian 12); links must stay in their folder.

    Raises:
        tarfile.TarError: it is hostile, or of a kind that no program needs.
        OSError: it cannot be written.
    """
    path = PurePosixPath(member.name)
    plain_link = member.issym() and len(PurePosixPath(member.linkname).parts) == 1 and member.linkname != ".."
    if path.is_absolute() or ".." in path.parts or not (member.isreg() or member.isdir() or plain_link):
        message = f"{member.name!r} is no plain file, folder or link to one beside it"
        raise tarfile.ExtractError(message)
    member.mode = member.mode & _MODE | (0o700 if member.isdir() else 0o600)
    member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
    packed.extract(member, target)
