"""Documents that are XML of their own: LibreOffice's (ODT, ODS, ODP) and FictionBook, told to the Markdown writer."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from typing import BinaryIO

from ansambl.domain.text import text
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, UnreadableError, too_much_text
from ansambl.knowledge.reading.markdown_writer import MarkdownWriter
from ansambl.knowledge.reading.office import has_members, is_zip
from ansambl.knowledge.reading.times import seconds_of
from ansambl.knowledge.reading.zip_files import checked_zip

_OPEN_DOCUMENT = {
    "p": "p", "list": "ul", "list-item": "li", "table": "table", "table-row": "tr", "table-cell": "td", "tab": "br",
    "line-break": "br", "page": "div", "notes": "blockquote", "tracked-changes": "script", "annotation": "script",
    "note-citation": "script", "sequence-decls": "script",
}  # fmt: skip
_BOOK = {
    "p": "p", "v": "p", "subtitle": "h4", "strong": "strong", "emphasis": "em", "cite": "blockquote", "table": "table",
    "tr": "tr", "td": "td", "th": "th", "empty-line": "br", "epigraph": "blockquote", "code": "code",
    "description": "script", "binary": "script",
}  # fmt: skip


def read_open_document(content: Content, reading: Reading) -> Iterator[Draft]:
    """One document of LibreOffice (OASIS OpenDocument 1.3)."""
    with checked_zip(content, reading.limits) as archive:
        manifest = archive.read("META-INF/manifest.xml") if archive.has("META-INF/manifest.xml") else b""
        if b"encryption-data" in manifest:
            raise UnreadableError(text("it is encrypted; save a copy without a password and add that"))
        body = archive.read("content.xml")
        said = _said(archive.read("meta.xml")) if archive.has("meta.xml") else {}
    made = _written(io.BytesIO(body), _OPEN_DOCUMENT, reading.limits.max_text)
    author = said.get("creator") or said.get("initial-creator", "")
    yield Draft(
        made, title=said.get("title", ""), time=seconds_of(said.get("date", "") or said.get("creation-date", "")),
        authors=(author,) if author else (),
    )  # fmt: skip


def read_book(content: Content, reading: Reading) -> Iterator[Draft]:
    """One book in FictionBook 2, packed or not."""
    if is_zip(content):
        with checked_zip(content, reading.limits) as archive:
            data = archive.read(next(one for one in archive.members() if one.filename.lower().endswith(".fb2")))
    else:
        data = content.data()
    said = _said(data, until="title-info")
    author = " ".join(part for name in ("first-name", "last-name") if (part := said.get(name, "")))
    made = _written(io.BytesIO(data), _BOOK, reading.limits.max_text)
    yield Draft(made, title=said.get("book-title", ""), authors=(author,) if author else ())


def _written(stream: BinaryIO, names: Mapping[str, str], limit: int) -> str:
    writer = MarkdownWriter()
    depth = 0
    for event, one in _events(stream):
        kind = one.tag.rpartition("}")[2]
        depth += (1 if event == "start" else -1) if kind == "section" else 0
        name = names.get(kind) or _heading(one, kind, depth)
        if event == "start":
            if name:
                writer.start(name, {})
            if kind == "s":
                writer.data(" ")
            if one.text:
                writer.data(one.text)
        else:
            if name:
                writer.end(name)
            if one.tail:
                writer.data(one.tail)
            one.clear()
    made = writer.close()
    if len(made) > limit:
        raise too_much_text(limit)
    return made


def _heading(one: ET.Element, kind: str, depth: int) -> str:
    if kind == "h":
        level = next((value for name, value in one.attrib.items() if name.endswith("outline-level")), "1")
        return f"h{min(6, int(level))}" if level.isdecimal() else "h1"
    return f"h{min(6, max(1, depth + 1))}" if kind == "title" else ""


def _events(stream: BinaryIO) -> Iterator[tuple[str, ET.Element]]:
    """Starts and ends of elements. At its start an element has no text yet, so each event comes one event later."""
    parser: ET.XMLPullParser[ET.Element] = ET.XMLPullParser(("start", "end"))
    kept: tuple[str, ET.Element] | None = None
    try:
        while piece := stream.read(1 << 16):
            if b"<!ENTITY" in piece:
                raise UnreadableError(text("its XML declares entities, which a document has no need of"))
            parser.feed(piece)
            for event in parser.read_events():
                if kept is not None:
                    yield kept
                kept = event  # type: ignore[assignment]
        parser.close()
    except ET.ParseError as error:
        raise UnreadableError(text("it is damaged ({reason})", reason=str(error)[:100])) from error
    if kept is not None:
        yield kept


def _said(data: bytes, until: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for event, one in _events(io.BytesIO(data)):
        kind = one.tag.rpartition("}")[2]
        if event == "end":
            if one.text and one.text.strip():
                found.setdefault(kind, " ".join(one.text.split()))
            if until and kind == until:
                break
    return found


OPEN_DOCUMENT = Format(
    "opendocument", read_open_document, frozenset((".odt", ".ods", ".odp", ".fodt")), binary=True,
    recognises=lambda content: has_members(content, "content.xml") and content.head[30:38] == b"mimetype",
)  # fmt: skip
BOOK = Format(
    "fb2", read_book, frozenset((".fb2",)), hints=lambda content: b"<FictionBook" in content.head,
    recognises=lambda content: content.name.lower().endswith(".fb2.zip") and is_zip(content),
)  # fmt: skip
