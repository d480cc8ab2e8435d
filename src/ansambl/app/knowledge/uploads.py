"""Files that come over HTTP: written to the disk as they come, read, and removed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

from ansambl.domain.errors import AnsamblError, BodyTooLargeError, RequestError, UnavailableError
from ansambl.domain.text import text
from ansambl.domain.units import MIB, Bytes, format_bytes
from ansambl.foundation.paths import PRIVATE_FOLDER
from ansambl.knowledge.contract import Report

AT_ONCE: Final = 8
"""Uploads that are written at the same time."""
RESERVE: Final = 256 * MIB
"""Bytes that stay free on the disk: what is read out of a file needs some, too."""
LONGEST_NAME: Final = 200
DEEPEST: Final = 16
"""Folders above a file that its place tells, the nearest ones."""
_PIECE = 1 << 20
_END = re.compile(r"(?:\.[A-Za-z0-9]{1,10}){1,2}\Z")


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A file that came. `known_as` is its place from now on; the file itself goes when it was read."""

    path: Path
    known_as: str

    def renamed(self, report: Report) -> Report:
        """A report that calls the file by its own name: where it lay for a while is nobody's business."""
        lay = str(self.path)
        refused = tuple(replace(one, place=one.place.replace(lay, self.known_as)) for one in report.refused)
        return replace(report, refused=refused)

    def remove(self) -> None:
        """Take the file away."""
        self.path.unlink(missing_ok=True)


def plain_name(wanted: str) -> str:
    """The last part of a name that somebody gave, without what no title should hold; never empty."""
    last = wanted.replace("\\", "/").rpartition("/")[2]
    shown = "".join(one for one in unicodedata.normalize("NFC", last) if one.isprintable()).strip(" .")
    if len(shown) > LONGEST_NAME:
        end = end_of(shown)
        shown = shown[: LONGEST_NAME - len(end)] + end
    return shown or "upload"


def plain_folder(wanted: str) -> str:
    """The parts of a folder's name, cleaned as `plain_name` does, each with a slash behind it; "" for no folder.

    Of one that lies deeper than `DEEPEST` the nearest ones, behind a mark of those that are left out: or two files
    below folders of the same names would be one document, and the second would take the place of the first.
    """
    parts = [one for one in wanted.replace("\\", "/").split("/") if one.strip(" .")]
    above, near = parts[:-DEEPEST], parts[-DEEPEST:]
    mark = f"…{hashlib.sha256('/'.join(above).encode('utf-8', 'surrogatepass')).hexdigest()[:8]}/" if above else ""
    return mark + "".join(f"{plain_name(one)}/" for one in near)


def end_of(name: str) -> str:
    """The end of a name that tells its format (``.tar.gz``), "" where it has none."""
    found = _END.search(name)
    return found[0].lower() if found else ""


class Uploads:
    """Receives files into a private folder. What an earlier run left there is removed at the first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = 0
        self._clean = False

    async def receive(
        self, body: AsyncIterator[bytes], size: int | None, name: str, limit: Bytes, folder: str = ""
    ) -> Uploaded:
        """Write `body` to the disk. `size` is how many bytes were announced, None where nothing was.

        `folder` is where the file lay in what its sender chose; it stands in its place, before its name.

        Raises:
            BodyTooLargeError: it is larger than `limit`.
            RequestError: it is empty.
            UnavailableError: the disk has no room, or too many come at once.
        """
        if size is not None and size > limit:
            raise _too_large(limit)
        if self._open >= AT_ONCE:
            raise UnavailableError(
                text("{count} files are being sent already; send this one in a moment.", count=AT_ONCE), code="busy"
            )
        self._open += 1
        try:
            return await self._receive(body, size, plain_name(name), limit, plain_folder(folder))
        except OSError as error:
            raise _not_kept(error) from error
        finally:
            self._open -= 1

    async def _receive(
        self, body: AsyncIterator[bytes], size: int | None, name: str, limit: Bytes, folder: str
    ) -> Uploaded:
        file, path = await asyncio.to_thread(self._begin, name, size or 0)
        try:
            try:
                await _write(body, file, limit)
            finally:
                await asyncio.to_thread(file.close)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return Uploaded(path, f"upload:{folder}{name}")

    def _begin(self, name: str, size: int) -> tuple[BinaryIO, Path]:
        self._folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
        if not self._clean:
            self._clean = True
            for left in self._folder.iterdir():
                with contextlib.suppress(OSError):
                    left.unlink()
        free = shutil.disk_usage(self._folder).free
        if size + RESERVE > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        descriptor, path = tempfile.mkstemp(dir=self._folder, prefix="upload-", suffix=end_of(name))
        return os.fdopen(descriptor, "wb"), Path(path)


async def _write(body: AsyncIterator[bytes], file: BinaryIO, limit: Bytes) -> None:
    """Write what comes, a piece at a time."""
    came, waiting = 0, bytearray()
    async for piece in body:
        came += len(piece)
        if came > limit:
            raise _too_large(limit)
        waiting += piece
        if len(waiting) >= _PIECE:
            await asyncio.to_thread(file.write, waiting)
            waiting = bytearray()
    if not came:
        raise RequestError(text("The upload is empty; send the file as the body."), param="body")
    await asyncio.to_thread(file.write, waiting)


def _too_large(limit: Bytes) -> BodyTooLargeError:
    return BodyTooLargeError(
        text("The upload is larger than {limit}; add the file on its machine (ansambl knowledge add), or raise "
             "'max_upload' in [knowledge].", limit=format_bytes(limit))
    )  # fmt: skip


def _not_kept(error: OSError) -> AnsamblError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return UnavailableError(
            text("The disk of the data folder has no room for the upload; free some, and send it again."),
            code="disk_full", retry_after=None,
        )  # fmt: skip
    return UnavailableError(
        text("The upload could not be written ({reason}); see: ansambl doctor", reason=error.strerror or str(error)),
        code="not_written", retry_after=None,
    )  # fmt: skip
