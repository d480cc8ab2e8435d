"""Records of knowledge as JSON: what a hit is called, what no JSON can hold, conversations there and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ansambl.app.knowledge import documents as told
from ansambl.app.knowledge.uploads import DEEPEST, end_of, plain_folder, plain_name
from ansambl.domain.errors import NotFoundError, UsageError
from ansambl.domain.knowledge import Document, Found, Hit, Kind, Passage
from ansambl.domain.past_conversation import Branch, PastConversation, Speaker, Turn
from ansambl.domain.text import text
from ansambl.knowledge.contract import Refused, Report
from ansambl.testing.fake_knowledge import FakeKnowledge

FILE = Document(7, "docs", Kind.FILE, "/d/handbook.pdf", "handbook.pdf", time=1_754_500_000.0, language="en")
TALK = Document(8, "chats", Kind.CONVERSATION, "chatgpt:1", "Про деревья", "chatgpt", authors=("ChatGPT",))
PASSAGE = Passage(0, 0, 4, "text", headings=("One", "Two"))


@pytest.mark.parametrize(
    ("hit", "label"),
    [
        (Hit(1, 0.5, PASSAGE, FILE), "handbook.pdf"),
        (Hit(1, 0.5, replace(PASSAGE, page=3), FILE), "handbook.pdf, page 3"),
        (Hit(1, 0.5, replace(PASSAGE, page=3, label="Costs"), FILE), "handbook.pdf, Costs"),
        (Hit(1, 0.5, replace(PASSAGE, author="ChatGPT", time=1_754_560_000.0), TALK), "ChatGPT, 07.08.2025"),
        (Hit(1, 0.5, PASSAGE, TALK), "ChatGPT"),
        (Hit(1, 0.5, PASSAGE, replace(TALK, source="")), "Про деревья"),
    ],
)
def test_a_hit_is_called_as_it_is_cited(hit, label):
    assert told.label_of(hit, str) == label


def test_a_hit_has_the_promised_keys():
    found = told.search_document(Found((Hit(3, 0.25, replace(PASSAGE, page=2), FILE, ("text",), (4,)),)), str)
    (hit,) = json.loads(found.model_dump_json())["hits"]
    assert hit | {"id": 3, "duplicates": [4]} == hit
    promised = ("text", "score", "document", "collection", "heading", "page", "time", "author")
    assert [hit[name] for name in promised] == [
        "text", 0.25, "handbook.pdf", "docs", "One > Two", 2, 1_754_500_000.0, None,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "shown"), [("plain ё", "plain ё"), ("caf\udce9", r"caf\xe9"), ("half \ud800", r"half \ud800")]
)
def test_what_no_json_can_hold_is_written_out(words, shown):
    document = told.document_document(replace(FILE, title=words, place=words, facts={words: words}))
    again = json.loads(document.model_dump_json())
    assert (again["title"], again["place"], again["facts"]) == (shown, shown, {shown: shown})
    assert told.text_window(words, 0, 100) == (shown, None)


def test_a_conversation_comes_back_as_it_was():
    talk = PastConversation(
        "claude", "id-1", "Trees",
        (Turn(Speaker.USER, "Hi", 1.0, "Me", "a", ("x.png",)), Turn(Speaker.TOOL, "42", None, "python", "b")),
        branches=(Branch("a", (Turn(Speaker.ASSISTANT, "Other"),)),), created=1.0, updated=2.0, facts={"model": "m"},
        warnings=("one image was left out",),
    )  # fmt: skip
    document = json.loads(told.conversation_document(talk).model_dump_json())
    assert told.conversation_of(document) == talk


def test_a_report_names_the_first_refused_things_in_one_line_each():
    refused = tuple(Refused(f"/f{number}", text("two\nlines {n}", n=number)) for number in range(300))
    found = told.report_document(Report(added=1, refused=refused), str)
    assert (found.refused_count, len(found.refused)) == (300, told.MOST_REFUSED)
    assert found.refused[5].reason == "two lines 5"


def test_reasons_are_translated_for_their_reader():
    one = Refused("/f", text("it is encrypted"))
    assert told.refused_document(one, {"it is encrypted": "зашифрован"}.__getitem__).reason == "зашифрован"
    assert told.refused_document(Refused("/f", "as it is"), str.upper).reason == "as it is"


def test_an_empty_question_and_unknown_collections_are_refused():
    known = FakeKnowledge()
    known.create("garden")
    with pytest.raises(UsageError, match="empty"):
        told.search(known, {"query": " \n"}, None, str)
    with pytest.raises(NotFoundError, match="nearest: garden"):
        told.find_collection(known, "gardens")
    with pytest.raises(NotFoundError, match="knowledge list"):
        told.find_collection(known, "\x1b" * 500)


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("../../etc/passwd", "passwd"), (r"C:\notes\план.md", "план.md"), ("", "upload"), ("..", "upload"),
        ("a\x00\x1b[31m\u202eb.txt", "a[31mb.txt"), ("x" * 5000 + ".tar.gz", "x" * 193 + ".tar.gz"), ("/", "upload"),
        (".hidden", "hidden"), ("e\u0301.md", "é.md"),
    ],
)  # fmt: skip
def test_the_name_of_an_upload_is_no_path(name, plain):
    assert plain_name(name) == plain


@pytest.mark.parametrize(
    ("name", "end"), [("a.PDF", ".pdf"), ("a.tar.gz", ".tar.gz"), ("a", ""), ("a.b c", ""), ("a.план", "")]
)
def test_the_end_of_a_name_tells_its_format(name, end):
    assert end_of(name) == end


def test_folders_that_differ_far_above_are_not_the_same() -> None:
    """Two files fifty folders deep were one document: the second took the place of the first."""
    below = "/".join(f"level{one}" for one in range(40))
    one, other = plain_folder(f"top/first/{below}/"), plain_folder(f"top/second/{below}/")
    assert one != other
    assert one == plain_folder(f"top\\first\\{below}")
    for found in (one, other):
        assert found.count("/") == DEEPEST + 1
        assert found.endswith("/level38/level39/")
    near = "/".join(f"level{one}" for one in range(DEEPEST))
    assert plain_folder(near) == f"{near}/"
