"""Words to their normal forms: Russian lemmas by pymorphy3, stems by Snowball, a light stripping of ours below both.

What is heavy is imported at the first word that needs it: the dictionaries take 0.15 s and 25 MB.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from typing import Any

Stem = Callable[[str], str]

_SNOWBALL = {
    "da": "danish", "de": "german", "es": "spanish", "fi": "finnish", "fr": "french", "hu": "hungarian",
    "id": "indonesian", "it": "italian", "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "sv": "swedish", "tr": "turkish", "cs": "czech",
}  # fmt: skip
_CLOSE = 0.01
"""A second reading of a Russian word counts from this score on: ``стали`` is 0.975 a verb and 0.011 steel."""

_ENDINGS_RU = sorted(
    "иями ями ами ией иям ием иях ах ях ев ов ей ий ый ой ем им ым ом ам ям ого его ому ему ими ыми ую юю ая яя ое ее "
    "ые ие ется ются ится ятся ешь ете ишь ите ет ют ут ит ят ла ло ли ть ться лся лась лись ал ял ил ел а я о е и "
    "ы у ю ь й".split(),
    key=lambda one: (-len(one), one),
)
_ENDINGS_OTHER = sorted(
    "ами ями ові еві ого ому ими іми ів їв ий ій їй ах ях ам ям ою ею єю ом ем єм ая яя а я о е є и і ї у ю ь й "
    "ата ите ето ът та то те".split(),
    key=lambda one: (-len(one), one),
)
_ENDINGS_EN = ("ingly", "edly", "ing", "ies", "ed", "es", "ly", "s")
_LEFT = 3
"""Letters that remain of a word at least when an ending is taken off."""


def version() -> str:
    """How terms are made here. An index of another version has other terms and must be built again."""
    parts = [name for name in ("pymorphy3", "Stemmer") if find_spec(name) is not None]
    way = {2: "pymorphy3+snowball", 0: "plain"}.get(len(parts), "pymorphy3" if "pymorphy3" in parts else "snowball")
    return f"{way}/1"


def russian(word: str) -> tuple[str, ...]:
    """The normal forms of a Russian word in small letters, the likelier first, two at most; ``ё`` is ``е`` in them."""
    analyser = _analyser()
    if analyser is not None:
        forms: list[str] = []
        for reading in analyser.parse(word):
            form = reading.normal_form.replace("ё", "е")
            if reading.is_known and form not in forms and (not forms or reading.score >= _CLOSE):
                forms.append(form)
        if forms:
            return tuple(forms[:2])
    return (_stemmer("russian")(word.replace("ё", "е")),)


def cyrillic(word: str) -> str:
    """A word of another language in Cyrillic letters, without its case ending: there is no dictionary here for it."""
    return _stripped(word, _ENDINGS_OTHER)


def latin(word: str, language: str | None) -> tuple[str, ...]:
    """The stems of a word in small Latin letters, by its language and by English, without accents.

    Both, because a question is often too short to tell its language: then English is what it is stemmed by.
    """
    english = without_accents(_stemmer("english")(word))
    name = _SNOWBALL.get(language or "")
    if name is None:
        return (english,)
    own = without_accents(_stemmer(name)(word))
    return (own,) if own == english else (own, english)


def without_accents(word: str) -> str:
    """`word` without diacritics: ``café`` is ``cafe``."""
    if word.isascii():
        return word
    return "".join(one for one in unicodedata.normalize("NFD", word) if not unicodedata.combining(one))


@cache
def _analyser() -> Any:
    if find_spec("pymorphy3") is None:
        return None
    import pymorphy3

    return pymorphy3.MorphAnalyzer(lang="ru")


@cache
def _stemmer(language: str) -> Stem:
    if find_spec("Stemmer") is not None:
        import Stemmer

        # Its own cache is not for several threads at once; ours is before it.
        return Stemmer.Stemmer(language, 0).stemWord
    endings = _ENDINGS_RU if language == "russian" else _ENDINGS_EN if language == "english" else ()
    return lambda word: _stripped(word, endings)


def _stripped(word: str, endings: tuple[str, ...] | list[str]) -> str:
    for ending in endings:
        if word.endswith(ending) and len(word) - len(ending) >= _LEFT:
            return word[: -len(ending)]
    return word
