"""Presentations: each slide is a page, with its tables and its notes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, TextBuilder, missing
from ansambl.knowledge.reading.office import has_members, properties_of
from ansambl.knowledge.reading.tables import markdown_tables
from ansambl.knowledge.reading.zip_files import checked_zip

_INCH_PART = 91440
"""A tenth of an inch in EMU: shapes that begin within it are on one line."""


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One presentation."""
    try:
        import pptx
    except ImportError:
        raise missing("python-pptx") from None
    with checked_zip(content, reading.limits) as archive:
        archive.check_xml()
        properties = properties_of(archive)
    built = TextBuilder(reading.limits.max_text)
    with content.open() as stream:
        for number, slide in enumerate(pptx.Presentation(stream).slides, 1):
            title = " ".join(slide.shapes.title.text_frame.text.split()) if slide.shapes.title is not None else ""
            built.mark(number, title[:200])
            if title:
                built.add(f"## {title}")
            own = slide.shapes.title.shape_id if slide.shapes.title is not None else None
            for shape in _shapes(slide.shapes):
                if shape.shape_id != own:
                    for piece in _pieces(shape):
                        built.block(piece)
            if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
                notes = slide.notes_slide.notes_text_frame.text.strip()
                if notes:
                    built.block("> " + notes.replace("\v", "\n").replace("\n", "\n> "))
    yield Draft(
        built.text(), title=properties.title, marks=built.marks(), time=properties.time,
        authors=(properties.author,) if properties.author else (),
    )  # fmt: skip


def _shapes(shapes: Any) -> list[Any]:
    """All shapes, those of groups too, in the order in which they are read: from the top, then from the left."""
    found, waiting = [], list(shapes)
    while waiting:
        shape = waiting.pop(0)
        if hasattr(shape, "shapes"):
            waiting.extend(shape.shapes)
        else:
            found.append(shape)
    return sorted(found, key=lambda one: ((one.top or 0) // _INCH_PART, one.left or 0))


def _pieces(shape: Any) -> Iterator[str]:
    if getattr(shape, "has_table", False):
        rows = [[cell.text for cell in row.cells] for row in shape.table.rows]
        if rows:
            yield from markdown_tables(iter(rows), max(map(len, rows)))
    elif getattr(shape, "has_text_frame", False):
        paragraphs = [one for one in shape.text_frame.paragraphs if one.text.strip()]
        if len(paragraphs) == 1:
            yield paragraphs[0].text.replace("\v", "\n").strip()
        elif paragraphs:
            yield "\n".join(f"{'  ' * one.level}- {' '.join(one.text.split())}" for one in paragraphs)


FORMAT = Format(
    "pptx", read, frozenset((".pptx", ".pptm", ".ppsx")), binary=True,
    recognises=lambda content: has_members(content, "ppt/presentation.xml"),
)  # fmt: skip
