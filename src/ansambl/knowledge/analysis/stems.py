"""Words to their normal forms: Russian lemmas by pymorphy3, stems by Snowball, a light stripping of ours below both.

What is heavy is imported at the first word that needs it: the dictionaries take 0.15 s and 25 MB.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from logging import WARNING, getLogger
from typing import Any

Stem = Callable[[str], str]

_SNOWBALL = {
    "da": "danish", "de": "german", "es": "spanish", "fi": "finnish", "fr": "french", "hu": "hungarian",
    "id": "indonesian", "it": "italian", "nl": "dutch", "no": "norwegian", "pl": "polish", "pt": "portuguese",
    "ro": "romanian", "sv": "swedish", "tr": "turkish", "cs": "czech",
}  # fmt: skip
_CLOSE = 0.01
"""A second reading of a Russian word counts from this score on: ``стали`` is 0.975 a verb and 0.011 steel."""

_RUSSIAN = (
    "иями ями ами ией иям ием иях ах ях ев ов ей ий ый ой ем им ым ом ам ям ого его ому ему ими ыми ую юю ая яя ое ее "
    "ые ие аются яются ается яется ется ются ится ятся ают яют ает яет ешь ете ишь ите ет ют ут ит ят ать ять ить ала "
    "яла ила али яли или ало яло ило ал ял ил ться лся лась лись а я о е и ы у ю ь й"
)
_OTHER = (
    "ами ями ові еві ого ому ими іми ів їв ий ій їй ах ях ам ям ою ею єю ом ем єм ая яя а я о е є и і ї у ю ь й "
    "ата ите ето ът та то те"
)
_ENDINGS_RU, _ENDINGS_OTHER = (sorted(some.split(), key=lambda one: (-len(one), one)) for some in (_RUSSIAN, _OTHER))
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
    # It tells of its dictionaries at each start.
    getLogger("pymorphy3").setLevel(WARNING)
    return import_module("pymorphy3").MorphAnalyzer(lang="ru")


@cache
def _stemmer(language: str) -> Stem:
    if find_spec("Stemmer") is not None:
        # Its own cache is not for several threads at once; ours is before it.
        stem: Stem = import_module("Stemmer").Stemmer(language, 0).stemWord
        return stem
    if language == "english":
        return _english
    endings = _ENDINGS_RU if language == "russian" else ()
    return lambda word: _stripped(word, endings)


def _english(word: str) -> str:
    """Plurals, ``-ing``, ``-ed``, ``-ly`` and a final ``e`` off: the steps of Porter's stemmer that matter most."""
    if word.endswith(("ies", "sses", "xes", "ches", "shes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed", "ly"):
        rest = word.removesuffix(ending)
        if rest != word and len(rest) >= _LEFT and any(one in "aeiouy" for one in rest):
            word = rest[:-1] if rest[-1] == rest[-2] and rest[-1] not in "lsz" else rest
            break
    if len(word) > _LEFT and word[-1] in "ey":
        return word[:-1] + ("i" if word[-1] == "y" else "")
    return word


def _stripped(word: str, endings: tuple[str, ...] | list[str]) -> str:
    for ending in endings:
        if word.endswith(ending) and len(word) - len(ending) >= _LEFT:
            return word[: -len(ending)]
    return word
