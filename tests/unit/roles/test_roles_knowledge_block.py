"""How a passage is named above its text and in citations."""

from __future__ import annotations

from typing import Any

import pytest

from ansambl.domain.knowledge import Document, Kind, Passage
from ansambl.roles.knowledge.block import described
from ansambl.roles.knowledge.records import Piece


def piece(document: Document, **fields: Any) -> Piece:
    return Piece(document, Passage(1, 0, 0, "text", **fields), "text", 1, 0.5)


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("en", "ChatGPT tool python; past conversation: Trees"),
        ("ru", "ChatGPT инструмент python; прошлый разговор: Trees"),
    ],
)
def test_what_a_tool_gave_is_not_said_by_a_model(language: str, said: str) -> None:
    talk = Document(1, "chats", Kind.CONVERSATION, "x", "Trees", source="chatgpt")
    assert described(piece(talk, role="tool", author="python"), language) == said


def test_a_heading_that_is_the_name_of_the_page_stands_once() -> None:
    table = Document(1, "garden", Kind.FILE, "/prices.xlsx", "prices.xlsx")
    assert described(piece(table, page=1, label="Stock", headings=("Stock",))) == "prices.xlsx, Stock"
    assert described(piece(table, page=1, label="Stock", headings=("Old",))) == "prices.xlsx, Stock, Old"
    slide = Document(1, "garden", Kind.FILE, "/x.pptx", "Apples")
    assert described(piece(slide, page=1, label="Apples", headings=("Apples",))) == "Apples"
