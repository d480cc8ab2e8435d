"""Cutting text into words: plain words, and compounds (identifiers, versions, error codes) with their parts."""

from __future__ import annotations

import re
import unicodedata

_ENGLISH_ENDING = 2
_SHORTEST_IDENTIFIER = 4
LONGEST = 64
"""Characters of a term. What is longer (base64, minified code) is known by its beginning."""

# Vowel signs of Indic and South-East Asian scripts are no letters to Python's \w, but words without them fall apart.
_MARKS = "\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0dff\u0e31-\u0e4e\u0eb1-\u0ecd\u102b-\u103e"
_LETTER = rf"[\w{_MARKS}]"
_TOKEN = re.compile(rf"{_LETTER}+(?:(?:[.\-/@']|::|->){_LETTER}+)*(?:\+\+|#(?!\w))?")
# Case changes inside a name, digits and letters apart: `parseHTTPRequest2` is parse, HTTP, Request, 2.
_ASCII_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_OTHER_PART = re.compile(rf"\d+|[A-Za-z]+|(?:[^\W\d_A-Za-z]|[{_MARKS}])+")
_NO_SPACES = re.compile(
    "[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]+"
)
_INVISIBLE: dict[int, str | None] = dict.fromkeys((0x00AD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF, 0x0300, 0x0301))
_SIGNS = str.maketrans({"№": " ", "™": " ", "’": "'", "ʼ": "'", "‐": "-", "‑": "-", "ё": "е", "Ё": "Е"})
_JOINED = re.compile(rf"{_LETTER}+(?:[-']{_LETTER}+)+$")
_MEASURE = re.compile(r"\d{1,4}|(?!0x)\d+(?:\.\d+)?-?[^\W\d_]+")
_EXACT_SIGN = re.compile(r"[\d_@]|::|->")
_CYRILLIC = re.compile("[\u0400-\u052f]")
_LATIN = re.compile("[A-Za-z]")
_TO_CYRILLIC = str.maketrans("ABCEHKMOPTXaceopxyk", "АВСЕНКМОРТХасеорхук")
_TO_LATIN = str.maketrans("АВСЕНКМОРТХасеорхук", "ABCEHKMOPTXaceopxyk")
_LIKE_CYRILLIC = frozenset("ABCEHKMOPTXaceopxyk")
_LIKE_LATIN = frozenset("АВСЕНКМОРТХасеорхук")


def normalised(text: str) -> str:
    """`text` in NFKC, with ``е`` for ``ё``, without soft hyphens, characters of no width, and stress marks (``за́мок``).

    Case is kept: it tells the parts of a name.
    """
    if text.isascii():
        return text
    # Before: NFKC makes "No" of the sign of a number, which would hang on the word before it.
    return unicodedata.normalize("NFKC", text.translate(_SIGNS)).translate(_INVISIBLE)


def tokens(text: str) -> list[str]:
    """The words and compounds of a normalised text, in order and with repetitions."""
    return _TOKEN.findall(text)


def parts(token: str) -> list[str]:
    """The words that a compound is made of, by signs, by case and by digits; none where it is one plain word."""
    if token.isalpha() and (token.islower() or token.isupper() or token[1:].islower()) and not is_mixed(token):
        return []
    found = (_ASCII_PART if token.isascii() else _OTHER_PART).findall(token)
    return found if len(found) > 1 or (found and found[0] != token) else []


def is_joined(token: str) -> bool:
    """Whether a compound is words of letters joined by hyphens or apostrophes, as in ordinary prose."""
    return _JOINED.match(token) is not None and not any(one.isdigit() or one == "_" for one in token)


def is_identifier(token: str) -> bool:
    """Whether a token is a code, an identifier, a version or an address: exact, and unknown to whoever knows words.

    Short numbers and years (``10``, ``3.5``, ``2024``), measures (``16GB``, ``10th``) and words without a space between
    them (``import/export``, ``done.Then``) are none.
    """
    if len(token) < _SHORTEST_IDENTIFIER or not _EXACT_SIGN.search(token):
        return False
    return not without_spaces(token) and _MEASURE.fullmatch(token) is None


def may_identify(text: str) -> bool:
    """Whether any token of a text can be an identifier."""
    return _EXACT_SIGN.search(text) is not None


def joined(token: str) -> list[str]:
    """The words of such a compound: ``онлайн-курс``, ``l'homme``; English endings behind an apostrophe are left out.

    In Cyrillic an apostrophe is a letter more or less (Ukrainian ``п'ять``).
    """
    found: list[str] = []
    for word in token.split("-"):
        before, _, after = word.partition("'")
        if not after:
            found.append(word)
        elif is_cyrillic(word):
            found.append(word.replace("'", ""))
        elif len(after) <= _ENGLISH_ENDING:
            found.append(before)
        else:
            found.extend(one for one in word.split("'") if one)
    return found


def without_spaces(token: str) -> list[str]:
    """The runs of letters of scripts that put no space between words (and Korean, whose particles hang on)."""
    return [] if token.isascii() else _NO_SPACES.findall(token)


def pairs(run: str) -> list[str]:
    """The pairs of neighbouring letters of a run; the run itself where it is one letter."""
    return [run[at : at + 2] for at in range(len(run) - 1)] or [run]


def one_script(word: str) -> str:
    """`word` with letters of the wrong alphabet that look the same put right: a Latin ``c`` in ``cтол`` is Cyrillic.

    A word that really mixes both (``git-ом``, ``PDFка``) stays as it is.
    """
    if not is_mixed(word):
        return word
    latin, cyrillic = _LATIN.findall(word), _CYRILLIC.findall(word)
    if len(latin) * 2 <= len(cyrillic) and _LIKE_CYRILLIC.issuperset(latin):
        return word.translate(_TO_CYRILLIC)
    if len(cyrillic) * 2 <= len(latin) and _LIKE_LATIN.issuperset(cyrillic):
        return word.translate(_TO_LATIN)
    return word


def is_mixed(word: str) -> bool:
    """Whether a word has Latin and Cyrillic letters."""
    return not word.isascii() and _LATIN.search(word) is not None and _CYRILLIC.search(word) is not None


def is_cyrillic(word: str) -> bool:
    """Whether a word holds a Cyrillic letter."""
    return _CYRILLIC.search(word) is not None
