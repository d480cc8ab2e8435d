"""Likeness to the members' examples, by words and by vectors."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.errors import EngineError
from ansambl.roles.routing.concepts import concepts
from ansambl.roles.routing.likeness import VectorLikeness, WordLikeness, examples_of
from ansambl.roles.routing.records import Member

COOK = Member("cook", examples=("How do I bake bread?", "Как приготовить борщ из свёклы?", "A recipe for pancakes"))
LAWYER = Member(
    "lawyer", examples=("Is this contract valid?", "Какой закон о налогах действует?", "Can I sue my boss?")
)
MEMBERS = (COOK, LAWYER)


@pytest.mark.parametrize(
    ("question", "role"),
    [
        ("How do I bake a cake?", "cook"),
        ("What recipes for bread are there?", "cook"),
        ("Приготовь что-нибудь из свёклы", "cook"),
        ("приготовлю борщик", "cook"),
        ("Which law is about contracts?", "lawyer"),
        ("По каким законам платят налоги?", "lawyer"),
    ],
)
def test_a_question_is_like_the_examples_that_share_its_words_in_any_inflection(question, role):
    best, other = WordLikeness(MEMBERS).of(question)
    assert best.role == role
    assert best.score > other.score
    assert best.example in {one.name: one.examples for one in MEMBERS}[role]


def test_concepts_join_words_and_languages_that_share_no_letter():
    question = "обед: жарим картошку в духовке"
    english = WordLikeness((Member("cook", examples=("A recipe for dinner",)), Member("lawyer", examples=("A court",))))
    assert english.of(question)[0].role == "cook"
    assert english.of(question)[0].score > 0


def test_the_same_question_is_fully_alike_and_an_unfamiliar_one_hardly():
    alone = WordLikeness((Member("cook", examples=("How do I bake bread?",)), LAWYER))
    assert alone.of("How do I bake bread?")[0].score == pytest.approx(1.0)
    assert alone.of("qwrt zxcv")[0].score < 0.2


def test_letter_case_and_yo_do_not_matter():
    likeness = WordLikeness(MEMBERS)
    assert likeness.of("БОРЩ ИЗ СВЕКЛЫ")[0].score == pytest.approx(likeness.of("борщ из свёклы")[0].score)


def test_members_without_examples_are_never_alike():
    assert {one.role for one in WordLikeness((*MEMBERS, Member("mute"))).of("bread")} == {"cook", "lawyer"}
    assert WordLikeness((Member("mute"),)).of("bread") == ()


def test_a_wish_after_a_long_paste_is_compared():
    paste = "lorem ipsum dolor sit amet " * 2_000
    assert WordLikeness(MEMBERS).of(f"{paste}\nWrite me a recipe for bread and pancakes")[0].role == "cook"


def test_the_order_of_other_members_does_not_change_a_score():
    forward = {one.role: one.score for one in WordLikeness(MEMBERS).of("a recipe and a contract")}
    backward = {one.role: one.score for one in WordLikeness(MEMBERS[::-1]).of("a recipe and a contract")}
    assert forward == pytest.approx(backward)


@given(st.text(max_size=300))
def test_any_question_has_scores_between_nothing_and_one(question):
    found = _BUILT.of(question)
    assert [one.role for one in found] in (["cook", "lawyer"], ["lawyer", "cook"])
    assert all(0.0 <= one.score <= 1.0 for one in found)
    assert found[0].score >= found[1].score
    assert found == _BUILT.of(question)


_BUILT = WordLikeness(MEMBERS)


@pytest.mark.parametrize(
    ("word", "concept"),
    [("функцию", "programming"), ("переведите", "translation"), ("recipes", "food"), ("who", "people-asked")],
)
def test_a_word_in_any_inflection_has_its_concept(word, concept):
    assert concept in concepts(word)


def test_a_word_that_nothing_knows_has_no_concept():
    assert concepts("qwrtz") == ()
    assert concepts("") == ()


def vectors(*angles):
    return [[math.cos(angle), math.sin(angle)] for angle in angles]


def test_vectors_choose_the_member_whose_examples_lie_nearest():
    members = (Member("a", examples=("one", "two")), Member("b", examples=("three", "four")))
    assert examples_of(members) == ("one", "two", "three", "four")
    likeness = VectorLikeness(members, vectors(0.0, 0.1, 1.6, 1.7))
    best, other = likeness.of(vectors(0.05)[0])
    assert (best.role, other.role) == ("a", "b")
    assert best.score > 0.9
    assert other.score == 0.0
    assert likeness.of(vectors(1.75)[0])[0].example == "four"


def test_what_all_vectors_have_in_common_does_not_count():
    members = (Member("a", examples=("one",)), Member("b", examples=("two",)))
    # Cosines of 0.99 and more everywhere, as some models give them: the common part is taken out.
    likeness = VectorLikeness(members, [[10.0, 1.0, 0.0], [10.0, -1.0, 0.0]])
    assert likeness.of([10.0, 1.0, 0.0])[0].score == pytest.approx(1.0)
    assert likeness.of([10.0, 0.0, 1.0])[0].score == pytest.approx(0.0)


@pytest.mark.parametrize(
    "given_vectors",
    [
        [[1.0, 0.0]],
        [[1.0, 0.0], [1.0]],
        [[1.0, math.nan], [0.0, 1.0]],
        [[1.0], ["x"]],
        [1.0, 2.0],
        [[math.inf], [0.0]],
        [],
    ],
)
def test_vectors_that_cannot_be_used_are_refused(given_vectors):
    members = (Member("a", examples=("one",)), Member("b", examples=("two",)))
    with pytest.raises(EngineError, match="embeddings model"):
        VectorLikeness(members, given_vectors)


def test_a_questions_vector_of_another_length_is_refused():
    likeness = VectorLikeness((Member("a", examples=("one", "two")),), vectors(0.0, 1.0))
    with pytest.raises(EngineError, match="embeddings model"):
        likeness.of([1.0, 0.0, 0.0])
    assert likeness.of([0.0, 0.0])[0].role == "a"


def test_no_examples_need_no_vectors():
    assert VectorLikeness((Member("mute"),), []).of([1.0]) == ()
