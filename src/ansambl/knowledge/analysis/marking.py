"""Where a text holds the words of a question, in whatever form they stand there. Pure."""

from __future__ import annotations

import re

from ansambl.knowledge.analysis.terms import query_terms, terms_of

_WORD = re.compile(r"[\w\u0300-\u036f]+(?:[.\-'’][\w\u0300-\u036f]+)*")
_LEAST = 0.5
"""Weight of a question's term from which on it is marked: frequent words stand everywhere."""
_MOST = 200


def telling_terms(query: str) -> frozenset[str]:
    """The terms of a question that say what it is about."""
    return frozenset(term for term, weight in query_terms(query).items() if weight >= _LEAST)


def spans_of(text: str, terms: frozenset[str], language: str | None = None) -> list[tuple[int, int]]:
    """The beginnings and ends of the words of `text` that share a term with `terms`, in order; 200 of them at most.

    `language` is that of the text (ISO 639-1), where it is known.
    """
    found: list[tuple[int, int]] = []
    known: dict[str, bool] = {}
    for match in _WORD.finditer(text):
        word = match[0]
        fits = known.get(word)
        if fits is None:
            fits = known[word] = not terms.isdisjoint(terms_of(word, language))
        if fits:
            found.append(match.span())
            if len(found) == _MOST:
                break
    return found
