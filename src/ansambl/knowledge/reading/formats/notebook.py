"""Jupyter notebooks: Markdown cells as they are, code in fences, and what it printed, up to a limit."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansambl.domain.text import text
from ansambl.knowledge.reading.charsets import text_of
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, TextBuilder, UnreadableError

_LONGEST_OUTPUT = 2_000
"""Characters of one output that are kept: the rest is numbers that nobody asks for."""


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One notebook of format 3 or 4 (nbformat's schema)."""
    try:
        book = json.loads(text_of(content, reading.limits).text)
    except ValueError as error:
        raise UnreadableError(text("it is no notebook: {reason}", reason=str(error)[:100])) from error
    cells = _cells(book)
    if cells is None:
        raise UnreadableError(text("it is no notebook: it has no cells"))
    language = _language(book)
    built = TextBuilder(reading.limits.max_text)
    for cell in cells:
        if not isinstance(cell, dict):
            continue
        source = _joined(cell.get("source", cell.get("input", "")))
        kind = cell.get("cell_type")
        if kind == "code":
            if source.strip():
                built.block(_fenced(source, language))
            for output in _list(cell.get("outputs")):
                if said := _said(output):
                    built.block(_fenced(said, "text"))
        elif kind == "heading":
            built.block(f"{'#' * min(6, int(cell.get('level') or 1))} {source}")
        else:
            built.block(source)
    yield Draft(built.text(), facts={"language": language} if language else {})


def _cells(book: Any) -> list[Any] | None:
    if not isinstance(book, dict):
        return None
    if isinstance(book.get("worksheets"), list):
        return [cell for sheet in book["worksheets"] if isinstance(sheet, dict) for cell in _list(sheet.get("cells"))]
    return book["cells"] if isinstance(book.get("cells"), list) else None


def _language(book: Mapping[str, Any]) -> str:
    meta = book.get("metadata")
    for name, key in (("language_info", "name"), ("kernelspec", "language")):
        part = meta.get(name) if isinstance(meta, dict) else None
        if isinstance(part, dict) and isinstance(part.get(key), str):
            return str(part[key])[:30]
    return "python"


def _said(output: Any) -> str:
    if not isinstance(output, dict):
        return ""
    data = output.get("data") if isinstance(output.get("data"), dict) else {}
    said = _joined(output.get("text") or (data or {}).get("text/plain") or "")
    if output.get("output_type") in {"error", "pyerr"}:
        said = f"{output.get('ename', '')}: {output.get('evalue', '')}"
    said = said.strip("\n")
    return said if len(said) <= _LONGEST_OUTPUT else said[:_LONGEST_OUTPUT] + " …"


def _joined(source: Any) -> str:
    if isinstance(source, list):
        return "".join(line for line in source if isinstance(line, str))
    return source if isinstance(source, str) else ""


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _fenced(code: str, language: str) -> str:
    fence = "```"
    while fence in code:
        fence += "`"
    return f"{fence}{language}\n{code.strip(chr(10))}\n{fence}"


FORMAT = Format("notebook", read, frozenset((".ipynb",)))
