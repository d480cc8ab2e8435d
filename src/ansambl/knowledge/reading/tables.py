"""Tables as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

ROWS = 40
"""Rows of a long table below each repeated header: a passage cut out of its middle still says what its columns are."""


def markdown_row(cells: Sequence[str], width: int) -> str:
    """One row with `width` columns."""
    filled = [" ".join(cell.split()).replace("|", "\\|") for cell in cells[:width]]
    return "| " + " | ".join(filled + [""] * (width - len(filled))) + " |"


def markdown_tables(rows: Iterator[Sequence[str]], width: int, block: int = ROWS) -> Iterator[str]:
    """A table as blocks of `block` rows, each with the header, which is the first row, repeated above it."""
    header = next(rows, None)
    if header is None:
        return
    top = markdown_row(header, width) + "\n|" + " --- |" * width
    lines: list[str] = []
    some = False
    for row in rows:
        lines.append(markdown_row(row, width))
        if len(lines) == block:
            yield "\n".join((top, *lines))
            lines, some = [], True
    if lines or not some:
        yield "\n".join((top, *lines))
