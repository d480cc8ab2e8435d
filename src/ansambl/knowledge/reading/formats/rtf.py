"""Rich Text Format 1.9, as text: paragraphs, table cells, characters of any code page."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ansambl.domain.knowledge import Form
from ansambl.knowledge.reading.content import Content, Draft, Format, Reading, TextBuilder

_TOKEN = re.compile(
    rb"\\([a-zA-Z]{1,32})(-?\d{1,10})? ?|\\'([0-9a-fA-F]{2})|\\([^a-zA-Z'])|([{}])|[\r\n]+|([^\\{}\r\n]+)"
)
_SKIPPED = frozenset(
    (
        "fonttbl", "colortbl", "stylesheet", "info", "pict", "object", "header", "footer", "headerl", "headerr",
        "headerf", "footerl", "footerr", "footerf", "generator", "listtable", "listoverridetable", "rsidtbl",
        "xmlnstbl", "themedata", "colorschememapping", "datastore", "latentstyles", "fldinst", "filetbl", "revtbl",
        "mmathPr",
    )
)  # fmt: skip
_WORDS = {
    "par": "\n\n", "sect": "\n\n", "page": "\n\n", "line": "\n", "tab": "\t", "cell": " | ", "row": "\n",
    "emdash": "—", "endash": "–", "lquote": "‘", "rquote": "’", "ldblquote": "“", "rdblquote": "”", "bullet": "•",
}  # fmt: skip
_CHARSETS = {
    0: "cp1252", 128: "cp932", 129: "cp949", 134: "gbk", 136: "big5", 161: "cp1253", 162: "cp1254", 163: "cp1258",
    177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250",
}  # fmt: skip


def read(content: Content, reading: Reading) -> Iterator[Draft]:
    """One document, without its pictures."""
    yield Draft(_Parser(content.data(), reading.limits.max_text).text(), form=Form.PLAIN)


class _Parser:
    def __init__(self, data: bytes, limit: int) -> None:
        self._data = data
        self._built = TextBuilder(limit)
        self._page = "cp1252"
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._raw = bytearray()
        # What a group began with: whether it is skipped, its font, how many characters stand in for one of Unicode.
        self._groups: list[tuple[str, int, int]] = []
        self._skipping, self._stand_ins, self._to_skip = "", 1, 0
        self._surrogate = ""

    def text(self) -> str:
        for token in _TOKEN.finditer(self._data):
            word, number, byte, symbol, brace, plain = token.groups()
            if brace:
                self._brace(brace)
            elif word:
                self._word(word.decode("ascii"), int(number) if number else None)
            elif byte:
                self._bytes(bytes((int(byte, 16),)))
            elif symbol:
                self._symbol(symbol)
            elif plain:
                self._bytes(plain)
        self._flush()
        return re.sub(r"\n{3,}", "\n\n", self._built.text()).strip()

    def _brace(self, brace: bytes) -> None:
        self._flush()
        if brace == b"{":
            self._groups.append((self._skipping, self._font, self._stand_ins))
        elif self._groups:
            self._skipping, self._font, self._stand_ins = self._groups.pop()

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            # What follows is for programs that know it.
            self._skipping = self._skipping or "*"
        elif symbol in b"\\{}":
            self._bytes(symbol)
        elif symbol == b"~":
            self._add("\u00a0")
        elif symbol == b"_":
            self._add("-")

    def _word(self, word: str, number: int | None) -> None:
        if word == "u" and number is not None:
            self._unicode(number % 65536)
            return
        self._flush()
        if word == "ansicpg" and number:
            self._page = f"cp{number}"
        elif word == "fcharset" and number is not None and self._skipping == "fonttbl":
            self._fonts[self._font] = _CHARSETS.get(number, self._page)
        elif word == "f" and number is not None:
            self._font = number
        elif word == "uc" and number is not None:
            self._stand_ins = min(number, 10)
        elif word == "bin" and number:
            return
        elif word in _SKIPPED:
            self._skipping = self._skipping if self._skipping not in {"", "*"} else word
        elif word in _WORDS:
            self._add(_WORDS[word])

    def _unicode(self, code: int) -> None:
        self._flush()
        character = chr(code)
        if 0xD800 <= code < 0xDC00:
            self._surrogate = character
        elif 0xDC00 <= code < 0xE000:
            both, self._surrogate = self._surrogate + character, ""
            self._add(both.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
        else:
            self._add(character)
        self._to_skip = self._stand_ins

    def _bytes(self, raw: bytes) -> None:
        if self._to_skip:
            skipped = min(self._to_skip, len(raw))
            self._to_skip -= skipped
            raw = raw[skipped:]
        if not self._skipping:
            self._raw += raw

    def _add(self, words: str) -> None:
        self._flush()
        if not self._skipping:
            self._built.add(words)

    def _flush(self) -> None:
        if self._raw:
            charset = self._fonts.get(self._font, self._page)
            try:
                words = self._raw.decode(charset, "replace")
            except LookupError:
                words = self._raw.decode("cp1252", "replace")
            self._raw.clear()
            self._built.add(words)


FORMAT = Format(
    "rtf", read, frozenset((".rtf",)), recognises=lambda content: content.head.startswith(b"{\\rtf"),
    media_types=frozenset(("application/rtf", "text/rtf")),
)  # fmt: skip
