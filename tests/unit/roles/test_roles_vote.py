from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.roles.ensembles.vote import SHORT, Ballot, count, normalise, short_answer


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("42", "42"),
        ("Let me see.\n6 * 7 is it.\nAnswer: 42", "42"),
        ("Answer: 41\nNo, wait.\n**Final answer:** 42.", "42."),
        ("**Answer:**\n\n42 km\n", "42 km"),
        ("Считаем.\nОтвет: Париж", "Париж"),
        ("Итог: 7", "7"),
        (r"So it is \boxed{\frac} or \boxed{12}", "12"),
        ("First this, then that.\n(b)", "(b)"),
        ("", None),
        ("   \n ", None),
        ("x" * (SHORT + 1), None),
        ("Answer: " + "word " * 40, None),
        ("...", None),
        ("Answer:\n" + "long " * 40, None),
    ],
)
def test_the_short_answer_of_what_was_said(said: str, answer: str | None) -> None:
    assert short_answer(said) == answer


@pytest.mark.parametrize(
    "same",
    [
        ("42", "42.0", " 42. ", "**42**", "+42", "The answer is 42.", "42.00"),
        ("1000", "1,000", "1 000", "1_000", "1,000.0", "1.000,0", "1'000"),
        ("0.5", "0,5", "0.50", ".5"[:0] + "0.500"),
        ("-3", "-3.0"),
        ("b", "B", "(b)", "b)", "B. Paris", "(B) Paris", "`b`"),
        ("Paris", "paris", '"Paris".', "«Paris»", "PARIS!", "The answer is Paris"),
        ("5 km", "5km", "5.0  KM"),
        ("$5", "$ 5.00", "$5.0"),
        ("10%", "10 %", "10.0%"),
        ("Нью-Йорк", "нью-йорк."),
        ("①", "1"),
    ],
)
def test_spellings_of_one_answer_are_the_same(same: tuple[str, ...]) -> None:
    assert len({normalise(one) for one in same}) == 1, {one: normalise(one) for one in same}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", "-42"), ("5 km", "5 m"), ("5", "5 km"), ("0.5", "5"), ("1,000", "1.000"), ("a", "b"), ("yes", "no"),
        ("1.2.3", "123"), ("12:30", "1230"), ("A", "A cat"), ("$5", "€5"), ("1,5", "15"), ("x+1", "x-1"),
        ("2024-05-01", "2024-05-02"), ("3/4", "3"),
    ],
)  # fmt: skip
def test_different_answers_are_not_the_same(one: str, other: str) -> None:
    assert normalise(one) != normalise(other)


@given(st.integers(0, 10**12), st.integers(0, 999))
def test_thousands_separators_and_zeros_do_not_matter(whole: int, part: int) -> None:
    plain = f"{whole}.{part:03}"
    assert (
        normalise(plain)
        == normalise(f"{whole:,}.{part:03}00")
        == normalise(f"{whole:,}".replace(",", " ") + f".{part:03}")
    )


@given(st.text(max_size=200))
def test_any_text_has_one_form(written: str) -> None:
    form = normalise(written)
    assert isinstance(form, str)
    answer = short_answer(written)
    assert answer is None or normalise(answer)


def ballots(*answers: str | None) -> list[Ballot]:
    return [Ballot(f"v{number}", one) for number, one in enumerate(answers)]


def test_the_most_frequent_answer_wins_as_its_first_voter_wrote_it() -> None:
    result = count(ballots("41", "Paris", "42.", "42", None), deciding="v0")
    assert result is not None
    assert (result.winner, result.tied) == ("42.", False)
    assert [one.voters for one in result.counts] == [("v2", "v3"), ("v0",), ("v1",)]


def test_a_tie_goes_to_the_deciding_voter_and_else_to_who_came_first() -> None:
    decided = count(ballots("a", "b", "c", "b", "c"), deciding="v4")
    assert decided is not None
    assert (decided.winner, decided.tied) == ("c", True)
    first = count(ballots("a", "b", "c", "b", "c"), deciding="v0")
    assert first is not None
    assert first.winner == "b"


def test_free_text_is_not_voted_on_when_it_is_most_of_it() -> None:
    assert count(ballots(None, None, "42"), deciding="v2") is None
    assert count(ballots(), deciding="v0") is None
    assert count(ballots(None), deciding="v0") is None
    half = count(ballots(None, "42"), deciding="v0")
    assert half is not None
    assert half.winner == "42"


def test_an_answer_of_thousands_of_empty_lines_is_read_at_once() -> None:
    began = time.process_time()
    assert short_answer("so\n" + "\n" * 100_000 + "\n> **Answer:** 42") == "42"
    # Looking for the mark from each empty line on would take many minutes.
    assert time.process_time() - began < 5
