"""Fingerprints: near-duplicates are alike, different passages are not."""

from __future__ import annotations

import random
from itertools import combinations, pairwise

from ansambl.knowledge.analysis.likeness import alike, distance, fingerprint
from ansambl.knowledge.analysis.terms import terms_of

_DRAWN = random.Random(8)  # noqa: S311 - no secret, the same passages every time
_VOCABULARY = ["".join(_DRAWN.choices("abcdefghijklmnopqrstuvwxyz", k=9)) for _ in range(3000)]
PASSAGES = [" ".join(_DRAWN.choices(_VOCABULARY, k=120)) for _ in range(120)]


def _of(text: str) -> int:
    return fingerprint(terms_of(text))


def test_equal_words_in_other_spacing_and_case_are_the_same():
    assert _of("Одна  строка,\nдругая строка") == _of("одна строка другая СТРОКА")


def test_one_word_changed_is_alike():
    changed = [text.replace(text.split()[7], "иначе", 1) for text in PASSAGES]
    assert sum(alike(_of(a), _of(b)) for a, b in zip(PASSAGES, changed, strict=True)) >= 0.95 * len(PASSAGES)


def test_a_date_added_is_alike():
    dated = [f"12.05.2024 {text}" for text in PASSAGES]
    assert sum(alike(_of(a), _of(b)) for a, b in zip(PASSAGES, dated, strict=True)) >= 0.95 * len(PASSAGES)


def test_different_passages_are_not_alike():
    prints = [_of(text) for text in PASSAGES]
    assert not any(alike(a, b) for a, b in combinations(prints, 2))


def test_half_of_the_words_changed_is_mostly_not_alike():
    halves = [" ".join(a.split()[:60] + b.split()[60:]) for a, b in pairwise(PASSAGES)]
    assert sum(alike(_of(a), _of(b)) for a, b in zip(PASSAGES, halves, strict=False)) <= 0.1 * len(halves)


def test_it_fits_a_signed_column_and_no_terms_are_like_nothing():
    prints = [_of(text) for text in PASSAGES]
    assert min(prints) >= -(2**63)
    assert max(prints) < 2**63
    assert min(prints) < 0 < max(prints)
    assert fingerprint({}) == 0
    assert not alike(0, 0)


def test_distance_counts_the_bits_that_differ():
    assert distance(-1, 0) == 64
    assert distance(0b1011, 0b0010) == 2
