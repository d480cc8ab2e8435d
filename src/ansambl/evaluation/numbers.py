"""Numbers as models write them: thousands separators, a decimal comma, fractions, percent, LaTeX. Pure."""

from __future__ import annotations

import re
from itertools import pairwise

_SPACES = "\u00a0\u202f\u2009\u2007"
_SIGNS = str.maketrans({"−": "-", "–": "-", "‒": "-", **dict.fromkeys(_SPACES, " "), "٫": ".", "’": "'"})
_LATEX = (
    (re.compile(r"\\[dt]?frac\s*\{([^{}]{1,40})\}\s*\{([^{}]{1,40})\}"), r"\1/\2"),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf)\s*\{[^{}]{0,80}\}"), " "),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;!:$% ]"), " "),
    (re.compile(r"\\(?:cdot|times)\b"), " * "),
)
# Groups of three divided by blanks or apostrophes; else digits with points and commas; then perhaps an exponent.
_NUMBER = re.compile(
    r"(?<![\w.,])-?\s?(?:\$|€|£|₽)?\s?"
    r"(?P<digits>\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?|\d[\d.,]*\d|\d|\.\d+)"
    r"(?P<power>[eE][+-]?\d{1,3})?"
)
_OVER = re.compile(r"\s*/\s*(\d+(?:\.\d+)?)(?![\d/])")
_TEN = re.compile(r"\s*(?:\*|×|х|x)\s*10\s*\^?\s*\{?\s*(-?\d{1,3})\}?")
_LONGEST = 60
Readings = tuple[float, ...]


def numbers_in(words: str, language: str = "en") -> list[Readings]:
    """All numbers of a text, in their order.

    Each comes with all its readings, the likelier first: ``1,234`` is 1234 in English and 1.234 in Russian, and
    models mix the two. "3/4" is one number, and so is "1.2e3".
    """
    flat = words.translate(_SIGNS)
    for pattern, with_what in _LATEX:
        flat = pattern.sub(with_what, flat)
    found: list[Readings] = []
    position = 0
    while (match := _NUMBER.search(flat, position)) is not None:
        position = match.end()
        if len(match["digits"]) > _LONGEST:
            continue
        readings = _readings(match["digits"], language)
        power = float("1" + match["power"]) if match["power"] else 1.0
        # A minus between two numbers ("7-3") is a subtraction; only one at the start of a word is a sign.
        sign = -1.0 if match[0].lstrip().startswith("-") else 1.0
        over = _OVER.match(flat, position)
        if over is not None and float(over[1]) != 0:
            power /= float(over[1])
            position = over.end()
        ten = _TEN.match(flat, position)
        if ten is not None:
            power *= float(f"1e{ten[1]}")
            position = ten.end()
        found.append(tuple(sign * one * power for one in readings))
    return found


def _readings(digits: str, language: str) -> Readings:
    plain = digits.replace(" ", "").replace("'", "")
    grouped = plain != digits
    points, commas = plain.count("."), plain.count(",")
    if points and commas:
        # The one that stands last divides the decimals.
        decimal = "." if plain.rfind(".") > plain.rfind(",") else ","
        return _floats(plain, decimal, "," if decimal == "." else ".")
    mark = "." if points else "," if commas else ""
    if not mark:
        return (float(plain),)
    if plain.count(mark) > 1:
        return (float(plain.replace(mark, "")),) if _in_threes(plain, mark) else _first_part(plain, mark)
    as_decimal = float(plain.replace(mark, "."))
    if grouped or not _in_threes(plain, mark) or plain.startswith("0"):
        return (as_decimal,)
    as_thousands = float(plain.replace(mark, ""))
    if mark == ".":
        return as_decimal, as_thousands
    return (as_decimal, as_thousands) if language == "ru" else (as_thousands, as_decimal)


def _floats(plain: str, decimal: str, thousands: str) -> Readings:
    if plain.count(decimal) > 1:
        return _first_part(plain, decimal)
    return (float(plain.replace(thousands, "").replace(decimal, ".")),)


def _first_part(plain: str, mark: str) -> Readings:
    # "1,2,3" is a list and "1.2.3" a version: their first part is a number, the whole is none.
    return (float(re.split(r"[.,]", plain.strip(mark))[0]),)


def _in_threes(plain: str, mark: str) -> bool:
    places = [index for index, one in enumerate(plain) if one == mark] + [len(plain)]
    return 1 <= places[0] <= 3 and all(after - before == 4 for before, after in pairwise(places))
