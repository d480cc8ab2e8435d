"""Text to counted terms, the same way for documents and for questions: what every index stores and is asked for."""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import lru_cache

from ansambl.domain.languages import language_of_text
from ansambl.knowledge.analysis import stems, words
from ansambl.knowledge.analysis.stop_words import STOP_WORDS

REMEMBERED = 100_000
"""Word forms whose terms are kept in memory (about 30 MB when full): a lemma costs 0.3 ms, remembered 0.2 µs."""

_STOP = 0.1
_EXACT = 1.5
_SECOND = 0.5
_LONGEST_QUERY = 4_000
_SERBIAN_AND_UKRAINIAN = frozenset("іїєґўћђјљњџќѓѕ")

version = stems.version


def terms_of(text: str, language: str | None = None) -> dict[str, int]:
    """The normalised words of `text` with how often they stand in it.

    `language` is that of the text (ISO 639-1), where it is known: it chooses the stemmer of Latin letters. Identifiers,
    versions and error codes are terms as a whole and in their parts; Chinese, Japanese, Korean and Thai letters are
    terms in pairs. Nothing is left out: words that stand everywhere weigh next to nothing in BM25.
    """
    counted: dict[str, int] = {}
    for token, times in Counter(words.tokens(words.normalised(text))).items():
        for term in _terms(token, language):
            counted[term] = counted.get(term, 0) + times
    return counted


def query_terms(text: str) -> dict[str, float]:
    """The terms of a question with their weights: 1 for a word, less for one that says little, more for exact things.

    The frequent words of Russian and English weigh 0.1, the less likely reading of a word and the parts of a compound
    half, and numbers, identifiers and versions as a whole 1.5. Where a question has stop words only, they weigh 1.
    """
    text = text[:_LONGEST_QUERY]
    language = language_of_text(text)
    weights: dict[str, float] = {}
    for token in words.tokens(words.normalised(text)):
        spaceless = bool(words.without_spaces(token))
        exact = not (spaceless or token.isalpha() or words.is_joined(token))
        first = _STOP if token.casefold() in STOP_WORDS else _EXACT if exact else 1.0
        for place, term in enumerate(_terms(token, language)):
            weight = first if place == 0 or spaceless else min(first, _SECOND)
            weights[term] = max(weights.get(term, 0.0), weight)
    if weights and max(weights.values()) <= _STOP:
        return dict.fromkeys(weights, 1.0)
    return weights


def names_exactly(text: str) -> bool:
    """Whether a question names something exact: an identifier, a version, an error code, an address."""
    # Most questions have no sign of one: then they are not cut into words once more.
    text = words.normalised(text[:_LONGEST_QUERY])
    return words.may_identify(text) and any(words.is_identifier(token) for token in words.tokens(text))


def in_latin_letters(text: str) -> bool:
    """Whether a question has Latin letters, and no others."""
    letters = {one for one in set(words.normalised(text[:_LONGEST_QUERY])) if one.isalpha()}
    return bool(letters) and all("LATIN" in unicodedata.name(one, "") for one in letters)


@lru_cache(maxsize=REMEMBERED)
def _terms(token: str, language: str | None) -> tuple[str, ...]:
    """The terms of one token, the most telling first, each once."""
    if len(token) > words.LONGEST:
        return (token[: words.LONGEST].casefold(),)
    runs = words.without_spaces(token)
    if runs:
        rest = token
        for run in runs:
            rest = rest.replace(run, " ", 1)
        found = [pair for run in runs for pair in words.pairs(run)]
        for other in words.tokens(rest):
            found.extend(_terms(other, language))
        return tuple(dict.fromkeys(found))
    if token.isalpha():
        token = words.one_script(token)
        found = list(_word(token, language))
        for part in words.parts(token):
            found.extend(_word(part, language))
    elif words.is_joined(token):
        inner = [_word(words.one_script(part), language) for part in words.joined(token)]
        whole = ["-".join(forms[0] for forms in inner)] if len(inner) > 1 else []
        found = whole + [form for forms in inner for form in forms]
    else:
        found = [token.casefold()]
        for part in words.parts(token):
            found.extend(_word(words.one_script(part), language))
    return tuple(term for term in dict.fromkeys(found) if term)


def _word(word: str, language: str | None) -> tuple[str, ...]:
    word = word.casefold()
    if word.isascii():
        return stems.latin(word, language) if word.isalpha() else (word,)
    if words.is_cyrillic(word):
        if _SERBIAN_AND_UKRAINIAN.isdisjoint(word):
            return stems.russian(word)
        return (stems.cyrillic(word),)
    return stems.latin(word, language)
