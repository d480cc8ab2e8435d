"""Spreadsheets: each sheet is a page with its name; values, not formulas, as tables whose header is repeated."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ansambl.domain.text import Text, text
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, TextBuilder, missing
from ansambl.knowledge.reading.office import has_members, properties_of
from ansambl.knowledge.reading.tables import markdown_tables
from ansambl.knowledge.reading.zip_files import checked_zip

_COLUMNS = 100
_ROWS = 1_048_576
"""Rows that a sheet can have at most (ECMA-376 part 1, 18.3.1.73; Excel's specification)."""


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One workbook."""
    try:
        import openpyxl
    except ImportError:
        raise missing("openpyxl") from None
    with checked_zip(content, reading.limits) as archive:
        archive.check_xml()
        properties = properties_of(archive)
    built = TextBuilder(reading.limits.max_text)
    warnings: list[Text] = []
    with content.open() as stream:
        # Read only: rows come one by one. What a cell shows is kept; it is empty where no program computed it.
        book = openpyxl.load_workbook(stream, read_only=True, data_only=True, keep_links=False)
        try:
            for number, sheet in enumerate(book.worksheets, 1):
                # The size that a sheet claims is often wrong.
                sheet.reset_dimensions()
                rows, more = _rows(sheet.iter_rows(values_only=True), reading.limits.max_rows)
                if more:
                    warnings.append(
                        text("sheet {name}: only the first {count} rows were read", name=sheet.title, count=len(rows))
                    )
                if rows:
                    built.mark(number, sheet.title)
                    built.add(f"## {sheet.title}")
                    for block in markdown_tables(iter(rows), max(map(len, rows))):
                        built.block(block)
        finally:
            book.close()
    yield Draft(
        built.text(), title=properties.title or content.name, marks=built.marks(), time=properties.time,
        authors=(properties.author,) if properties.author else (), warnings=tuple(warnings),
    )  # fmt: skip


def _rows(found: Iterable[tuple[Any, ...]], most: int) -> tuple[list[list[str]], bool]:
    """The rows that hold something, and whether there were more than `most`."""
    rows: list[list[str]] = []
    # A damaged number of a row would make the library give empty ones for years.
    for row in islice(found, _ROWS):
        if not row:
            continue
        cells = [_shown(value) for value in row[:_COLUMNS]]
        while cells and not cells[-1]:
            cells.pop()
        if cells:
            if len(rows) == most:
                return rows, True
            rows.append(cells)
    return rows, False


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.datetime):
        return value.date().isoformat() if value.time() == dt.time() else value.isoformat(" ", "minutes")
    if isinstance(value, float):
        return f"{value:.10g}"
    return str(value).strip()


FORMAT = Format(
    "xlsx", read, frozenset((".xlsx", ".xlsm", ".xltx")), binary=True,
    recognises=lambda content: has_members(content, "xl/workbook.xml"),
)  # fmt: skip
