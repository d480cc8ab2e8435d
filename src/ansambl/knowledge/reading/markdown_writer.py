"""Markdown out of the events of an HTML parser, in one pass and without recursion: depth costs nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansambl.knowledge.reading.tables import markdown_row

_SPACES = re.compile(r"[ \t\n\r\f\v\u00a0]+")
_SILENT = frozenset(
    (
        "script", "style", "template", "noscript", "svg", "math", "iframe", "object", "embed", "canvas", "select",
        "button", "dialog", "datalist", "audio", "video", "head", "link", "meta",
    )
)  # fmt: skip
_ASIDE = frozenset(("nav", "footer", "aside", "form", "menu"))
_ASIDE_ROLES = frozenset(("navigation", "banner", "contentinfo", "search", "complementary"))
_BLOCKS = _ASIDE | frozenset(
    (
        "p", "div", "section", "article", "main", "header", "hgroup", "figure", "figcaption", "address", "details",
        "summary", "fieldset", "dl", "dt", "dd", "ul", "ol", "center", "body", "html", "legend", "caption", "li",
        "blockquote",
    )
)  # fmt: skip
_CODE = frozenset(("code", "tt", "kbd", "samp"))
_HEADINGS = {"h1": 1, "h2": 2, "h3": 3, "h4": 4, "h5": 5, "h6": 6}
_VOID = frozenset(
    ("br", "hr", "img", "input", "wbr", "area", "base", "col", "link", "meta", "source", "track", "param")
)
_EMPHASIS = {"strong": "**", "b": "**", "em": "*", "i": "*"}
_LANGUAGE = re.compile(r"(?:^|\s)(?:language|lang|highlight-source|brush:?)[-\s]?([\w+#-]+)")
_TABLE_PARTS = frozenset(("td", "th", "tr", "table"))
_DEEPEST = 8
_MAIN_SHARE = 0.3
"""Of all text, at least this much must stand in what calls itself the main part for the rest to be left out."""

MAIN, REST, ASIDE = 0, 1, 2


@dataclass(slots=True)
class _Table:
    rows: list[list[str]] = field(default_factory=list)
    row: list[str] | None = None
    cell: list[str] | None = None
    depth: int = 0
    spans: int = 1


@dataclass(slots=True)
class _List:
    ordered: bool
    number: int = 1


class MarkdownWriter:
    """Told of tags and text as they come, it gives Markdown. Scripts, styles and navigation are left out."""

    def __init__(self) -> None:
        self.title = ""
        self.meta: dict[str, str] = {}
        self._blocks: list[tuple[int, str]] = []
        self._line: list[str] = []
        self._stack: list[str] = []
        self._silent = self._aside = self._main = self._quote = 0
        self._pre: list[str] | None = None
        self._language = ""
        self._heading = 0
        self._lists: list[_List] = []
        self._bullet = ""
        self._tables: list[_Table] = []
        self._title: list[str] | None = None

    def start(self, tag: str, attributes: Mapping[str, str | None]) -> None:  # noqa: C901, PLR0912 - one case a tag
        """A tag begins."""
        tag = tag.lower()
        if tag == "meta":
            self._note(attributes)
        if tag in _VOID:
            self._void(tag, attributes)
            return
        if tag == "title" and not self._title and "svg" not in self._stack:
            self._title = []
        self._stack.append(tag)
        if tag in _SILENT:
            self._silent += 1
        if self._silent:
            return
        if tag in _ASIDE or attributes.get("role") in _ASIDE_ROLES:
            self._flush()
            self._aside += 1
            self._stack[-1] = f"{tag} aside"
        elif tag in {"main", "article"} or attributes.get("role") == "main":
            self._flush()
            self._main += 1
            self._stack[-1] = f"{tag} main"
        if tag in _HEADINGS:
            self._flush()
            self._heading = _HEADINGS[tag]
        elif tag == "pre":
            self._flush()
            self._pre, self._language = [], _language_of(attributes)
        elif tag == "code" and self._pre is not None:
            self._language = self._language or _language_of(attributes)
        elif tag in _CODE:
            self._line.append("`")
        elif tag in _EMPHASIS and self._pre is None:
            self._line.append(_EMPHASIS[tag])
        elif tag in {"ul", "ol"}:
            self._flush()
            self._lists.append(_List(tag == "ol"))
        elif tag == "li":
            self._item()
        elif tag == "blockquote":
            self._flush()
            self._quote += 1
        elif tag == "table":
            self._begin_table()
        elif tag in {"tr", "td", "th"}:
            self._cell(tag, attributes)
        elif tag in _BLOCKS:
            self._flush()

    def end(self, tag: str) -> None:
        """A tag ends. What was opened inside of it and not closed ends with it; a stray end is ignored."""
        tag = tag.lower()
        if tag in _VOID:
            return
        at = len(self._stack) - 1
        # A stray end tag must not make every later one search the whole stack: real pages close what is near.
        lowest = max(0, at - 200)
        while at >= lowest and self._stack[at].partition(" ")[0] != tag:
            at -= 1
        if at < lowest:
            return
        while len(self._stack) > at:
            self._close(self._stack.pop())

    def data(self, words: str) -> None:
        """Text."""
        if self._title is not None:
            self._title.append(words)
        elif self._silent:
            return
        elif self._pre is not None:
            self._pre.append(words)
        else:
            self._line.append(_SPACES.sub(" ", words))

    def comment(self, _: str) -> None:
        """Left out."""

    def pi(self, *_: str) -> None:
        """Left out."""

    def close(self) -> str:
        """The Markdown: the main part alone where a page says what that is and much of its text is there."""
        while self._stack:
            self._close(self._stack.pop())
        self._flush()
        while self._tables:
            self._end_table()
        sizes = [0, 0, 0]
        for part, block in self._blocks:
            sizes[part] += len(block)
        keep = {MAIN} if sizes[MAIN] > _MAIN_SHARE * sum(sizes) else {MAIN, REST}
        if not sizes[MAIN] + sizes[REST]:
            keep = {ASIDE}
        return _joined([block for part, block in self._blocks if part in keep])

    def _note(self, attributes: Mapping[str, str | None]) -> None:
        name = attributes.get("name") or attributes.get("property") or attributes.get("itemprop") or ""
        content = attributes.get("content")
        if name and content and len(self.meta) < 200:
            self.meta.setdefault(name.lower(), content[:1000])

    def _void(self, tag: str, attributes: Mapping[str, str | None]) -> None:
        if self._silent:
            return
        if tag == "br":
            if self._pre is not None:
                self._pre.append("\n")
            else:
                self._line.append("\n")
        elif tag == "hr":
            self._flush()
        elif tag == "img" and (shown := (attributes.get("alt") or "").strip()) and not self._aside:
            self._line.append(f" ({_SPACES.sub(' ', shown)[:300]}) ")

    def _item(self) -> None:
        self._flush()
        if not self._lists:
            self._lists.append(_List(ordered=False))
            self._stack.insert(len(self._stack) - 1, "ul")
        current = self._lists[-1]
        indent = "  " * min(len(self._lists) - 1, _DEEPEST)
        self._bullet = f"{indent}{current.number}. " if current.ordered else f"{indent}- "
        current.number += 1

    def _close(self, opened: str) -> None:
        tag, _, what = opened.partition(" ")
        if tag == "title" and self._title is not None:
            self.title = self.title or _SPACES.sub(" ", "".join(self._title)).strip()
            self._title = None
        if tag in _SILENT:
            self._silent -= 1
            return
        if self._silent:
            return
        if tag == "pre" and self._pre is not None:
            self._end_code()
        elif tag in _CODE and self._pre is None:
            self._line.append("`")
        elif tag in _EMPHASIS and self._pre is None:
            self._line.append(_EMPHASIS[tag])
        elif tag in _TABLE_PARTS:
            {"tr": self._end_row, "table": self._end_table}.get(tag, self._end_cell)()
        elif tag in _HEADINGS or tag in _BLOCKS:
            self._flush()
        self._leave(tag, what)

    def _leave(self, tag: str, what: str) -> None:
        if tag in _HEADINGS:
            self._heading = 0
        elif tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
            self._bullet = ""
        elif tag == "blockquote":
            self._quote -= 1
        if what == "aside":
            self._aside -= 1
        elif what == "main":
            self._main -= 1

    def _flush(self) -> None:
        """What was gathered becomes a block; in a cell it stays on the line."""
        if not self._line:
            return
        if self._tables and self._tables[-1].cell is not None:
            self._tables[-1].cell.append("".join(self._line))
            self._tables[-1].cell.append(" ")
            self._line = []
            return
        words = _tidy("".join(self._line))
        self._line = []
        if not words:
            return
        if self._heading:
            words = "#" * self._heading + " " + " ".join(words.replace("**", "").split())
        elif self._bullet:
            words = self._bullet + words.replace("\n", "\n" + " " * len(self._bullet))
        elif self._lists:
            words = "  " * min(len(self._lists), _DEEPEST) + words
        self._bullet = ""
        self._block(words)

    def _block(self, words: str) -> None:
        if self._quote:
            words = "\n".join("> " + line for line in words.split("\n"))
        part = ASIDE if self._aside else MAIN if self._main else REST
        self._blocks.append((part, words))

    def _end_code(self) -> None:
        code = "".join(self._pre or ()).replace("\r\n", "\n").strip("\n")
        self._pre = None
        if self._tables and self._tables[-1].cell is not None:
            self._tables[-1].cell.append(code)
            return
        if code.strip():
            fence = "```"
            while fence in code:
                fence += "`"
            self._bullet = ""
            self._block(f"{fence}{self._language}\n{code}\n{fence}")

    def _begin_table(self) -> None:
        self._flush()
        self._tables.append(_Table())

    def _cell(self, tag: str, attributes: Mapping[str, str | None]) -> None:
        if not self._tables:
            self._flush()
            return
        table = self._tables[-1]
        if tag == "tr":
            self._end_row()
            table.row = []
            return
        self._end_cell()
        if table.row is None:
            table.row = []
        span = attributes.get("colspan") or "1"
        table.spans = min(int(span), 50) if span.isdecimal() and len(span) < 4 else 1
        self._line, table.cell = [], []

    def _end_cell(self) -> None:
        if not self._tables or self._tables[-1].cell is None:
            return
        self._flush()
        table = self._tables[-1]
        cell, table.cell = "".join(table.cell or ()), None
        if table.row is not None:
            table.row.extend((" ".join(_tidy(cell).split()), *[""] * (table.spans - 1)))

    def _end_row(self) -> None:
        if not self._tables:
            return
        self._end_cell()
        table = self._tables[-1]
        if table.row and any(table.row):
            table.rows.append(table.row)
        table.row = None

    def _end_table(self) -> None:
        if not self._tables:
            return
        self._end_row()
        self._line = []
        table = self._tables.pop()
        if not table.rows:
            return
        width = max(map(len, table.rows))
        if self._tables and self._tables[-1].cell is not None:
            self._tables[-1].cell.append(" ".join(" ".join(row) for row in table.rows))
        elif width == 1 or len(table.rows) == 1:
            # One column or one row is layout, not data.
            for row in table.rows:
                self._block("\n\n".join(cell for cell in row if cell))
        else:
            rows = [markdown_row(row, width) for row in table.rows]
            rows.insert(1, "|" + " --- |" * width)
            self._block("\n".join(rows))


def _tidy(words: str) -> str:
    words = words.replace("\u00ad", "")
    for empty in ("****", "``"):
        words = words.replace(empty, "")
    return "\n".join(line for line in (" ".join(line.split()) for line in words.split("\n")) if line)


def _language_of(attributes: Mapping[str, str | None]) -> str:
    found = _LANGUAGE.search(attributes.get("class") or "")
    return found[1] if found else ""


def _joined(blocks: list[str]) -> str:
    """Blocks with an empty line between them; items of one list follow each other."""
    pieces: list[str] = []
    for number, block in enumerate(blocks):
        if number:
            before = blocks[number - 1]
            if block.startswith(">") and before.startswith(">"):
                pieces.append("\n>\n")
            else:
                pieces.append("\n" if _is_item(block) and _is_item(before) else "\n\n")
        pieces.append(block)
    return "".join(pieces)


def _is_item(block: str) -> bool:
    first = block.lstrip(" >")
    return first.startswith("- ") or (first[:1].isdigit() and first.lstrip("0123456789").startswith(". "))
