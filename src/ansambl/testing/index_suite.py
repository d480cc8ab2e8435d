# ruff: noqa: S101 - a suite of pytest lives of assertions
"""The suite that every index must pass: subclass `IndexContract`, say how one is opened, and its tests come along.

A ranking is compared with what a reader of the contract expects: which passages may stand in it, and in which order
where the order is beyond dispute. Scores of words are each index's own.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansambl.domain.knowledge import NO_FILTERS, Filters, Kind
from ansambl.knowledge.index.contract import Entry, Index
from ansambl.knowledge.index.errors import EntryRefusedError
from ansambl.testing.index_life_suite import IndexLife
from ansambl.testing.index_model import NaiveIndex
from ansambl.testing.index_samples import LARGEST, SPACE, Open, entry, ids, vector

_TEXTS = st.sampled_from(["", "alpha", "бета", 'it\'s "quoted"'])
_OPTIONAL = st.none() | _TEXTS
_ENTRIES = st.builds(
    Entry,
    id=st.integers(0, 12) | st.just(LARGEST),
    document=st.integers(1, 3),
    collection=_TEXTS,
    kind=st.sampled_from(Kind),
    terms=st.dictionaries(st.sampled_from(["кот", "dog", "c++", "日本", "a b"]), st.integers(1, 40), max_size=3),
    vector=st.none() | st.integers(0, 20).map(vector),
    source=_TEXTS,
    author=_OPTIONAL,
    role=_OPTIONAL,
    language=st.sampled_from([None, "ru", "en"]),
    time=st.none() | st.sampled_from([-1.5, 0.0, 10.0, 1.7e9]),
    owner=_TEXTS,
)
_STEPS = st.lists(
    st.lists(_ENTRIES, max_size=5).map(lambda found: ("put", found))
    | st.lists(st.integers(0, 13), max_size=4).map(lambda found: ("remove", found))
    | st.just(("commit", [])),
    max_size=8,
)
_SETS = st.none() | st.lists(_TEXTS, max_size=2).map(tuple)
_FILTERS = st.builds(
    Filters,
    collections=_SETS,
    kinds=st.none() | st.lists(st.sampled_from(Kind), max_size=2).map(tuple),
    sources=_SETS,
    authors=_SETS,
    roles=_SETS,
    languages=st.none() | st.just(("ru",)),
    since=st.none() | st.sampled_from([-1.5, 0.0, 5.0]),
    until=st.none() | st.sampled_from([0.0, 10.0]),
    owners=_SETS,
    documents=st.none() | st.lists(st.integers(1, 4), max_size=2).map(tuple),
)


class IndexContract(IndexLife):
    """Subclass it and override `opener`; `examples` bounds the property test where an index is slow."""

    examples = 20

    # -- what is in it

    def test_it_begins_empty(self, index: Index) -> None:
        """And answers as one that holds nothing."""
        state = index.state()
        assert (state.entries, state.vectors, state.applied) == (0, 0, 0)
        assert index.by_vector(vector(1), NO_FILTERS, 10) == []
        assert index.by_terms({"word": 1.0}, NO_FILTERS, 10) == []

    def test_put_replace_and_remove(self, index: Index) -> None:
        """A passage is found by its words and its vector; a replaced one by the new ones alone; a removed one never."""
        index.put([entry(1), entry(2)])
        index.commit(5)
        state = index.state()
        assert (state.entries, state.vectors, state.applied) == (2, 2, 5)
        assert index.by_vector(vector(2), NO_FILTERS, 1)[0].id == 2
        assert index.by_vector(vector(2), NO_FILTERS, 1)[0].score == pytest.approx(1.0, abs=0.01)
        assert ids(index.by_terms({"own1": 1.0}, NO_FILTERS, 10)) == [1]

        index.put([entry(1, {"other": 1}, vector=vector(77))])
        index.commit(6)
        assert index.state().entries == 2
        assert index.by_terms({"own1": 1.0}, NO_FILTERS, 10) == []
        assert ids(index.by_terms({"other": 1.0}, NO_FILTERS, 10)) == [1]
        assert index.by_vector(vector(77), NO_FILTERS, 1)[0].id == 1

        index.remove([1, 4711, LARGEST])
        index.commit(7)
        assert index.by_terms({"other": 1.0}, NO_FILTERS, 10) == []
        assert ids(index.by_vector(vector(77), NO_FILTERS, 10)) == [2]
        state = index.state()
        assert (state.entries, state.vectors, state.applied) == (1, 1, 7)

    def test_the_last_of_equal_ids_counts(self, index: Index) -> None:
        """In one call, too."""
        index.put([entry(1, {"first": 1}), entry(1, {"second": 1}, vector=None)])
        index.commit(1)
        assert index.state().entries == 1
        assert index.by_terms({"first": 1.0}, NO_FILTERS, 10) == []
        assert ids(index.by_terms({"second": 1.0}, NO_FILTERS, 10)) == [1]
        assert index.by_vector(vector(1), NO_FILTERS, 10) == []

    def test_the_same_again_changes_nothing(self, index: Index) -> None:
        """As after a crash, when the store applies what was applied already."""
        index.put([entry(1), entry(2)])
        index.commit(1)
        before = ids(index.by_terms({"word": 1.0, "own2": 1.0}, NO_FILTERS, 10))
        index.put([entry(1), entry(2)])
        index.remove([3])
        index.commit(1)
        assert index.state().entries == 2
        assert ids(index.by_terms({"word": 1.0, "own2": 1.0}, NO_FILTERS, 10)) == before == [2, 1]

    def test_an_entry_without_a_vector(self, index: Index) -> None:
        """It is found by its words until its vector comes; taken away again, by its words alone."""
        index.put([entry(1, vector=None), entry(2)])
        index.commit(1)
        assert (index.state().entries, index.state().vectors) == (2, 1)
        assert ids(index.by_vector(vector(1), NO_FILTERS, 10)) == [2]
        assert ids(index.by_terms({"own1": 1.0}, NO_FILTERS, 10)) == [1]
        index.put([entry(1)])
        index.commit(2)
        assert index.by_vector(vector(1), NO_FILTERS, 10)[0].id == 1
        index.put([entry(1, vector=None)])
        index.commit(3)
        assert ids(index.by_vector(vector(1), NO_FILTERS, 10)) == [2]

    def test_an_entry_without_words(self, index: Index) -> None:
        """It is found by its vector."""
        index.put([entry(1, {})])
        index.commit(1)
        assert ids(index.by_vector(vector(1), NO_FILTERS, 10)) == [1]

    def test_ids_up_to_the_largest(self, index: Index) -> None:
        """Documents', too; beyond them they are refused."""
        index.put([entry(0), entry(LARGEST, document=LARGEST)])
        index.commit(1)
        assert ids(index.by_vector(vector(LARGEST), NO_FILTERS, 1)) == [LARGEST]
        assert ids(index.by_terms({"word": 1.0}, Filters(documents=(LARGEST,)), 5)) == [LARGEST]
        for wrong in (-1, LARGEST + 1, 2**64):
            with pytest.raises(EntryRefusedError):
                index.put([dataclasses.replace(entry(1), id=wrong)])
            index.remove([wrong])
        index.commit(2)
        assert index.state().entries == 2

    def test_nothing_to_do(self, index: Index) -> None:
        """Empty calls are fine."""
        index.put([])
        index.remove([])
        index.commit(3)
        assert index.state().applied == 3

    # -- rankings

    def test_limits(self, index: Index) -> None:
        """None, all, and more than there are."""
        index.put([entry(number) for number in range(20)])
        index.commit(1)
        for limit in (0, -1):
            assert index.by_vector(vector(1), NO_FILTERS, limit) == []
            assert index.by_terms({"word": 1.0}, NO_FILTERS, limit) == []
        for limit, many in ((1, 1), (20, 20), (10**9, 20)):
            assert len(ids(index.by_vector(vector(1), NO_FILTERS, limit))) == many
            assert len(ids(index.by_terms({"word": 1.0}, NO_FILTERS, limit))) == many

    def test_vectors_are_ranked_by_their_cosine(self, index: Index) -> None:
        """In the very order, with the very values, for few passages."""
        index.put([entry(number) for number in range(60)])
        index.commit(1)
        wanted = vector(1000)
        cosines = {number: float(vector(number) @ wanted) for number in range(60)}
        ranking = index.by_vector(wanted, NO_FILTERS, 10)
        assert ids(ranking) == sorted(cosines, key=lambda one: -cosines[one])[:10]
        for one in ranking:
            assert one.score == pytest.approx(cosines[one.id], abs=0.01)
        assert ids(index.by_vector(np.asarray(wanted * 7, np.float32), NO_FILTERS, 10)) == ids(ranking)

    def test_words_are_ranked_by_what_they_tell(self, index: Index) -> None:
        """Rare before frequent, often before once, short before long, more of the query before less."""
        filler = {f"filler{number}": 1 for number in range(20)}
        index.put([
            *(entry(100 + number, {"common": 1, **filler}, vector=None) for number in range(30)),
            entry(1, {"rare": 1, **filler}), entry(2, {"often": 6, **filler}), entry(3, {"often": 1, **filler}),
            entry(4, {"sized": 1, **filler}), entry(5, {"sized": 1, **filler, **{f"more{n}": 3 for n in range(60)}}),
            entry(6, {"left": 1, "right": 1, **filler}), entry(7, {"left": 1, **filler}),
            entry(8, {"right": 1, **filler}),
        ])  # fmt: skip
        index.commit(1)
        assert index.by_terms({"common": 1.0, "rare": 1.0}, NO_FILTERS, 5)[0].id == 1
        assert ids(index.by_terms({"often": 1.0}, NO_FILTERS, 5)) == [2, 3]
        assert ids(index.by_terms({"sized": 1.0}, NO_FILTERS, 5)) == [4, 5]
        assert index.by_terms({"left": 1.0, "right": 1.0}, NO_FILTERS, 5)[0].id == 6
        assert ids(index.by_terms({"left": 1.0, "right": 0.4}, NO_FILTERS, 5)) == [6, 7, 8]
        assert ids(index.by_terms({"left": 0.4, "right": 1.0}, NO_FILTERS, 5)) == [6, 8, 7]

    def test_queries_of_nothing(self, index: Index) -> None:
        """No words, unknown words and words without weight find nothing."""
        index.put([entry(1)])
        index.commit(1)
        for terms in ({}, {"unknown": 1.0}, {"word": 0.0}, {"word": -1.0}, {"": 1.0}, {"word": float("nan")}):
            assert index.by_terms(terms, NO_FILTERS, 10) == []

    def test_terms_of_any_script(self, index: Index) -> None:
        """A term is found whole and only as it is: nothing of it is folded, divided or taken for an operator."""
        odd = [
            "слово", "ёж", "еж", "日本語", "עברית", "عربي", "हिन्दी", "😀", "c++", "c#", "a b", 'say "x"', "it's", "OR",
            "NEAR(a b)", "*", "a:b", "\\", "%", "null", "straße", "STRASSE", "e\u0301", "é", "x" * 500, "-1", "'; --",
        ]  # fmt: skip
        index.put([entry(number, {term: 1}, vector=None) for number, term in enumerate(odd)])
        index.commit(1)
        for number, term in enumerate(odd):
            assert ids(index.by_terms({term: 1.0}, NO_FILTERS, 10)) == [number], term

    def test_very_long_passages(self, index: Index) -> None:
        """A term of 500,000 characters, and 50,000 different terms."""
        index.put([entry(1, {"x" * 500_000: 1}), entry(2, {f"term{number}": 1 for number in range(50_000)})])
        index.commit(1)
        assert ids(index.by_terms({"x" * 500_000: 1.0}, NO_FILTERS, 10)) == [1]
        assert ids(index.by_terms({"term49999": 1.0}, NO_FILTERS, 10)) == [2]

    def test_counts_of_any_size(self, index: Index) -> None:
        """A word that stands a million times in a passage."""
        index.put([entry(1, {"much": 1_000_000}), entry(2, {"much": 1})])
        index.commit(1)
        assert set(ids(index.by_terms({"much": 1.0}, NO_FILTERS, 10))) == {1, 2}

    # -- what is refused

    def test_bad_vectors_are_refused(self, index: Index) -> None:
        """In words, before anything is taken in; queries, too."""
        index.put([entry(1)])
        index.commit(1)
        not_numbers = [np.full(SPACE.dimension, bad, np.float32) for bad in (np.nan, np.inf, -np.inf)]
        for wrong in (*not_numbers, vector(1, SPACE.dimension + 1), vector(1, 1), np.zeros((0,), np.float32)):
            with pytest.raises(EntryRefusedError) as refusal:
                index.put([entry(2), entry(3, vector=wrong)])
            assert SPACE.model in str(refusal.value)
            assert "\n" not in str(refusal.value)
            with pytest.raises(EntryRefusedError):
                index.by_vector(wrong, NO_FILTERS, 10)
        index.commit(2)
        assert ids(index.by_vector(vector(2), NO_FILTERS, 10)) == [1]

    def test_a_vector_of_zeros_is_near_nothing(self, index: Index) -> None:
        """A model gives it for an empty text; it must not spoil the rest."""
        zeros = np.zeros(SPACE.dimension, np.float32)
        index.put([entry(1), entry(2, vector=zeros)])
        index.commit(1)
        assert index.by_vector(vector(1), NO_FILTERS, 10)[0].id == 1
        assert all(one.score == pytest.approx(0, abs=0.01) for one in index.by_vector(zeros, NO_FILTERS, 10))

    def test_an_index_of_words_alone(self, opener: Open) -> None:
        """Without a space it takes no vectors, and says so."""
        index = opener(None)
        try:
            index.put([entry(1, vector=None)])
            index.commit(1)
            assert ids(index.by_terms({"word": 1.0}, NO_FILTERS, 10)) == [1]
            with pytest.raises(EntryRefusedError):
                index.put([entry(2)])
        finally:
            index.close()

    # -- filters

    def test_each_filter(self, index: Index) -> None:
        """By itself and with another: both rankings hold exactly what may be found."""
        index.put([
            entry(1, collection="a", source="chatgpt", author="Анна", role="user", language="ru", time=10.0,
                  owner="k1"),
            entry(2, collection="a", source="chatgpt", author="GPT", role="assistant", language="en", time=20.0),
            entry(3, collection="b", kind=Kind.PAGE, language="ru", time=20.5, owner="k2"),
            entry(4, collection="b", kind=Kind.CONVERSATION, document=9),
        ])  # fmt: skip
        index.commit(1)
        cases: list[tuple[Filters, set[int]]] = [
            (Filters(), {1, 2, 3, 4}), (Filters(collections=("a",)), {1, 2}),
            (Filters(collections=("a", "b")), {1, 2, 3, 4}),
            (Filters(collections=("A",)), set()), (Filters(collections=()), set()), (Filters(kinds=(Kind.PAGE,)), {3}),
            (Filters(kinds=(Kind.PAGE, Kind.CONVERSATION)), {3, 4}), (Filters(sources=("chatgpt",)), {1, 2}),
            (Filters(authors=("Анна",)), {1}), (Filters(roles=("assistant", "tool")), {2}),
            (Filters(languages=("ru",)), {1, 3}), (Filters(owners=("",)), {2, 4}),
            (Filters(owners=("", "k1")), {1, 2, 4}),
            (Filters(owners=()), set()), (Filters(documents=(9,)), {4}), (Filters(documents=(0, 9)), {1, 2, 3, 4}),
            (Filters(since=20.0), {2, 3}), (Filters(until=20.0), {1}), (Filters(since=10.0, until=20.5), {1, 2}),
            (Filters(since=20.5, until=20.5), set()), (Filters(collections=("a",), languages=("ru",)), {1}),
            (Filters(collections=("a",), owners=("",), since=0.0, documents=(0,), kinds=(Kind.FILE,)), {2}),
            (Filters(sources=("",)), {3, 4}), (Filters(documents=tuple(range(5000))), {1, 2, 3, 4}),
        ]  # fmt: skip
        for filters, expected in cases:
            assert set(ids(index.by_vector(vector(1), filters, 10))) == expected, filters
            assert set(ids(index.by_terms({"word": 1.0}, filters, 10))) == expected, filters

    def test_filters_come_before_the_limit(self, index: Index) -> None:
        """The one passage that may be found is found though hundreds of others are nearer."""
        wanted = vector(5)
        near = [entry(number, {"word": 3}, vector=wanted) for number in range(1, 400)]
        far = entry(1000, {"word": 1, **{f"x{n}": 1 for n in range(30)}}, vector=-wanted, owner="key")
        index.put([*near, far])
        index.commit(1)
        assert ids(index.by_vector(wanted, Filters(owners=("key",)), 5)) == [1000]
        assert ids(index.by_terms({"word": 1.0}, Filters(owners=("key",)), 5)) == [1000]

    # -- against the model

    def test_it_is_like_the_model(self, index: Index) -> None:
        """Any steps, then any filters: the same passages as a naive list gives, vectors in the same order."""

        @settings(max_examples=self.examples, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(_STEPS, st.lists(_FILTERS, min_size=1, max_size=3))
        def check(steps: list[tuple[str, list[Any]]], wanted: list[Filters]) -> None:
            # Not `clear`, which takes some indexes a second: the suite would be run less.
            index.remove([*range(14), LARGEST])
            model = NaiveIndex()
            for number, (step, values) in enumerate(steps, 1):
                for one in (index, model):
                    one.commit(number) if step == "commit" else getattr(one, step)(values)
            for one in (index, model):
                one.commit(99)
            state, expected = index.state(), model.state()
            assert (state.entries, state.vectors, state.applied) == (expected.entries, expected.vectors, 99)
            for filters in (NO_FILTERS, *wanted):
                found = {one.id: one.score for one in index.by_vector(vector(3), filters, 50)}
                assert found == pytest.approx(
                    {one.id: one.score for one in model.by_vector(vector(3), filters, 50)}, abs=0.01
                )
                for terms in ({"кот": 1.0}, {"dog": 1.0, "c++": 0.5, "a b": 2.0}):
                    found_ids = ids(index.by_terms(terms, filters, 50))
                    assert set(found_ids) == {one.id for one in model.by_terms(terms, filters, 50)}

        check()
