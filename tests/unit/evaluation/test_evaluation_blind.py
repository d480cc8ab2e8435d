"""Choosing blindly between answers, and which old questions are asked."""

import pytest

from ansambl.domain.errors import UsageError
from ansambl.evaluation.blind import ballot, read_choice, standings
from ansambl.evaluation.past_questions import choose, questions_of

ANSWERS = {"coder": "one", "plain": "two", "old": "three"}


def test_the_order_is_hidden_by_the_seed_and_the_same_again():
    orders = {tuple(name for name, _ in ballot(number, "q", ANSWERS, 1).answers) for number in range(60)}
    assert len(orders) == 6
    assert ballot(3, "q", ANSWERS, 7) == ballot(3, "q", dict(reversed(ANSWERS.items())), 7)
    firsts = [ballot(number, "q", ANSWERS, 1).answers[0][0] for number in range(300)]
    assert all(60 < firsts.count(name) < 140 for name in ANSWERS)


def test_what_is_typed_means_the_answers_that_stand_there():
    shown = ballot(0, "q", ANSWERS, 1)
    names = [name for name, _ in shown.answers]
    assert read_choice(" B\n", shown) == (names[1],)
    assert read_choice("ca", shown) == (names[2], names[0])
    assert read_choice("=", shown) == tuple(names)
    assert read_choice("0", shown) == ()
    assert read_choice("s", shown) is None
    for wrong in ("d", "", "ab?", "1"):
        with pytest.raises(UsageError, match="no choice"):
            read_choice(wrong, shown)


def test_the_result_is_that_of_paired_tasks():
    found = standings(["plain", "coder"], [("coder",)] * 9 + [("plain",)] + [()] * 2)
    assert found[0].against_first is None
    assert found[0].chosen.value == pytest.approx(1 / 12)
    assert found[1].chosen.value == pytest.approx(9 / 12)
    compared = found[1].against_first
    assert compared.value == pytest.approx(8 / 12)
    # Of ten pairs that differ, nine point one way: two tails of the binomial, 2 * (1 + 10) / 1024.
    assert compared.p == pytest.approx(22 / 1024)
    assert standings(["a", "b"], [("a", "b")] * 5)[1].against_first.p == 1.0


def talk(number, count=3, word="garden"):
    return [
        {"role": role, "content": f"{role} {number} {turn} about the {word} and more"}
        for turn in range(count) for role in ("user", "assistant")
    ]  # fmt: skip


def all_questions():
    return [
        one for number in range(10) for one in questions_of(str(number), f"title {number}", talk(number), "ChatGPT")
    ]


def test_a_question_carries_what_stood_before_it_and_its_old_answer():
    found = list(questions_of("c", "t", talk(1), "ChatGPT"))
    assert [len(one.messages) for one in found] == [1, 3, 5]
    assert found[1].question == "user 1 1 about the garden and more"
    assert found[1].old == "assistant 1 1 about the garden and more"
    line = found[1].as_training()
    assert [one["role"] for one in line["messages"]] == ["user", "assistant", "user", "assistant"]


def test_questions_are_chosen_by_words_and_length():
    assert list(questions_of("c", "t", talk(1), "x", "house")) == []
    assert len(list(questions_of("c", "t", talk(1), "x", "house GARDEN"))) == 3
    short = [{"role": "user", "content": "thanks"}, {"role": "assistant", "content": "!"}]
    assert list(questions_of("c", "t", short, "x")) == []


def test_the_choice_is_the_same_again_and_takes_every_conversation_before_a_second_question():
    first = choose(all_questions(), 10, 1)
    assert choose(reversed(all_questions()), 10, 1) == first
    assert len({one.conversation for one in first}) == 10
    assert choose(all_questions(), 15, 1)[:10] == first
    assert choose(all_questions(), 10, 2) != first
    assert len(choose([*all_questions(), *all_questions()], 99, 1)) == 30
