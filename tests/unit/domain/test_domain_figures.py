"""Figures within sentences, in the notation of a language."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.figures import figure, number_words
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, format_bytes, format_seconds, size_words, time_words
from ansambl.foundation.locales import translator

RUSSIAN = {
    "The decimal mark is .": "Десятичный знак — ,", "{amount} GiB": "{amount} ГиБ", "{amount} MiB": "{amount} МиБ",
    "{amount} min": "{amount} мин", "{amount} h": "{amount} ч", "{amount} s": "{amount} с",
    "{model} takes {size}": "{model} занимает {size}",
    "{engine} is ready after {seconds} s": "{engine} готов через {seconds} с",
}  # fmt: skip


def russian(template):
    return RUSSIAN.get(template, template)


def told(value, template="{it}"):
    return text(template, it=value).render(russian)


def test_a_sentence_has_the_decimal_mark_and_the_units_of_its_language():
    took = text("{model} takes {size}", model="qwen2.5-7b", size=format_bytes(int(2.5 * GIB)))
    assert took.render(russian) == "qwen2.5-7b занимает 2,5 ГиБ"
    assert text("{engine} is ready after {seconds} s", engine="llama.cpp", seconds=8.9).render(russian) == (
        "llama.cpp готов через 8,9 с"
    )


def test_english_sentences_are_as_they_were():
    took = text("{model} takes {size} in {seconds} s", model="m", size=format_bytes(3 * MIB), seconds=8.9)
    assert took.render() == took.render(str) == "m takes 3.0 MiB in 8.9 s"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("23.5 GiB (RAM), 8.0 GiB (GPU 0)", "23,5 ГиБ (RAM), 8,0 ГиБ (GPU 0)"),
        ("coder 1.5 GiB, tutor 2.0 GiB", "coder 1,5 ГиБ, tutor 2,0 ГиБ"),
        (format_seconds(5400), "1 ч 30 мин"),
        (format_seconds(2.25), "2,2 с"),
        (text("{model} takes {size}", model="m", size="1.0 GiB"), "m занимает 1,0 ГиБ"),
    ],
)
def test_amounts_that_were_written_already_are_written_anew(value, shown):
    assert told(value) == shown


@pytest.mark.parametrize(
    "value",
    [
        "3.11", "qwen2.5", "b11512", "CUDA out of memory. Tried to allocate 2.50 GiB", "2.50 GiB were not free",
        8192, 65536, True, None, "", "0.5 GiBs",
    ],
)  # fmt: skip
def test_what_is_no_amount_is_repeated_to_the_letter(value):
    assert told(value) == str(value)


def test_a_gap_that_says_how_it_is_written_says_it_still():
    assert told(2.0, "{it:g}") == "2"
    assert told(2.345, "{it:.1f}") == "2,3"


@given(st.text())
def test_no_words_of_others_break_a_sentence(words):
    assert isinstance(told(words), str)


@given(st.floats(allow_nan=False))
def test_a_number_loses_nothing(number):
    assert float(told(number).replace(",", ".")) == number


def test_a_figure_keeps_how_it_is_written():
    said = text("strength {points} points", points=figure(3, "+.1f"))
    assert said.render() == "strength +3.0 points"
    assert said.render(russian) == "strength +3,0 points"
    assert copy.deepcopy(said).render(russian) == "strength +3,0 points"


def test_the_shipped_russian_has_its_decimal_mark_and_its_units():
    took = text("{model} takes {size}", model="m", size="2.5 GiB")
    assert took.render(translator("ru")).endswith("2,5\N{NO-BREAK SPACE}ГиБ")


def test_what_stands_alone_is_written_as_within_a_sentence():
    assert (size_words(59 * GIB, russian), size_words(59 * GIB, str)) == ("59,0 ГиБ", "59.0 GiB")
    assert (time_words(2.25, russian), time_words(2.25, str)) == ("2,2 с", "2.2 s")
    assert (number_words(2, "+.1f", russian), number_words(2, "+.1f", str)) == ("+2,0", "+2.0")
