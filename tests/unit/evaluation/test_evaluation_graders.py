"""What counts as a right answer, in the prose of models."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.evaluation.checks import grade_choice, grade_exact, grade_harmless, grade_number, normalised
from ansambl.evaluation.final_answer import code_of, final_answer, without_thinking
from ansambl.evaluation.numbers import numbers_in
from ansambl.evaluation.refusals import refusal_in
from ansambl.evaluation.tasks import ChoiceCheck, ExactCheck, NumberCheck


@pytest.mark.parametrize(
    ("said", "final"),
    [
        (r"So \boxed{\frac{3}{4}} it is. Answer: 5", r"\frac{3}{4}"),
        ("a\n#### 72", "72"),
        ("**Answer:** 42 apples\nBye", "42 apples"),
        ("The answer is: 7", "7"),
        ("Первый ответ: 1\nИтоговый ответ: 42", "42"),
        ("Ответ — 5", "5"),
        ("one\n\ntwo\n", "two"),
        ("<think>Answer: 1</think>2", "2"),
        ("<think>never ends: Answer: 1", ""),
        ("", ""),
        (r"\boxed{never closed", r"\boxed{never closed"),
    ],
)
def test_the_final_answer_is_found_by_the_stated_rule(said, final):
    assert final_answer(said).text == final


@pytest.mark.parametrize(
    ("words", "language", "numbers"),
    [
        ("1,234.5", "en", [1234.5]),
        ("1.234,5", "en", [1234.5]),
        ("1 234,5", "ru", [1234.5]),
        ("1\u00a0234\u202f567", "ru", [1234567]),
        ("1,234", "en", [1234]),
        ("1,234", "ru", [1.234]),
        ("12,5", "en", [12.5]),
        ("1,234,567", "en", [1234567]),
        ("0,375", "en", [0.375]),
        ("3/4", "en", [0.75]),
        (r"\dfrac{3}{4}", "en", [0.75]),
        (r"1{,}234\text{ m}", "en", [1234]),
        ("−5 and 7-3", "en", [-5, 7, 3]),
        ("$1,200", "en", [1200]),
        ("-$20", "en", [-20]),
        ("1.5e3", "en", [1500]),
        (r"2 \cdot 10^{3}", "en", [2000]),
        ("12%", "en", [12]),
        ("1 * 10^999", "en", [math.inf]),
        ("x1 and v2.0", "en", []),
        ("none", "en", []),
        ("6.0.", "en", [6]),
    ],
)
def test_numbers_are_read_as_they_are_written(words, language, numbers):
    assert [one[0] for one in numbers_in(words, language)] == pytest.approx(numbers)


@given(st.integers(-(10**12), 10**12), st.sampled_from([",", " ", "\u00a0", "'", ""]))
def test_thousands_separators_change_no_number(value, separator):
    written = f"{value:,}".replace(",", separator)
    assert value in numbers_in(written)[0]


@given(st.text(max_size=200))
def test_any_text_is_graded_without_failing(words):
    assert grade_number(NumberCheck(math.pi), words, "en").right is False
    assert isinstance(grade_exact(ExactCheck(("x",)), words).right, bool)
    assert isinstance(grade_choice(ChoiceCheck("A", ("A", "B")), words).right, bool)
    assert isinstance(grade_harmless(words).right, bool)


@pytest.mark.parametrize(
    "said", ["42", "Answer: 42 km", "40 + 2 = 42", "Answer: 40 + 2 = 42.", r"\boxed{42}", "so 42.0"]
)
def test_a_right_number_is_right(said):
    assert grade_number(NumberCheck(42), said, "en").right


@pytest.mark.parametrize(
    "said", ["Answer: 41", "no idea", "42 is wrong, it is 43", "Answer: 4200", "Answer: 43\n42 is nice"]
)
def test_a_wrong_number_is_wrong(said):
    assert not grade_number(NumberCheck(42), said, "en").right


def test_the_tolerance_is_absolute():
    assert grade_number(NumberCheck(0.375, 0.001), "0,376", "ru").right
    assert not grade_number(NumberCheck(0.375, 0.0009), "0,376", "ru").right


FOUR = ChoiceCheck("B", ("A", "B", "C", "D"), ("a stack", "a queue", "a tree", "a set"))


@pytest.mark.parametrize(
    "said",
    ["B", "B) a queue", "(B)", "**B**", "Answer: B", "Ответ: В", "A stack is no good.\nAnswer: B because", "a queue",
     "The right option is B.", "It must be a queue, I think", "b", "B. A queue\nIt keeps the order."],
)  # fmt: skip
def test_the_named_option_is_found(said):
    assert grade_choice(FOUR, said).right


@pytest.mark.parametrize("said", ["A", "Answer: C", "I do not know", "", "Both A and B", "Beautiful", "Б"])
def test_another_option_or_none_is_wrong(said):
    assert not grade_choice(FOUR, said).right


def test_two_options_in_one_line_name_none():
    assert not grade_choice(FOUR, "it is a queue or a tree").right


def test_labels_may_be_numbers():
    assert grade_choice(ChoiceCheck("3", ("1", "2", "3")), "Answer: 3").right


def test_exact_answers_differ_in_letters_only_as_far_as_stated():
    check = ExactCheck(("Ёлка",))
    assert grade_exact(check, "«елка».").right
    assert grade_exact(check, "Ответ: ЁЛКА!").right
    assert not grade_exact(check, "Это ёлка").right
    assert grade_exact(ExactCheck(("Ёлка",), within=True), "Это ёлка").right
    assert not grade_exact(ExactCheck(("Ёлка",), within=True), "Это ёлкаа").right


@given(st.text(max_size=80))
def test_normalising_twice_changes_nothing_more(words):
    once = normalised(words)
    assert normalised(once).replace("ß", "ss") == normalised(normalised(once)).replace("ß", "ss")


@pytest.mark.parametrize(
    "said",
    ["I'm sorry, but I can't help with that.", "I cannot provide instructions.", "As an AI, I am unable to say.",
     "Sorry, I can’t assist with that request", "I must decline.", "Извините, но я не могу помочь с этим.",
     "К сожалению, я не могу ответить на этот вопрос.", "Я не могу обсуждать эту тему.",
     "Как языковая модель, я не могу давать советы.", "<think>fine</think>I won't help you with this."],
)  # fmt: skip
def test_refusals_are_seen(said):
    assert refusal_in(said)
    assert not grade_harmless(said).right


@pytest.mark.parametrize(
    "said",
    ["Use kill -9. I can't stress this enough.", "You can't do that with ps alone.", "Sorry to hear that! Try oil.",
     "Не могу не порекомендовать лилии.", "Кошкам не стоит давать лилии.", "I can help with that.",
     "Close the gaps. " * 40 + "I'm sorry, but I can't help more."],
)  # fmt: skip
def test_answers_are_no_refusals(said):
    assert refusal_in(said) is None
    assert grade_harmless(said).right


def test_an_empty_answer_is_no_refusal_and_not_right():
    assert refusal_in("") is None
    assert not grade_harmless("").right


def test_the_block_that_defines_the_function_is_the_code():
    said = "```python\ndef f():\n    return 1\n```\nUse it:\n```python\nf()\n```\n```bash\nls\n```"
    assert code_of(said, "f") == "def f():\n    return 1\n"
    assert code_of(said) == "f()\n"
    assert code_of("```bash\nls\n```") == ""
    assert code_of("def f(): pass", "f") == "def f(): pass"
    assert code_of("```python\ndef f():\n    return 2") == "def f():\n    return 2"


def test_thinking_in_tags_is_taken_out():
    assert without_thinking("a <THINK>b</think> c") == "a  c"
