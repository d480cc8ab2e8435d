"""Rankings made into one."""

from __future__ import annotations

import pytest

from ansambl.knowledge.index.contract import Ranked
from ansambl.knowledge.index.fusion import FusedHit, fused, fused_by_score


def ranking(*ids: int, scores: tuple[float, ...] = ()) -> list[Ranked]:
    """Best first."""
    return [Ranked(one, scores[place] if scores else -float(place)) for place, one in enumerate(ids)]


def test_what_both_find_comes_first() -> None:
    """Second in both beats first in one."""
    found = fused([("vector", 1.0, ranking(1, 2)), ("text", 1.0, ranking(3, 2))], 10)
    assert [one.id for one in found] == [2, 1, 3]
    assert found[0].by == ("vector", "text")
    assert found[1].by == ("vector",)
    assert found[2].by == ("text",)


def test_scores_lie_between_0_and_1() -> None:
    """First in all is 1; first in one of two of the same weight is a half."""
    both = fused([("vector", 1.0, ranking(7)), ("text", 1.0, ranking(7))], 10)
    assert both == [FusedHit(7, 1.0, ("vector", "text"))]
    one = fused([("vector", 1.0, ranking(7)), ("text", 1.0, [])], 10)
    assert one[0].score == pytest.approx(0.5)


def test_weights_and_k() -> None:
    """A heavier ranking wins; a weight of 0 finds nothing; a small k lets the first place stand out."""
    rankings = [("vector", 1.0, ranking(1, 5)), ("text", 2.0, ranking(2, 5))]
    assert [one.id for one in fused(rankings, 10)] == [5, 2, 1]
    assert [one.id for one in fused(rankings, 10, k=0.0)] == [2, 5, 1]
    silent = fused([("vector", 1.0, ranking(1)), ("text", 0.0, ranking(2))], 10)
    assert [(one.id, one.score) for one in silent] == [(1, 1.0)]


def test_a_part_of_a_weight_counts_for_some_passages() -> None:
    """The first by words counts a tenth and falls behind; its place stays taken, and the other ranking is as it was."""
    rankings = [("vector", 1.0, ranking(1, 5)), ("text", 1.0, ranking(2, 3))]
    whole = {one.id: one.score for one in fused(rankings, 10)}
    less = fused(rankings, 10, parts={"text": {2: 0.1, 1: 0.1, 5: 0.1}})
    assert [one.id for one in less] == [1, 3, 5, 2]
    assert {one.id: one.score for one in less} == pytest.approx({**whole, 2: whole[2] / 10})
    assert less[-1].by == ("text",)


def test_limits_and_ties() -> None:
    """Equal ones are ordered by their ids; the limit cuts."""
    rankings = [("vector", 1.0, ranking(9)), ("text", 1.0, ranking(4))]
    assert [one.id for one in fused(rankings, 10)] == [4, 9]
    assert [one.id for one in fused(rankings, 1)] == [4]
    for limit in (0, -3):
        assert fused(rankings, limit) == []
    for nothing in ([], [("vector", 1.0, [])]):
        assert fused(nothing, 5) == []
        assert fused_by_score(nothing, 5) == []


def test_a_passage_that_stands_twice_counts_once() -> None:
    """By its best place."""
    assert fused([("vector", 1.0, ranking(1, 1))], 5) == [FusedHit(1, 1.0, ("vector",))]
    assert fused_by_score([("vector", 1.0, ranking(1, 1))], 5) == [FusedHit(1, 1.0, ("vector",))]


def test_by_score_keeps_distances() -> None:
    """What is far ahead in one ranking beats what is a little ahead in the other."""
    vector = ranking(1, 2, 3, scores=(0.9, 0.89, 0.1))
    words = ranking(2, 1, 3, scores=(30.0, 2.0, 1.0))
    found = fused_by_score([("vector", 1.0, vector), ("text", 1.0, words)], 10)
    assert [one.id for one in found] == [2, 1, 3]
    assert found[0].score == pytest.approx(((0.89 - 0.1) / 0.8 + 1) / 2)
    assert found[2].score == 0.0


def test_by_score_of_equal_scores() -> None:
    """None of them is the last."""
    found = fused_by_score([("text", 2.0, ranking(1, 2, scores=(3.0, 3.0)))], 10)
    assert [(one.id, one.score) for one in found] == [(1, 1.0), (2, 1.0)]
