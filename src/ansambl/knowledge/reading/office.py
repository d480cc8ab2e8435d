"""What all Office Open XML documents share: their properties, and how one is told from another."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from ansambl.knowledge.reading.content import Content
from ansambl.knowledge.reading.times import seconds_of
from ansambl.knowledge.reading.titles import meaningful
from ansambl.knowledge.reading.zip_files import CheckedZip

_CORE = "docProps/core.xml"


@dataclass(frozen=True, slots=True)
class Properties:
    """Title, author and time as the document's core properties say (ECMA-376 part 2, 11)."""

    title: str = ""
    author: str = ""
    time: float | None = None


def properties_of(archive: CheckedZip) -> Properties:
    """The core properties; empty where there are none. `check_xml` must have been called."""
    if not archive.has(_CORE):
        return Properties()
    try:
        root = ET.fromstring(archive.read(_CORE))  # noqa: S314 - no entities: `check_xml` refused them
    except ET.ParseError:
        return Properties()
    said = {one.tag.rpartition("}")[2]: (one.text or "").strip() for one in root}
    time = seconds_of(said.get("modified", "")) or seconds_of(said.get("created", ""))
    return Properties(meaningful(said.get("title", "")), said.get("creator", ""), time)


def is_zip(content: Content) -> bool:
    """Whether the content is a ZIP archive of any kind."""
    return content.head.startswith((b"PK\x03\x04", b"PK\x05\x06"))


def has_members(content: Content, *names: str) -> bool:
    """Whether it is a ZIP archive that has one of these members."""
    import zipfile

    if not is_zip(content):
        return False
    try:
        with content.open() as stream, zipfile.ZipFile(stream) as archive:
            return any(name in archive.NameToInfo for name in names)
    except (zipfile.BadZipFile, ValueError, OverflowError, NotImplementedError):
        return False
