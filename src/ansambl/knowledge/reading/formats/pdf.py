"""PDF by pdfium: pages with their labels, the outline as headings, lines joined to paragraphs, scans by OCR."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ansambl.domain.text import Text, text
from ansambl.knowledge.reading import ocr
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, TextBuilder, UnreadableError, missing
from ansambl.knowledge.reading.paragraphs import joined_lines
from ansambl.knowledge.reading.times import seconds_of
from ansambl.knowledge.reading.titles import meaningful

_MOST_BOOKMARKS = 5_000
_DEEPEST = 5
_NUMBERING = re.compile(r"\A(?:(?:chapter|appendix|part|глава|приложение|часть)\s+)?(?:[\divx]+\.?)+[.):]*\s+")
_DIGITS = re.compile(r"\d+")
_OCR_DOTS = 200
"""Dots an inch that a page is drawn with to be recognised; tesseract asks for 200 at least."""

_LARGEST_PAGE = 30_000_000
"""Pixels. A page may claim to be a kilometre wide."""

_FEW = 15
"""Characters of a page below which it counts as an image: a page number alone is no text."""


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One document."""
    try:
        import pypdfium2
    except ImportError:
        raise missing("pypdfium2") from None
    with content.open() as stream:
        try:
            document = pypdfium2.PdfDocument(stream)
        except pypdfium2.PdfiumError as error:
            raise _refusal(str(error)) from error
        try:
            yield _read(document, reading)
        finally:
            document.close()


def _refusal(said: str) -> UnreadableError:
    if "password" in said.lower() or "security" in said.lower():
        return UnreadableError(text("it is encrypted; save a copy without a password and add that"))
    return UnreadableError(text("it is a damaged PDF; open it in a viewer and print it to a new PDF"))


def _read(document: Any, reading: Reading) -> Draft:
    pages, scanned, broken = [], [], 0
    for number in range(len(document)):
        lines, empty = _lines(document, number)
        broken += lines is None
        pages.append(lines or [])
        if empty:
            scanned.append(number)
    if len(document) == broken:
        raise UnreadableError(text("none of its pages can be read; it is a damaged PDF"))
    warnings = [text("{count} of {pages} pages are damaged", count=broken, pages=len(document))] if broken else []
    _drop_running_lines(pages)
    if scanned:
        warnings += _recognise(document, pages, scanned, reading)
    bookmarks = _bookmarks(document)
    built = TextBuilder(reading.limits.max_text)
    for number, lines in enumerate(pages):
        label = document.get_page_label(number)
        built.mark(number + 1, "" if label == str(number + 1) else label[:50])
        built.add(_with_headings(lines, bookmarks.get(number, ())))
    meta = document.get_metadata_dict(skip_empty=True)
    at = seconds_of(meta.get("ModDate", "")) or seconds_of(meta.get("CreationDate", ""))
    author = " ".join(meta.get("Author", "").split())
    return Draft(
        built.text(), title=meaningful(meta.get("Title", "")), marks=built.marks(), time=at,
        authors=(author,) if author else (), warnings=tuple(warnings),
    )  # fmt: skip


def _lines(document: Any, number: int) -> tuple[list[str] | None, bool]:
    """The lines of a page (None where it is damaged), and whether it has no text but images."""
    import pypdfium2
    import pypdfium2.raw as pdfium

    try:
        page = document[number]
    except pypdfium2.PdfiumError:
        return None, False
    try:
        found = page.get_textpage()
        try:
            words = found.get_text_bounded()
        finally:
            found.close()
        empty = len(words.strip()) < _FEW and any(True for _ in page.get_objects((pdfium.FPDF_PAGEOBJ_IMAGE,), 3))
    except pypdfium2.PdfiumError:
        return None, False
    finally:
        page.close()
    # pdfium marks a hyphen at the end of a line with U+0002, and characters without a meaning with U+FFFE.
    words = re.sub(r"[\x02\ufffe]\r?\n?", "\u00ad", words)
    return words.replace("\r\n", "\n").replace("\r", "\n").strip("\n \t").split("\n"), empty


def _drop_running_lines(pages: list[list[str]]) -> None:
    """Take out what is repeated at the top or the foot of most pages: headers and page numbers."""
    for end in (0, -1):
        for _ in range(2):
            some = [lines for lines in pages if lines]
            counts = Counter(_DIGITS.sub("#", lines[end].strip()) for lines in some)
            repeated = {line for line, count in counts.items() if count >= 5 and count > 0.4 * len(some)}
            if not repeated:
                break
            for lines in some:
                if _DIGITS.sub("#", lines[end].strip()) in repeated:
                    lines.pop(end)


def _recognise(document: Any, pages: list[list[str]], scanned: list[int], reading: Reading) -> list[Text]:
    if not reading.ocr or not ocr.languages():
        if len(scanned) == len(pages):
            raise UnreadableError(
                text("its pages are images; {how}", how=str(ocr.how_to_add()))
                if reading.ocr else text("its pages are images, and reading text in images is switched off")
            )  # fmt: skip
        return [text("{count} of {pages} pages are images without text", count=len(scanned), pages=len(pages))]
    done = 0
    for number in scanned:
        if reading.until is not None and time.monotonic() > reading.until:
            break
        try:
            pages[number] = ocr.recognised(_drawn(document, number), reading.until).split("\n")
        except UnreadableError:
            if len(pages) == 1:
                raise
            continue
        done += 1
    if done < len(scanned):
        return [text("the text of {count} scanned pages could not be recognised in time", count=len(scanned) - done)]
    return []


def _drawn(document: Any, number: int) -> bytes:
    """A page as a grey image (PGM), which needs no library to write."""
    page = document[number]
    width, height = page.get_size()
    scale = _OCR_DOTS / 72
    scale *= min(1.0, (_LARGEST_PAGE / max(1.0, width * height * scale * scale)) ** 0.5)
    bitmap = page.render(scale=scale, grayscale=True)
    rows = bitmap.to_numpy()
    head = b"P5 %d %d 255\n" % (rows.shape[1], rows.shape[0])
    data: bytes = head + rows.reshape(rows.shape[0], rows.shape[1]).tobytes()
    bitmap.close()
    page.close()
    return data


def _bookmarks(document: Any) -> dict[int, list[tuple[int, str]]]:
    """The outline by page: levels and titles."""
    import pypdfium2

    found: dict[int, list[tuple[int, str]]] = {}
    try:
        for count, one in enumerate(document.get_toc(max_depth=_DEEPEST)):
            if count >= _MOST_BOOKMARKS:
                break
            target = one.get_dest()
            page = target.get_index() if target is not None else None
            title = " ".join((one.get_title() or "").split())
            if page is not None and title:
                found.setdefault(page, []).append((one.level, title[:200]))
    except pypdfium2.PdfiumError:
        pass
    return found


def _key(line: str) -> str:
    """What outline and page have in common: letters without the numbers of chapters before them."""
    words = _NUMBERING.sub("", line.casefold().strip()) or line.casefold()
    return "".join(one for one in words if one.isalnum())


def _with_headings(lines: list[str], bookmarks: Any) -> str:
    """The page's text; a line that the outline names becomes a heading, else the heading goes before the page."""
    parts: list[str] = []
    rest = list(lines)
    pending: list[str] = []
    for level, title in bookmarks:
        heading = f"{'#' * (level + 1)} {title}"
        wanted = _key(title)
        for at, line in enumerate(rest):
            # A long title may fill two lines.
            taken = next((n for n in (1, 2, 3) if _key("".join(rest[at : at + n])) == wanted), 0) if line.strip() else 0
            if taken:
                parts += ["\n\n".join(pending), joined_lines(rest[:at])]
                pending, rest = [heading], rest[at + taken :]
                break
        else:
            pending.append(heading)
    parts += ["\n\n".join(pending), joined_lines(rest)]
    return "\n\n".join(part for part in parts if part.strip())


FORMAT = Format(
    "pdf", read, frozenset((".pdf",)), recognises=lambda content: b"%PDF-" in content.head[:1024], binary=True,
    media_types=frozenset(("application/pdf",)),
)  # fmt: skip
