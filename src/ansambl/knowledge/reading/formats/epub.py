"""E-books in EPUB: chapters in the order of the spine, each a page with its title. Needs no library."""

from __future__ import annotations

import posixpath
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from urllib.parse import unquote

from ansambl.domain.text import text
from ansambl.knowledge.reading.charsets import decoded
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, TextBuilder, UnreadableError
from ansambl.knowledge.reading.markup import page_of
from ansambl.knowledge.reading.office import has_members
from ansambl.knowledge.reading.times import seconds_of
from ansambl.knowledge.reading.zip_files import CheckedZip, checked_zip

_CONTAINER = "META-INF/container.xml"
_DC = "{http://purl.org/dc/elements/1.1/}"


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One book."""
    with checked_zip(content, reading.limits) as archive:
        package = _package(archive)
        root = _xml(archive, package)
        folder = posixpath.dirname(package)
        built = TextBuilder(reading.limits.max_text)
        absent = 0
        number = 0
        for name in _spine(root, folder):
            if not archive.has(name):
                absent += 1
                continue
            page = page_of(decoded(archive.read(name)).text)
            if page.text.strip():
                number += 1
                built.mark(number, _heading(page.text) or page.title)
                built.add(page.text)
    said = {
        name: [" ".join((one.text or "").split()) for one in root.iter(_DC + name)]
        for name in ("title", "creator", "date", "language", "publisher")
    }
    if not built.length and archive.has("META-INF/rights.xml"):
        raise UnreadableError(text("it is protected by its publisher; read a copy without protection"))
    facts = {"publisher": said["publisher"][0]} if said["publisher"] else {}
    yield Draft(
        built.text(), title=next(iter(said["title"]), ""), marks=built.marks(), authors=tuple(said["creator"]),
        time=seconds_of(said["date"][0]) if said["date"] else None, facts=facts,
        warnings=(text("{count} of its chapters are not in the file", count=absent),) if absent else (),
    )  # fmt: skip


def _package(archive: CheckedZip) -> str:
    for one in _xml(archive, _CONTAINER).iter():
        if one.tag.rpartition("}")[2] == "rootfile" and one.get("full-path"):
            return unquote(one.get("full-path", ""))
    raise UnreadableError(text("it names no contents; it is damaged"))


def _spine(root: ET.Element, folder: str) -> Iterator[str]:
    """The names of the chapters in reading order (EPUB 3.3, 5.7)."""
    paths, order = {}, []
    for one in root.iter():
        kind = one.tag.rpartition("}")[2]
        if kind == "item":
            paths[one.get("id")] = posixpath.normpath(posixpath.join(folder, unquote(one.get("href", ""))))
        elif kind == "itemref" and one.get("linear") != "no":
            order.append(one.get("idref"))
    seen: set[str] = set()
    for reference in order:
        name = paths.get(reference)
        if name and name not in seen:
            seen.add(name)
            yield name


def _xml(archive: CheckedZip, name: str) -> ET.Element:
    """XML without entities of its own; a document type is common here, an entity is an attack."""
    try:
        data = archive.read(name)
    except KeyError:
        raise UnreadableError(text("it names no contents; it is damaged")) from None
    if b"<!ENTITY" in data.replace(b"\0", b""):
        raise UnreadableError(text("its XML declares entities, which a document has no need of"))
    try:
        return ET.fromstring(data)  # noqa: S314 - no entities, as seen above
    except ET.ParseError as error:
        raise UnreadableError(text("it is damaged ({reason})", reason=str(error)[:100])) from error


def _heading(chapter: str) -> str:
    for line in chapter[:2000].split("\n"):
        if line.startswith("#"):
            return line.lstrip("#").strip()[:200]
    return ""


FORMAT = Format(
    "epub", read, frozenset((".epub",)), recognises=lambda content: has_members(content, _CONTAINER), binary=True,
    media_types=frozenset(("application/epub+zip",)),
)  # fmt: skip
