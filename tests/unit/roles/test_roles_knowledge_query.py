"""What is searched for a message."""

from __future__ import annotations

import pytest

from ansambl.roles.knowledge.query import LONGEST_QUERY, leans_back, newest_question, query_of, telling_words
from ansambl.roles.knowledge.records import How


def talk(*questions: str) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = [{"role": "system", "content": "Be brief."}]
    for question in questions:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": "An answer."}]
    return messages[:-1]


@pytest.mark.parametrize(
    "question",
    ["why?", "Почему?", "а во второй?", "and the second one?", "What about them?", "а у неё?", "more", "Да, расскажи"],
)
def test_follow_ups_lean_on_what_was_said_before(question: str) -> None:
    assert leans_back(question)


@pytest.mark.parametrize(
    "question",
    [
        "How many days of vacation are there?",
        "Сколько дней отпуска положено сотруднику?",
        "This contract with the tenant of the second floor was signed when and by whom exactly?",
        "Температура кипения этанола",
    ],
)
def test_questions_stand_for_themselves(question: str) -> None:
    assert not leans_back(question)
    assert query_of(talk("Earlier question about pumps", question)).text == question


def test_a_follow_up_takes_the_words_of_the_question_before() -> None:
    query = query_of(talk("Какая зарплата в первой вакансии бухгалтера?", "а во второй?"))
    assert query.how is How.WORDS
    assert {"зарплата", "вакансии", "бухгалтера"} <= set(query.text.split())
    assert query.text.endswith("а во второй?")


def test_a_follow_up_of_a_follow_up_goes_back_to_the_question() -> None:
    query = query_of(talk("Who repairs the heating pump?", "why?", "and then?"))
    assert {"repairs", "heating", "pump"} <= set(query.text.split())


def test_nothing_is_added_where_it_is_switched_off_or_nothing_was_asked_before() -> None:
    assert query_of(talk("Who repairs the pump?", "why?"), rewrites=False).text == "why?"
    assert query_of(talk("why?")).text == "why?"
    assert query_of([{"role": "system", "content": "x"}]).text == ""


def test_code_and_length_do_not_drown_the_question() -> None:
    query = query_of(talk("What does the manual say about this?\n```python\nx = 1\n" + "y = 2\n" * 2000 + "```"))
    assert query.text == "What does the manual say about this?"
    assert len(query_of(talk("слово " * 5000)).text) <= LONGEST_QUERY + 1


def test_the_newest_question_is_found_behind_tools_and_in_parts() -> None:
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    messages = [*talk("one"), {"role": "user", "content": parts}, {"role": "tool", "content": "42"}]
    assert newest_question(messages) == "What is this?"


def test_telling_words_are_those_that_say_something() -> None:
    assert telling_words("Что такое ёмкость насоса, и как её измерить?") == ["такое", "емкость", "насоса", "измерить"]
