"""What the benchmark of knowledge counts and makes."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from support.labelled import labelled, recall, reciprocal_rank
from support.synthetic import DIMENSION, Corpus, KnownVectors, SyntheticReading, number_in


def test_recall_is_of_those_that_have_room_among_ten():
    assert recall(["a", "b", "c"], ["b"]) == 1.0
    assert recall(["a", "b", "c"], ["b", "z"]) == 0.5
    assert recall([str(number) for number in range(20)], ["15"]) == 0.0
    assert recall([str(number) for number in range(10)], [str(number) for number in range(20)]) == 1.0


def test_the_reciprocal_rank_is_that_of_the_first_right_one():
    assert reciprocal_rank(["a", "b", "c"], ["c", "b"]) == 0.5
    assert reciprocal_rank(["a"], ["z"]) == 0.0


def test_a_part_of_a_labelled_set_has_only_questions_that_it_answers():
    one = labelled("ru", 100)
    assert len(one.ids) == len(one.texts) == len(one.vectors) == 100
    assert one.questions
    assert all(set(question.relevant) <= set(one.ids) for question in one.questions)
    assert np.allclose(np.linalg.norm(one.vectors, axis=1), 1.0, atol=1e-3)


def test_both_halves_of_the_questions_have_about_half_of_them():
    for language in ("en", "ru"):
        questions = labelled(language).questions
        assert 0.4 < sum(one.for_tuning for one in questions) / len(questions) < 0.6


def test_passages_are_the_same_in_every_run_and_documents_repeat_them_exactly():
    one, two = Corpus(), Corpus()
    assert one.text(77) == two.text(77) != one.text(78)
    assert np.array_equal(one.make_vectors(3), two.make_vectors(3))
    prepared = one.prepared(1, "/f!1", 1_000)
    assert len(prepared.passages) == len(prepared.terms) == 50
    for at, passage in enumerate(prepared.passages):
        assert prepared.material.text[passage.start : passage.end] == passage.text
        assert number_in(passage.text) == 50 + at
        assert str(50 + at) in prepared.terms[at]


def test_a_question_is_near_its_passage_and_exact_search_finds_that_first():
    corpus = Corpus()
    queries = corpus.queries(5, 1_500)
    nearest = corpus.exact(queries, 1_500, 3)
    assert [found[0] for found in nearest] == [one.number for one in queries]
    known = KnownVectors(corpus, queries)
    vectors = known.passages([corpus.text(one.number) for one in queries])
    assert vectors.shape == (5, DIMENSION)
    assert all(float(known.query(one.text) @ row) > 0.8 for one, row in zip(queries, vectors, strict=True))
    assert all(word in corpus.text(one.number) for one in queries for word in one.text.split())


def test_files_stand_for_passages_each_once(tmp_path):
    reading = SyntheticReading(Corpus())
    reading.files(tmp_path / "files", 0, 120)
    (file,) = (tmp_path / "files").iterdir()
    made = list(reading.documents(str(file)))
    assert [number_in(passage.text) for one in made for passage in one.passages] == list(range(120))
    assert reading.seconds > 0


def test_what_is_no_passage_has_no_number():
    with pytest.raises(ValueError, match="no passage"):
        number_in("nothing")
