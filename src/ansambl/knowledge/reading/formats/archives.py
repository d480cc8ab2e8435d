"""Archives of documents: each member is read as if it lay beside the others, within the limits for archives."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import IO

from ansambl.domain.text import text
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading.content import Content, Digested, Format, Reading, UnreadableError
from ansambl.knowledge.reading.kinds import counted, is_hidden, is_read
from ansambl.knowledge.reading.limits import MIB, ReadingLimits
from ansambl.knowledge.reading.office import is_zip
from ansambl.knowledge.reading.zip_files import checked_zip, harmless_name, member_name

_PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0")
_DAMAGE = (
    OSError, ValueError, NotImplementedError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile,
)  # fmt: skip
_USTAR = 257
"""Where a tar's header says ``ustar`` (POSIX.1-2017, pax)."""


def read_zip(content: Content, reading: Reading) -> Iterator[Digested | Refused]:
    """The members of a ZIP archive that are documents."""
    reading.check_depth(content)
    left_out: Counter[str] = Counter()
    with checked_zip(content, reading.limits) as archive:
        for member in archive.members():
            name = harmless_name(member_name(member))
            if is_hidden(name):
                continue
            if not is_read(name):
                left_out[name] += 1
                continue
            place = f"{content.place}!{name}"
            try:
                data = archive.read(member)
            except UnreadableError as error:
                yield Refused(place, error.message)
            except _DAMAGE as error:
                yield Refused(place, text("it is damaged in its archive ({reason})", reason=str(error)[:100]))
            else:
                yield from reading.inner(
                    Content(name, place, data=data, time=_zip_time(member.date_time), depth=content.depth + 1)
                )
    yield from _left_out(content, left_out)


def read_tar(content: Content, reading: Reading) -> Iterator[Digested | Refused]:
    """The regular members of a tar archive that are documents, packed or not."""
    reading.check_depth(content)
    limits, left_out = reading.limits, Counter[str]()
    with content.open() as stream, closing(_tar(stream)) as archive:
        unpacked = 0
        for count, member in enumerate(archive):
            unpacked += member.size
            _check(count, unpacked, content.size, limits)
            name = harmless_name(member.name)
            # Links lead out of the archive, devices are none of ours.
            if not member.isreg() or is_hidden(name):
                continue
            if not is_read(name):
                left_out[name] += 1
                continue
            file = archive.extractfile(member)
            if file is None or member.size > limits.max_file:
                continue
            yield from reading.inner(
                Content(
                    name, f"{content.place}!{name}", data=file.read(), time=float(member.mtime),
                    depth=content.depth + 1,
                )
            )  # fmt: skip
    yield from _left_out(content, left_out)


def read_packed(content: Content, reading: Reading) -> Iterator[Digested | Refused]:
    """One packed file, or a tar archive that is packed."""
    if content.name.lower().endswith((".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz")):
        yield from read_tar(content, reading)
        return
    reading.check_depth(content)
    pieces, size = [], 0
    with content.open() as stream, _unpacked(stream, content.head) as unpacked:
        while piece := unpacked.read(MIB):
            size += len(piece)
            _check(0, size, content.size, reading.limits)
            pieces.append(piece)
    data = b"".join(pieces)
    name = content.name.rsplit(".", 1)[0] if "." in content.name else content.name
    if data[_USTAR : _USTAR + 5] == b"ustar":
        yield from read_tar(content, reading)
        return
    name = harmless_name(name)
    yield from reading.inner(
        Content(name, f"{content.place}!{name}", data=data, time=content.time, depth=content.depth + 1)
    )


def refuse(_: Content, __: Reading) -> Iterator[Digested | Refused]:
    """Archives that are not unpacked here."""
    raise UnreadableError(text("it is an archive of a kind that is not unpacked here; unpack it and add the folder"))


def _unpacked(stream: IO[bytes], head: bytes) -> gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile:
    if head.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=stream)
    return bz2.BZ2File(stream) if head.startswith(b"BZh") else lzma.LZMAFile(stream)


def _tar(stream: IO[bytes]) -> tarfile.TarFile:
    try:
        return tarfile.open(fileobj=stream, mode="r:*")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UnreadableError(text("the archive is damaged ({reason})", reason=str(error)[:100])) from error


def _check(count: int, unpacked: int, size: int, limits: ReadingLimits) -> None:
    if count >= limits.max_members:
        raise UnreadableError(
            text("it holds more than {limit} files; unpack it and add the folder", limit=limits.max_members)
        )
    if unpacked > limits.max_unpacked or unpacked > MIB + limits.ratio * size:
        raise UnreadableError(text("it unpacks to far more than its size, as zip bombs do; unpack it yourself"))


def _left_out(content: Content, left_out: Counter[str]) -> Iterator[Refused]:
    if left_out:
        yield Refused(
            content.place, text("files of kinds that are not read were left out: {kinds}", kinds=counted(left_out))
        )


def _zip_time(written: tuple[int, int, int, int, int, int]) -> float | None:
    try:
        return datetime(*written, tzinfo=UTC).timestamp()
    except ValueError:
        return None


ZIP = Format("zip", read_zip, frozenset((".zip",)), recognises=is_zip, binary=True)
TAR = Format(
    "tar", read_tar, frozenset((".tar",)), binary=True,
    recognises=lambda content: content.head[_USTAR : _USTAR + 5] == b"ustar",
)  # fmt: skip
PACKED = Format(
    "packed", read_packed, frozenset((".gz", ".tgz", ".bz2", ".tbz2", ".tbz", ".xz", ".txz")), binary=True,
    recognises=lambda content: content.head.startswith(_PACKED),
)  # fmt: skip
OTHERS = Format(
    "archive", refuse, frozenset((".7z", ".rar")), binary=True,
    recognises=lambda content: content.head.startswith((b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07")),
)  # fmt: skip
