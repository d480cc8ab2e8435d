"""Which marks of an answer cite a source."""

from __future__ import annotations

from ansambl.domain.knowledge import Document, Kind, Passage
from ansambl.roles.knowledge.citing import citations, cited_sources
from ansambl.roles.knowledge.records import Citation, Given, Piece, Query, Source


def given(count: int) -> Given:
    sources = tuple(
        Source(number, Piece(Document(number, "c", Kind.FILE, "/a", "a"), Passage(0, 0, 1, "x"), "x", 1, 0.5))
        for number in range(1, count + 1)
    )
    return Given("", Query("q"), ("c",), sources)


def numbers(answer: str, count: int = 3) -> list[int]:
    found = citations(answer, given(count))
    assert all(answer[one.start] == "[" and answer[one.end - 1] == "]" for one in found)
    return [one.number for one in found]


def test_marks_with_a_source_are_found_at_their_places() -> None:
    answer = "Отпуск 28 дней [1], а больничный – отдельно [2, 3]."
    assert citations(answer, given(3)) == (Citation(1, 15, 18), Citation(2, 44, 50), Citation(3, 44, 50))
    assert numbers("one[1][2] two [1;3]") == [1, 2, 1, 3]


def test_marks_without_a_source_stay_text() -> None:
    assert numbers("See [4] and [0], [12] or [1999].") == []
    assert numbers("[2]", 0) == []
    assert citations("[1]", None) == ()


def test_code_links_pictures_and_thinking_cite_nothing() -> None:
    assert numbers("`a[1]` and\n```\nb[2]\n```\n[1](http://x) ![1] [1]: note <think>[2]</think> [3]") == [3]
    assert numbers("```\nnever closed [1]") == []


def test_each_source_tells_whether_it_is_cited() -> None:
    found = given(2)
    marks = citations("So it is [2].", found)
    assert [(one.number, cited) for one, cited in cited_sources(found, marks)] == [(1, False), (2, True)]
