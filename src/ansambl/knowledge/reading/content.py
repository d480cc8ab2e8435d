"""What a format is given to read, what it makes of it, and how it says that it cannot."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import IO

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import Form, Mark, Material
from ansambl.domain.text import Text, text
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading.limits import ReadingLimits

HEAD = 4096
"""Bytes that a format is recognised by."""


class UnreadableError(AnsamblError):
    """A file cannot be read as a document; the message says why and what to do."""

    exit_code = 2
    status = 422
    type = "invalid_request_error"
    code = "unreadable_document"


class Content:
    """The bytes of one document: a file on disk, or a member of a container that is in memory.

    `name` is what it is called (its suffix helps to recognise it), `place` where it is from, `time` when it was
    written last as far as its surroundings say. `charset` and `media_type` are what an HTTP answer or a mail says.
    """

    def __init__(
        self, name: str, place: str, *, path: Path | None = None, data: bytes | None = None, time: float | None = None,
        charset: str | None = None, media_type: str = "", depth: int = 0,
    ) -> None:  # fmt: skip
        self.name, self.place, self.time = name, place, time
        self.charset, self.media_type, self.depth = charset, media_type, depth
        self._path, self._data = path, data

    @cached_property
    def suffix(self) -> str:
        """The suffix of the name, with its dot, in small letters."""
        return os.path.splitext(self.name)[1].lower()  # noqa: PTH122 - a name in an archive is no path of ours

    @cached_property
    def size(self) -> int:
        """In bytes."""
        if self._data is not None:
            return len(self._data)
        return self._path.stat().st_size if self._path is not None else 0

    @cached_property
    def head(self) -> bytes:
        """The first `HEAD` bytes."""
        with self.open() as stream:
            return stream.read(HEAD)

    def open(self) -> IO[bytes]:
        """The bytes as a stream that can be sought."""
        if self._data is not None:
            return io.BytesIO(self._data)
        assert self._path is not None  # noqa: S101 - made with one of the two
        return self._path.open("rb")

    def data(self) -> bytes:
        """All bytes."""
        if self._data is not None:
            return self._data
        with self.open() as stream:
            return stream.read()


@dataclass(frozen=True, slots=True)
class Draft:
    """A document as its format gives it; what a format does not know is left out and filled in by `read`."""

    text: str
    title: str = ""
    form: Form = Form.MARKDOWN
    marks: tuple[Mark, ...] = ()
    time: float | None = None
    authors: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[Text, ...] = ()


@dataclass(frozen=True, slots=True)
class Digested:
    """A document that was read, and the hash of the bytes that it was read from (SHA-256, hexadecimal)."""

    material: Material
    digest: str


Read = Iterator[Digested | Refused]
"""Documents, and what was refused of them, in order."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a format may use beside the content: the limits, and how to read what lies inside of it.

    `until` is a time of the monotonic clock: work that can be done in part ends then.
    """

    limits: ReadingLimits
    inner: Callable[[Content], Read]
    ocr: bool = True
    until: float | None = None

    def check_depth(self, content: Content) -> None:
        """Containers may lie inside each other up to a limit.

        Raises:
            UnreadableError: too deep.
        """
        if content.depth >= self.limits.depth:
            raise UnreadableError(
                text("it is an archive inside of archives, more than {depth} deep; unpack it", depth=self.limits.depth)
            )


Reader = Callable[[Content, Reading], Iterator[Draft | Digested | Refused]]
"""Reads one content. Containers hand on what `Reading.inner` made of their members.

Raises `UnreadableError` where it cannot; any other exception counts as damage of the file.
"""


def _never(_: Content) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Format:
    """One format.

    `recognises` tells by the bytes, whatever the name says. Where no format does so, the suffix decides, then the media
    type, then `hints`: how a text begins that is most likely of this format.
    """

    name: str
    read: Reader
    suffixes: frozenset[str] = frozenset()
    recognises: Callable[[Content], bool] = _never
    media_types: frozenset[str] = frozenset()
    hints: Callable[[Content], bool] = _never
    binary: bool = False


class TextBuilder:
    """Puts a text together from pieces, with the marks at the right characters, up to a limit."""

    def __init__(self, limit: int) -> None:
        self._pieces: list[str] = []
        self._marks: list[Mark] = []
        self._limit = limit
        self.length = 0

    def add(self, piece: str) -> None:
        """Add text as it is.

        Raises:
            UnreadableError: there is more text than one document may have.
        """
        self.length += len(piece)
        if self.length > self._limit:
            raise too_much_text(self._limit)
        self._pieces.append(piece)

    def block(self, piece: str) -> None:
        """Add a paragraph or more, with an empty line before it."""
        piece = piece.strip("\n")
        if piece.strip():
            self.add(("\n\n" if self.length else "") + piece)

    def mark(self, page: int | None, label: str = "") -> None:
        """From here on it is this page, with this name. A blank line goes before it."""
        if self.length:
            self.add("\n\n")
        if self._marks and self._marks[-1].start == self.length:
            self._marks.pop()
        self._marks.append(Mark(self.length, page=page, label=label))

    def text(self) -> str:
        """All of it."""
        return "".join(self._pieces)

    def marks(self) -> tuple[Mark, ...]:
        """The marks, ascending."""
        return tuple(self._marks)


def too_much_text(limit: int) -> UnreadableError:
    """What is said of a document with more text than one document may have."""
    return UnreadableError(
        text("it has more than {limit} million characters of text; divide it into files", limit=limit // 1_000_000)
    )


def missing(library: str) -> UnreadableError:
    """What is said where a library of the extra is not installed."""
    return UnreadableError(text("reading it needs {library}: pip install 'ansambl[knowledge]'", library=library))
