"""The files of an export: one file, a folder of them, and what lies in zips, each as a stream that is read once."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ansambl.domain.errors import AnsamblError
from ansambl.domain.text import Text, text
from ansambl.knowledge.contract import Refused

SUFFIXES = frozenset((".json", ".jsonl", ".ndjson", ".zip", ".md", ".markdown", ".txt"))
"""What is opened in a folder; of a file that is named itself, the content alone decides."""

LARGEST_FILE = 16 << 30
LARGEST_RATIO = 400
"""How many times larger than in its zip a file may be. Chats shrink to a fifth, one letter to 1/1000."""
_FREE = 64 << 20
_MOST_FILES = 1_000_000
_DEEPEST_ZIP = 2


class TooLargeError(Exception):
    """More comes out of a zip than its bounds allow."""


Opener = Callable[[Path], AbstractContextManager[IO[bytes]]]
"""Opens a file to be read. Raises `OSError`, or `AnsamblError` where it may not be."""


def plainly(path: Path) -> IO[bytes]:
    """Open it, whatever it is."""
    return path.open("rb")


@dataclass(frozen=True, slots=True)
class Member:
    """One file: its place in words (``a.zip!b.json``), its own name, and its bytes."""

    place: str
    name: str
    stream: IO[bytes]


class Bounded:
    """A stream that ends with an error where a zip's file grows beyond its bounds. Only `read` is needed of it."""

    def __init__(self, stream: IO[bytes], packed: int) -> None:
        self._stream = stream
        self._left = min(LARGEST_FILE, max(_FREE, packed * LARGEST_RATIO))

    def read(self, size: int = -1) -> bytes:
        """The next bytes.

        Raises:
            TooLargeError: there are more than the bounds allow.
        """
        data = self._stream.read(size if size >= 0 else self._left + 1)
        self._left -= len(data)
        if self._left < 0:
            raise TooLargeError
        return data


def paths_of(path: Path) -> Iterator[Path | Refused]:
    """The files below a folder that may hold conversations, in the order of their names; hidden ones are left out.

    Links are not followed: they may lead in circles or out of the folder.
    """
    folders = [path]
    while folders:
        folder = folders.pop()
        try:
            inside = sorted(folder.iterdir(), key=lambda one: one.name)
        except OSError as error:
            yield Refused(str(folder), _words(error))
            continue
        deeper: list[Path] = []
        for one in inside:
            if one.name.startswith(".") or one.is_symlink():
                continue
            if one.is_dir():
                deeper.append(one)
            elif one.suffix.casefold() in SUFFIXES and one.is_file():
                yield one
        folders += reversed(deeper)


def members_of(path: Path, place: str = "", *, depth: int = 0, opener: Opener = plainly) -> Iterator[Member | Refused]:
    """The file itself, or the files of a zip. Each stream is good until the next member is asked for."""
    place = place or str(path)
    try:
        with opener(path) as stream:
            if stream.read(4) != b"PK\x03\x04":
                stream.seek(0)
                yield Member(place, path.name, stream)
                return
            stream.seek(0)
            yield from _zipped(stream, place, depth)
    except AnsamblError as error:
        yield Refused(place, error.message)
    except OSError as error:
        yield Refused(place, _words(error))


def _zipped(stream: IO[bytes], place: str, depth: int) -> Iterator[Member | Refused]:
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = [
                one for one in archive.infolist()
                if not one.is_dir() and Path(one.filename).suffix.casefold() in SUFFIXES
                and not any(part.startswith((".", "__MACOSX")) for part in Path(one.filename).parts)
            ]  # fmt: skip
            for entry in sorted(entries[:_MOST_FILES], key=lambda one: one.filename):
                yield from _entry(archive, entry, f"{place}!{entry.filename}", depth)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        yield Refused(place, text("this zip cannot be read: {reason}", reason=str(error) or type(error).__name__))


def _entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, place: str, depth: int) -> Iterator[Member | Refused]:
    if entry.flag_bits & 1:
        yield Refused(place, text("it is encrypted; unpack the zip with its password and give the folder"))
        return
    try:
        with archive.open(entry) as raw:
            bounded = Bounded(raw, entry.compress_size)
            if not entry.filename.casefold().endswith(".zip"):
                yield Member(place, Path(entry.filename).name, bounded)  # type: ignore[arg-type]  # it reads, and no more
            elif depth + 1 >= _DEEPEST_ZIP:
                yield Refused(place, text("it is a zip in a zip in a zip; unpack it and give the folder"))
            else:
                with tempfile.TemporaryFile() as inner:
                    shutil.copyfileobj(bounded, inner)
                    inner.seek(0)
                    yield from _zipped(inner, place, depth + 1)
    except TooLargeError:
        yield Refused(place, too_large())
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, zlib.error) as error:
        yield Refused(place, text("this zip cannot be read: {reason}", reason=str(error) or type(error).__name__))


def too_large() -> Text:
    """The sentence about a file of a zip that is larger than may be."""
    return text("it grows far beyond its packed size, as no export does; unpack the zip yourself and give the folder")


def _words(error: OSError) -> Text:
    return text("it cannot be read ({reason})", reason=error.strerror or type(error).__name__)
