"""What a caller knows about a file before it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansambl.domain.knowledge import Kind


@dataclass(frozen=True, slots=True)
class ReadingOptions:
    """All of it may be left out.

    `path` is where the bytes lie when the place is not a path (a web page that was fetched); `name`, `title`, `time`
    stand for what the file does not say; `charset` and `media_type` are what the HTTP answer said. `ocr` is whether
    images are read by an OCR program where there is one. With
    `roots`, absolute paths without links, only files below one of them are read.
    """

    kind: Kind = Kind.FILE
    source: str = ""
    path: str = ""
    name: str = ""
    title: str = ""
    time: float | None = None
    charset: str | None = None
    media_type: str = ""
    ocr: bool = True
    roots: tuple[str, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


DEFAULT_OPTIONS = ReadingOptions()
"""A file that nothing is known about."""
