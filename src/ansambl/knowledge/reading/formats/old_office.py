"""What lies in Microsoft's compound files: encrypted documents, and those of programs before 2007. Refused in words."""

from __future__ import annotations

from collections.abc import Iterator

from ansambl.domain.text import text
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, UnreadableError

_COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_SEARCHED = 1 << 20
_ENCRYPTED = "EncryptedPackage".encode("utf-16-le")


def read(content: Content, _: Reading) -> Iterator[Draft]:
    """Says what it is and what to do."""
    with content.open() as stream:
        beginning = stream.read(_SEARCHED)
        stream.seek(max(0, content.size - _SEARCHED))
        encrypted = _ENCRYPTED in beginning or _ENCRYPTED in stream.read()
    if encrypted:
        raise UnreadableError(text("it is encrypted; save a copy without a password and add that"))
    if content.suffix == ".msg":
        raise UnreadableError(text("it is a mail of Outlook; save it as .eml"))
    raise UnreadableError(
        text("it is of an old Office program; save it as .docx, .xlsx or .pptx (LibreOffice does so, too)")
    )


FORMAT = Format(
    "old-office", read, frozenset((".doc", ".xls", ".ppt", ".msg", ".dot", ".pps")), binary=True,
    recognises=lambda content: content.head.startswith(_COMPOUND),
)  # fmt: skip
