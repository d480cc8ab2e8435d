"""HTML to Markdown: by lxml where it is installed, else by the standard library's parser."""

from __future__ import annotations

import html.parser
from dataclasses import dataclass, field

from ansambl.knowledge.reading.markdown_writer import MarkdownWriter


@dataclass(frozen=True, slots=True)
class Page:
    """An HTML page: its main part as Markdown, its title, and what its head says (names in small letters)."""

    text: str
    title: str
    meta: dict[str, str] = field(default_factory=dict)


def page_of(source: str) -> Page:
    """Read HTML, however broken or deep; nothing is loaded from anywhere."""
    writer = MarkdownWriter()
    try:
        from lxml import etree
    except ImportError:
        text = _by_standard_library(source, writer)
    else:
        parser = etree.HTMLParser(target=writer, huge_tree=True, no_network=True)
        # In pieces, or libxml2 takes a NUL for the end. A declaration of another encoding does not count for text.
        for start in range(0, len(source), _PIECE):
            parser.feed(source[start : start + _PIECE].replace("\0", " "))
        text = parser.close()
    return Page(text, writer.title, writer.meta)


_PIECE = 1 << 20


class _Parser(html.parser.HTMLParser):
    def __init__(self, writer: MarkdownWriter) -> None:
        super().__init__(convert_charrefs=True)
        self._writer = writer

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._writer.start(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        self._writer.end(tag)

    def handle_data(self, data: str) -> None:
        self._writer.data(data)


def _by_standard_library(source: str, writer: MarkdownWriter) -> str:
    parser = _Parser(writer)
    parser.feed(source)
    parser.close()
    return writer.close()
