"""Images: the text in them, where an OCR program is installed."""

from __future__ import annotations

from collections.abc import Iterator

from ansambl.domain.knowledge import Form
from ansambl.domain.text import text
from ansambl.knowledge.reading import ocr
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, UnreadableError

_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"GIF87a", b"GIF89a")


def is_image(content: Content) -> bool:
    """Whether it is an image of a kind that the OCR program reads."""
    head = content.head
    return head.startswith(_BEGINNINGS) or (head.startswith(b"RIFF") and head[8:12] == b"WEBP")


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """The text of one image."""
    if not reading.ocr:
        raise UnreadableError(text("it is an image, and reading text in images is switched off"))
    found = ocr.recognised(content.data(), reading.until)
    if not any(one.isalnum() for one in found):
        raise UnreadableError(text("no text was found in the image"))
    yield Draft(found, form=Form.PLAIN, title=content.name)


FORMAT = Format(
    "image", read, frozenset((".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".gif")), recognises=is_image,
    binary=True,
)  # fmt: skip
