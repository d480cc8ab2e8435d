"""Telling code from prose."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.domain.code_in_text import holds_code, without_code


@pytest.mark.parametrize(
    "said",
    [
        "Why?\n```python\nx = 1\n```",
        "Why?\n~~~\nx\n~~~",
        "not closed\n```\nx",
        "def add(a, b):\n    return a + b",
        "почему падает\nfor (int i = 0; i < n; i++) {\n  s += a[i];\n}",
        "SELECT name FROM people WHERE age > 3;",
        'Traceback (most recent call last):\n  File "a.py", line 1, in main\nKeyError: 1',
        "#include <stdio.h>",
        "$ ls -la",
        "print(x)\nprint(y)",
    ],
)
def test_code_is_seen(said):
    assert holds_code(said)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "What is a process?",
        "Сколько будет 2 + 2 = ?",
        "I paid $100 (not $200) for it; is that fair?",
        "let me know what you think",
        "Return my call, please; I wait",
        "Ποια είναι η διαφορά;",
        "первый пункт;\nвторой пункт;",
        "What does print(x) do?",
    ],
)
def test_prose_is_no_code(said):
    assert not holds_code(said)


def test_only_code_is_left_out():
    left = without_code(
        "Почему `x_y` и main() падают?\n```\nwhile True: pass\n```\nСм. https://example.org/a и a@b.org"
    )
    assert left.split() == ["Почему", "и", "падают?", "См.", "и"]


@given(st.text(max_size=400))
def test_any_text_can_be_read(said):
    assert len(without_code(said)) <= len(said)
    assert holds_code(said) in {True, False}


@pytest.mark.parametrize("said", ["a" * 100_000, "好" * 100_000, "at " + "(" * 200_000], ids=["word", "han", "trace"])
def test_text_without_any_gap_is_read_at_once(said):
    began = time.process_time()
    assert not holds_code(said)
    assert without_code(said) == said
    # A search that begins anew at each letter would take minutes.
    assert time.process_time() - began < 5
