"""What is folded, which words of a question count, and what a reranker changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.knowledge import EVERYBODY, Document, Filters, Hit, Kind, Passage
from ansambl.domain.text import text
from ansambl.knowledge import search
from ansambl.knowledge.index.contract import Ranked
from ansambl.knowledge.index.fusion import fused
from ansambl.knowledge.search import Search


def row(document: int, start: int, stop: int, fingerprint: int) -> Any:
    return {"document": document, "start": start, "stop": stop, "fingerprint": fingerprint}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (row(1, 0, 1000, 0b1111), row(2, 0, 1000, 0b1011), True),
        (row(1, 0, 1000, 2**40 - 1), row(2, 0, 1000, 2**20 - 1), False),
        (row(1, 0, 100, 0b1111), row(2, 0, 100, 0b1011), False),
        (row(1, 0, 100, 0b1111), row(2, 0, 100, 0b1111), True),
        (row(1, 0, 100, 0), row(2, 0, 100, 0), False),
        (row(1, 0, 1000, -1), row(1, 400, 1400, 77), True),
        (row(1, 0, 1000, -1), row(1, 900, 1900, 77), False),
    ],
    ids=["near", "far", "short and near", "short and equal", "no words", "half overlapping", "neighbours"],
)
def test_what_says_the_same_is_folded(one: Any, other: Any, same: bool) -> None:
    assert search._says_the_same(one, other) is same
    assert search._says_the_same(other, one) is same


def test_frequent_words_count_only_where_there_are_no_others() -> None:
    assert search.most_telling({"the": 0.1, "cat": 1.0, "kat": 0.5}) == {"cat": 1.0, "kat": 0.5}
    assert search.most_telling({"the": 1.0, "of": 1.0}) == {"the": 1.0, "of": 1.0}
    assert search.most_telling({}) == {}
    long = {f"word{number}": 1.0 + number / 1000 for number in range(500)}
    assert set(search.most_telling(long)) == {f"word{number}" for number in range(436, 500)}


def test_filters_that_hold_for_everything_are_left_out() -> None:
    counts = search._Counts((), {"a": (1, 1), "b": (2, 0)}, owned=False)
    kept = Filters(collections=("a", "b"), owners=(EVERYBODY,), kinds=(Kind.FILE,))
    assert search._telling(kept, counts) == Filters(kinds=(Kind.FILE,))
    some = Filters(collections=("a",), owners=("key",))
    assert search._telling(some, counts) == some
    owned = search._Counts((), {"a": (1, 1)}, owned=True)
    assert search._telling(Filters(owners=(EVERYBODY,)), owned) == Filters(owners=(EVERYBODY,))


def test_few_vectors_do_not_outweigh_the_words_of_all() -> None:
    near, right = [Ranked(number, 0.8) for number in range(1, 11)], [Ranked(99, 7.0)]
    few = search.Weights().where(search.embedded_share([(1_000, 10), (4_000, 40)]))
    assert fused([("vector", few.vector, near), ("text", few.text, right)], 10)[0].id == 99
    every = search.Weights().where(search.embedded_share([(10, 10)]))
    assert every == search.Weights()
    assert search.embedded_share([]) == 1.0
    assert search.Weights().where(0.5).vector == pytest.approx(search.Weights().vector / 2)


def test_words_lead_where_the_question_names_something_exact() -> None:
    near, worded = [Ranked(number, 0.8) for number in range(1, 11)], [Ranked(99, 7.0), Ranked(2, 1.0)]

    def first(question: str) -> int:
        weights = search.Weights()
        rankings = [("vector", weights.vector, near), ("text", weights.of_words(question), worded)]
        return fused(rankings, 10, parts={"text": search.parts_by_words(question, worded, {})})[0].id

    assert first("what does ERR-48213 mean") == 99
    assert first("what does the message mean") == 2
    assert search.Weights(text=3.0).of_words("ERR-48213") == 3.0
    assert search.parts_by_words("ERR-48213", worded, {2: "ru"}) == pytest.approx({99: 1.0, 2: 1 / 7})
    assert search.parts_by_words("ERR-48213", [Ranked(1, 0.0)], {}) == search.parts_by_words("ERR-48213", [], {}) == {}


def test_words_count_less_in_passages_of_other_letters_than_the_question() -> None:
    languages = {1: "en", 2: "ru", 3: None, 4: "de", 7: "ru"}
    worded = [Ranked(number, 1.0) for number in range(1, 6)]
    parts = search.parts_by_words("the text of a cell", worded, languages)
    assert list(parts) == [2]
    assert 0 < parts[2] < 1
    # Its Latin words are names that it really asks for; and what is exact is the same in every language.
    assert search.parts_by_words("как настроить Docker", worded, languages) == {}
    assert search.parts_by_words("what does ERR-48213 mean", worded, languages)[2] == 1.0


def hits() -> list[Hit]:
    document = Document(1, "a", Kind.FILE, "/x", "x")
    return [
        Hit(number, 1.0 - number / 10, Passage(number, 0, 1, f"text {number}"), document, ("text",))
        for number in range(3)
    ]


class Scores:
    def __init__(self, found: list[float] | AnsamblError) -> None:
        self.found = found

    def scores(self, question: str, texts: Sequence[str]) -> list[float]:
        assert question == "q"
        assert [one[-1] for one in texts] == ["0", "1", "2"]
        if isinstance(self.found, AnsamblError):
            raise self.found
        return self.found


@pytest.mark.parametrize(
    ("found", "order", "best"),
    [
        ([0.1, 0.9, 0.5], [1, 2, 0], 0.9),
        ([-3.0, 0.0, 4.0], [2, 1, 0], 0.982),
        ([0.1, 0.9], [0, 1, 2], 1.0),
        ([0.1, float("nan"), 0.2], [0, 1, 2], 1.0),
        (UnavailableError(text("gone")), [0, 1, 2], 1.0),
    ],
    ids=["probabilities", "any numbers", "too few", "no number", "gone"],
)
def test_a_reranker_decides_where_it_can(found: Any, order: list[int], best: float) -> None:
    one = Search(None, None, lambda _: None, Scores(found))  # type: ignore[arg-type]
    ranked = one._reranked("q", hits(), {})
    assert [hit.id for hit in ranked] == order
    assert ranked[0].score == pytest.approx(best, abs=1e-3)
    assert ("rerank" in ranked[0].by) == (order != [0, 1, 2])
    assert all(0 <= hit.score <= 1 for hit in ranked)
