"""ZIP archives that nobody vouches for: what is too much, too deep or overlapping is refused before it is unpacked."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager

from ansambl.domain.text import text
from ansambl.knowledge.reading.content import Content, UnreadableError
from ansambl.knowledge.reading.limits import MIB, ReadingLimits

_HEADER = 30
"""Bytes of a local file header before the name (APPNOTE.TXT 4.3.7)."""

_ENCRYPTED, _UTF8 = 0x1, 0x800
_PROLOG = 65536
_DECLARED = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_ASIDE = re.compile(rb"<!--.*?(?:-->|\Z)|<\?.*?(?:\?>|\Z)", re.DOTALL)
_ROOT = re.compile(rb"<[A-Za-z_]")


class CheckedZip:
    """An archive that passed the checks; members are read with bounds, all of them together."""

    def __init__(self, archive: zipfile.ZipFile, limits: ReadingLimits) -> None:
        self.archive = archive
        self._left = limits.max_unpacked

    def members(self) -> list[zipfile.ZipInfo]:
        """The regular files, in the order of the archive."""
        return [
            one for one in self.archive.infolist()
            if not one.is_dir() and (not (mode := one.external_attr >> 16) or not stat.S_IFMT(mode)
                                     or stat.S_ISREG(mode))
        ]  # fmt: skip

    def read(self, member: zipfile.ZipInfo | str) -> bytes:
        """The bytes of one member.

        Raises:
            UnreadableError: it is encrypted, or more comes out of the archive than may.
            KeyError: there is no such member.
        """
        info = self.archive.getinfo(member) if isinstance(member, str) else member
        if info.flag_bits & _ENCRYPTED:
            raise UnreadableError(text("it is encrypted; unpack it with its password"))
        pieces = []
        with self.archive.open(info) as stream:
            while piece := stream.read(MIB):
                self._left -= len(piece)
                if self._left < 0:
                    raise _bomb()
                pieces.append(piece)
        return b"".join(pieces)

    def has(self, name: str) -> bool:
        """Whether there is a member of this name."""
        return name in self.archive.NameToInfo

    def check_xml(self) -> None:
        """Refuse an Office document whose XML declares entities: a few lines of them can fill any memory.

        Raises:
            UnreadableError: one does. Office Open XML forbids it (ECMA-376 part 2, 8.2.5).
        """
        for member in self.members():
            if member.filename.endswith((".xml", ".rels", ".vml")):
                with self.archive.open(member) as stream:
                    prolog = stream.read(_PROLOG)
                # A comment before the declaration may hold what looks like the root, and a long one may hide it.
                plain = _ASIDE.sub(b"", prolog.replace(b"\0", b""))
                root = _ROOT.search(plain)
                hidden = root is None and len(prolog) == _PROLOG
                if hidden or _DECLARED.search(plain[: root.start()] if root else plain):
                    raise UnreadableError(text("its XML declares entities, which a document has no need of"))


@contextmanager
def checked_zip(content: Content, limits: ReadingLimits) -> Iterator[CheckedZip]:
    """Open an archive.

    Raises:
        UnreadableError: it is damaged, has too many members, or unpacks to too much.
    """
    with content.open() as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except (zipfile.BadZipFile, ValueError, OverflowError) as error:
            raise UnreadableError(text("the archive is damaged ({reason})", reason=str(error)[:100])) from error
        with archive:
            _check(archive, content.size, limits)
            yield CheckedZip(archive, limits)


def _check(archive: zipfile.ZipFile, size: int, limits: ReadingLimits) -> None:
    members = archive.infolist()
    if len(members) > limits.max_members:
        raise UnreadableError(
            text("it holds {count} files, more than {limit}; unpack it", count=len(members), limit=limits.max_members)
        )
    total = sum(one.file_size for one in members)
    if total > limits.max_unpacked or total > MIB + limits.ratio * size:
        raise _bomb()
    end = 0
    for one in sorted(members, key=lambda member: member.header_offset):
        if one.header_offset < end:
            # Members that share their bytes are how forty kilobytes become five gigabytes (Fifield, 2019).
            raise _bomb()
        end = one.header_offset + _HEADER + one.compress_size


def _bomb() -> UnreadableError:
    return UnreadableError(text("it unpacks to far more than its size, as zip bombs do; unpack it yourself"))


def member_name(info: zipfile.ZipInfo) -> str:
    """The name of a member as its author wrote it: without the flag for UTF-8 it is often in a Russian DOS set."""
    if info.flag_bits & _UTF8:
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:
        return info.filename
    for charset in ("ascii", "utf-8", "cp866"):
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    return info.filename


def harmless_name(name: str) -> str:
    """A member's name for a place: no way up, no drive, no control characters."""
    parts = [part for part in re.split(r"[\\/]+", name) if part not in {"", ".", ".."}]
    return "".join(one if one.isprintable() else "_" for one in "/".join(parts))[:500] or "_"
