"""Tables in text files: CSV with whatever separates its columns, and TSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from ansambl.domain.text import text
from ansambl.knowledge.reading.charsets import text_of
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, TextBuilder
from ansambl.knowledge.reading.tables import markdown_tables

_COLUMNS = 100
_LONGEST_CELL = 1_000_000
_SEPARATORS = ";\t,|"


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One table."""
    source = text_of(content, reading.limits).text
    csv.field_size_limit(_LONGEST_CELL)
    rows: list[list[str]] = []
    more = False
    for row in csv.reader(io.StringIO(source), delimiter=_separator(source[:20_000], content.suffix)):
        if len(rows) == reading.limits.max_rows:
            more = True
            break
        if any(cell.strip() for cell in row):
            rows.append(row[:_COLUMNS])
    built = TextBuilder(reading.limits.max_text)
    for block in markdown_tables(iter(rows), max(map(len, rows), default=0)):
        built.block(block)
    warnings = (text("only the first {count} rows were read", count=len(rows)),) if more else ()
    yield Draft(built.text(), title=content.name, warnings=warnings)


def _separator(sample: str, suffix: str) -> str:
    """What stands equally often in each line; `csv.Sniffer` is slow on long lines and fooled by decimal commas."""
    if suffix in {".tsv", ".tab"}:
        return "\t"
    lines = [line for line in sample.split("\n")[:20] if line.strip()]
    if len(lines) > 1 and len(sample) == 20_000:
        lines.pop()

    def worth(separator: str) -> tuple[float, int]:
        counts = [_outside_of_quotes(line).count(separator) for line in lines]
        if not counts or not max(counts):
            return 0.0, 0
        usual = max(set(counts), key=lambda count: (counts.count(count), count))
        return (counts.count(usual) / len(counts) if usual else 0.0), usual

    return max(_SEPARATORS, key=lambda one: (worth(one), -_SEPARATORS.index(one)))


def _outside_of_quotes(line: str) -> str:
    return "".join(line.split('"')[::2])


FORMAT = Format("csv", read, frozenset((".csv", ".tsv", ".tab")), media_types=frozenset(("text/csv",)))
