"""Where the words of a question stand in a text: in their forms, and without what every text holds."""

from __future__ import annotations

import pytest

from ansambl.knowledge.analysis.marking import spans_of, telling_terms


@pytest.mark.parametrize(
    ("query", "text", "language", "expected"),
    [
        ("notice period", "The Notice periods, and what was noticed.", "en", ["Notice", "periods", "noticed"]),
        ("сроки аренды", "Срок аренды — три года; арендатор платит.", "ru", ["Срок", "аренды"]),
        ("the of and", "Of all the words and none.", "en", ["Of", "the", "and"]),
        ("the error E1042", "Error E1042 and the rest of it.", "en", ["Error", "E1042"]),
        ("", "Nothing is looked for.", "en", []),
    ],
)
def test_the_words_of_a_question_are_found_in_their_forms(query, text, language, expected):
    spans = spans_of(text, telling_terms(query), language)
    assert [text[start:end] for start, end in spans] == expected
    assert spans == sorted(spans)


def test_places_are_those_of_the_text_itself_whatever_stands_before_them():
    text = "№ 5 \u00adﬁrst \U0001f600 за\u0301мок 年 notice"
    spans = spans_of(text, telling_terms("notice замок"), None)
    assert [text[start:end] for start, end in spans] == ["за\u0301мок", "notice"]


def test_a_long_text_is_marked_in_part():
    assert len(spans_of("word " * 10_000, telling_terms("word"))) == 200
