"""The character set of a text: by its byte order mark, by what was declared, by trying, and by what reads best."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from ansambl.domain.text import text
from ansambl.knowledge.reading.content import Content, UnreadableError, too_much_text
from ansambl.knowledge.reading.limits import ReadingLimits

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_CYRILLIC = ("cp1251", "koi8-r", "cp866", "mac-cyrillic", "iso8859-5")
_SAMPLE = 200_000
"""Bytes that a character set is judged by."""

# How often each letter comes in Russian texts, in thousandths (Lyashevskaya, Sharov: frequency dictionary, 2009).
_RUSSIAN = dict(
    zip(
        "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
        (110, 85, 80, 74, 67, 63, 55, 47, 45, 44, 35, 32, 30, 28, 26, 20, 19, 17, 17, 17, 16, 14, 12, 10, 9, 7, 6, 5, 4,
         3, 3, 1, 1),
        strict=True,
    )
)  # fmt: skip
_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Decoded:
    """A text, and the character set that it was in."""

    text: str
    charset: str


def decoded(data: bytes, declared: str | None = None) -> Decoded:
    r"""The text of `data`, line ends as ``\n``.

    UTF-8 is tried first whatever was declared: other texts are hardly ever valid UTF-8 by accident, and declarations
    are often wrong.

    Raises:
        UnreadableError: it is no text.
    """
    found = _decoded(data, declared)
    return Decoded(found.text.replace("\r\n", "\n").replace("\r", "\n"), found.charset)


def text_of(content: Content, limits: ReadingLimits, charset: str | None = None) -> Decoded:
    """All text of a content, up to the limit for one document.

    Raises:
        UnreadableError: it is no text, or there is too much of it.
    """
    # No character takes more than four bytes: what is far too long need not be decoded to know.
    if content.size > 4 * limits.max_text:
        raise too_much_text(limits.max_text)
    found = decoded(content.data(), charset or content.charset)
    if len(found.text) > limits.max_text:
        raise too_much_text(limits.max_text)
    return found


def looks_binary(data: bytes) -> bool:
    """Whether these first bytes are no text in any character set."""
    if any(data.startswith(mark) for mark, _ in _MARKS):
        return False
    # A log of a machine that lost its power has a few zeros in it, and is a text all the same.
    if data.count(b"\0") > 0.005 * len(data):
        return _utf16(data) is None
    controls = sum(byte < 32 and byte not in b"\t\n\v\f\r\x1b\x1a\b" for byte in data)
    return controls > len(data) * 0.02


def _decoded(data: bytes, declared: str | None) -> Decoded:
    for mark, marked in _MARKS:
        if data.startswith(mark):
            return Decoded(data.decode(marked, "replace").removeprefix("\ufeff"), marked.removesuffix("-sig"))
    if looks_binary(data[:_SAMPLE]):
        raise UnreadableError(text("it is binary, not a text that can be read"))
    if b"\0" in data and (wide := _utf16(data[:_SAMPLE])):
        return Decoded(data.decode(wide, "replace"), wide)
    try:
        return Decoded(data.decode("utf-8"), "utf-8")
    except UnicodeDecodeError as error:
        # A text that was cut in the middle of a character, or holds a few broken ones, is UTF-8 all the same.
        broken = data[:_SAMPLE].decode("utf-8", "replace").count("\ufffd")
        others = sum(byte >= 0x80 for byte in data[:_SAMPLE])
        if error.start >= len(data) - 3 or broken * 20 < others:
            return Decoded(data.decode("utf-8", "replace"), "utf-8")
    if declared and (charset := _known(declared)) and charset not in {"utf-8", "ascii", "iso8859-1", "cp1252"}:
        return Decoded(data.decode(charset, "replace"), charset)
    charset = _best(data[:_SAMPLE])
    return Decoded(data.decode(charset, "replace"), charset)


def _known(charset: str) -> str | None:
    try:
        found = codecs.lookup(charset.strip())
    except (LookupError, ValueError):
        return None
    return found.name if found._is_text_encoding else None  # noqa: SLF001 - no public way; base64 is a "codec" too


def _utf16(data: bytes) -> str | None:
    """UTF-16 without a mark: every second byte of most letters is the same few."""
    even, odd = data[: len(data) // 2 * 2 : 2], data[1::2]
    if not even:
        return None
    for charset, high in (("utf-16-le", odd), ("utf-16-be", even)):
        likely = sum(byte in {0, 4} for byte in high)
        if likely > 0.8 * len(high):
            try:
                decoded = data[: len(data) // 2 * 2].decode(charset)
            except UnicodeDecodeError as error:
                if error.start < len(data) - 4:
                    continue
                decoded = data[: error.start].decode(charset)
            if not _CONTROLS.search(decoded):
                return charset
    return None


def _best(sample: bytes) -> str:
    """The eight-bit character set that reads best: Cyrillic ones by the frequency of Russian letters, else a guess.

    Guessers of many languages take a short Russian text in KOI8-R or Mac Cyrillic for Windows-1251 and the reverse,
    because all of them are letters there; frequent letters tell them apart.
    """
    score, charset = max((_russian(sample.decode(one, "replace")), one) for one in _CYRILLIC)
    if score > 0.55:
        return charset
    guessed = _guessed(sample)
    if guessed and guessed not in _CYRILLIC:
        return guessed
    return charset if guessed and score > 0.4 else "cp1252"


def _russian(sample: str) -> float:
    """How much what is not ASCII in `sample` is like Russian: about 1 for Russian, near 0 or below for others."""
    letters = [letter for letter in sample if letter > "\x7f"]
    if not letters:
        return 0.0
    # Capitals are rare in the middle of a word; where the wrong set swaps the cases, they are everywhere.
    shouted = len(re.findall(r"[а-яё][А-ЯЁ]", sample))
    known = sum(_RUSSIAN.get(letter.lower(), -60) for letter in letters)
    return (known / len(letters)) / 55 - 2.0 * shouted / len(letters)


def _guessed(sample: bytes) -> str | None:
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return None
    best = from_bytes(sample[:20_000]).best()
    return _known(best.encoding) if best is not None else None
