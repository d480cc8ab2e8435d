"""The pages of knowledge over an admin API in memory: what they ask, and what they make of the answers."""

from __future__ import annotations

import json
import re

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ansambl.app.knowledge import documents as told
from ansambl.console.application import make_console
from ansambl.console.pages.knowledge import EXCERPT, documents_link, excerpt, found_hit, pieces, when
from ansambl.console.pages.knowledge.documents import BEFORE, TURNS, WINDOW, part_of
from ansambl.domain.errors import AnsamblError
from ansambl.domain.past_conversation import Branch, PastConversation, Speaker, Turn
from ansambl.testing.fake_knowledge import FakeKnowledge

NASTY = "<script>window.hacked=1</script>"
STATE = {
    "collections": 1, "documents": 1, "passages": 1, "pending": 0, "model": "m", "dimension": 1, "bundled": True,
    "rate": None, "seconds_to_embed": None, "index": "exact", "bytes": 5, "folders": [], "max_upload": 9, "max_file": 7,
}  # fmt: skip


class Admin:
    """As much of the admin API as the pages ask, over `FakeKnowledge`. `refused` is an error by beginning of path."""

    def __init__(self):
        self.known = FakeKnowledge()
        self.refused = {}
        self.searched = []
        self.me = {"key": None, "name": None, "endpoints": ["admin", "admin:read"], "names": None, "has_keys": True}
        self.app = Starlette(routes=[Route("/admin/api/{path:path}", self.answer, methods=["GET", "POST"])])

    async def answer(self, request):
        path = request.path_params["path"]
        for begin, (status, message) in self.refused.items():
            if path.startswith(begin):
                return JSONResponse({"error": {"message": message, "code": "x"}}, status)
        try:
            return JSONResponse(self.found(path, request.query_params, await request.body()))
        except AnsamblError as error:
            return JSONResponse({"error": {"message": str(error), "code": error.code}}, error.status)

    def found(self, path, query, body):
        known = self.known
        what, *rest = path.split("/")[1:] or [""]
        plain = {"me": self.me, "keys": {"keys": [{"id": "k1", "name": NASTY}]}, "knowledge": STATE}
        if path in plain or what == "jobs":
            return plain.get(path, {"jobs": []})
        if what == "search":
            self.searched.append(json.loads(body))
            return told.search(known, self.searched[-1], None, str).model_dump()
        if what == "collections":
            return {"collections": [told.collection_document(one).model_dump() for one in known.collections()]}
        if what == "conversations":
            return told.conversation_document(known.conversation(rest[0])).model_dump()
        return self.documents(what, rest, query)

    def documents(self, what, rest, query):
        known = self.known
        if what == "documents" and len(rest) == 2:
            passages = [one for one in known.passages(int(rest[0])) if one.number > int(query["after"])]
            return {"passages": [told.passage_document(one).model_dump() for one in passages[: int(query["limit"])]]}
        if what == "documents" and rest:
            one, text = known.document(int(rest[0]))
            part, following = told.text_window(text, int(query.get("start", 0)), int(query.get("length", 20_000)))
            return {"document": told.document_document(one).model_dump(), "text": part, "next": following}
        owned = [one for one in known.documents() if what == "documents" or one.owner]
        return {"documents": [told.document_document(one).model_dump() for one in owned], "next": None}


@pytest.fixture
def admin():
    return Admin()


@pytest.fixture
def client(admin):
    return TestClient(make_console(version="1", admin=admin.app))


def text_of(page):
    """What a reader sees of the text of a document."""
    found = re.search(r'<div class="read" dir="auto">(.*?)</div>', page, re.DOTALL)
    return found[1]


def test_a_name_or_a_text_with_markup_stays_text(admin, client):
    number = admin.known.put(f"papers {NASTY}", f"{NASTY}.md", f"A pump {NASTY} {{{{ 7*7 }}}}", owner="k1")
    for path in ("", "?q=pump", "/documents", f"/documents/{number}", f"/documents/{number}?passage=0"):
        page = client.get(f"/console/knowledge{path}").text
        assert NASTY not in page, path
        assert "&lt;script&gt;" in page, path
        assert re.findall(r"<script(?![^>]*(?:src=|application/json))", page) == []
        assert re.findall(r"\son\w+=|\sstyle=", page) == []


def test_the_words_of_a_search_are_marked_and_its_filters_are_sent(admin, client):
    admin.known.put("papers", "pump.md", "The pump. A second pump.")
    page = client.get(
        "/console/knowledge?q=pump&collection=papers&kind=file&author=&since=2025-01-01&until=2025-01-02&words=1"
    )
    asked = admin.searched[-1]
    assert (asked["collections"], asked["kinds"], asked["words_only"]) == (["papers"], ["file"], True)
    assert "authors" not in asked
    assert asked["until"] - asked["since"] == 2 * 86_400
    assert page.text.count("<mark>pump</mark>") == 0
    part = client.get("/console/knowledge?q=pump", headers={"hx-request": "true"}).text
    assert part.count("<mark>pump</mark>") == 2
    assert "<html" not in part
    assert '/console/knowledge/documents/1?passage=0"' in part
    # A browser that goes back wants the page.
    back = {"hx-request": "true", "hx-history-restore-request": "true"}
    assert "<html" in client.get("/console/knowledge?q=pump", headers=back).text
    wrong = client.get("/console/knowledge?q=pump&until=9999-12-31")
    assert (wrong.status_code, "must be a day" in wrong.text) == (400, True)
    # The first and the last day of the calendar have moments that none holds; which of them depends on the time zone.
    for day in ("0001-01-01", "9999-12-31", "1969-12-31T00:00:00+99:00", "２０２５-01-01"):
        for name in ("since", "until"):
            assert client.get(f"/console/knowledge?q=pump&{name}={day}").status_code in (200, 400)


def test_a_passage_stands_in_its_text_with_what_is_around_it(admin, client):
    words = "x" * (BEFORE + 500)
    number = admin.known.put("papers", "long.md", f"{words}\n\nThe pump.\n\n" + "y" * (WINDOW + 10))
    page = client.get(f"/console/knowledge/documents/{number}?passage=1").text
    read = text_of(page)
    assert '<mark id="passage" tabindex="-1">The pump.</mark>' in read
    assert read.index("x") == 0
    assert read.count("x") < BEFORE + 500
    assert f'href="/console/knowledge/documents/{number}?start=0"' in page
    later = re.search(rf'href="(/console/knowledge/documents/{number}\?start=\d+)" rel="next"', page)[1]
    assert set(text_of(client.get(later).text).strip()) == {"y"}
    gone = client.get(f"/console/knowledge/documents/{number}?passage=99").text
    assert "has this passage no more" in gone
    assert 'id="passage"' not in gone
    for odd in ("x", "-1", "9" * 30, "%00"):
        assert client.get(f"/console/knowledge/documents/{number}?passage={odd}&start={odd}").status_code == 200


def test_every_character_of_a_document_is_on_one_of_its_parts(admin, client):
    whole = "".join(chr(0x4E00 + number % 5000) for number in range(2 * WINDOW + 7))
    number = admin.known.put("papers", "long.md", whole)
    path, seen = f"/console/knowledge/documents/{number}", ""
    while path:
        page = client.get(path).text
        seen += text_of(page)
        following = re.search(r'href="([^"]+)" rel="next"', page)
        path = following[1] if following else None
    assert seen == whole


def test_a_conversation_is_shown_as_turns_and_its_passage_is_found_in_them(admin, client):
    turns = tuple(
        Turn(
            Speaker.USER if number % 2 == 0 else Speaker.ASSISTANT, f"Words of number {number}.", None, "", f"t{number}"
        )
        for number in range(100)
    )
    branch = Branch("t3", (Turn(Speaker.ASSISTANT, "Another answer.", None, "", "b1"),))
    talk = PastConversation("chatgpt", "c", NASTY, turns, (branch,), created=1.0)
    number = admin.known.remember(talk, "memory", "k1")
    page = client.get(f"/console/knowledge/documents/{number}").text
    assert page.count('<article class="turn') == TURNS
    assert f"/console/chat?continue={number}" in page
    assert NASTY not in page
    document = told.conversation_document(talk).model_dump()
    at = part_of(document, {"turn": "t70", "text": ""}, None)
    assert at.turns[at.at]["id"] == "t70"
    other = part_of(document, {"turn": "b1", "text": ""}, None)
    assert (other.at, other.branch[other.branch_at]["text"]) == (None, "Another answer.")
    nowhere = part_of(document, {"turn": "gone", "text": ""}, None)
    assert (nowhere.at, nowhere.first, nowhere.earlier) == (None, 1, None)
    last = part_of(document, None, 10**12)
    assert (last.first, last.last, last.later) == (100, 100, None)


def test_a_key_that_may_not_read_the_admin_api_reads_by_v1(admin, client):
    admin.refused["knowledge"] = (403, "This API key may not use 'admin:read'.")
    admin.me = {**admin.me, "key": "k1", "name": "reader", "endpoints": ["knowledge"]}
    page = client.get("/console/knowledge/documents/7?passage=3")
    assert page.status_code == 200
    data = re.search(r'id="reading-data">(.*?)</script>', page.text)[1]
    assert json.loads(data) == {"document": 7, "passage": 3}
    search = client.get("/console/knowledge")
    assert search.status_code == 200
    assert 'id="q"' in search.text
    assert 'type="file"' not in search.text
    admin.me["endpoints"] = ["chat"]
    for path in ("", "/documents", "/documents/7?passage=3"):
        refused = client.get(f"/console/knowledge{path}")
        assert refused.status_code == 403
        assert "may not use &#39;knowledge&#39;" in refused.text


def test_what_is_missing_is_said_in_one_line_on_the_page_itself(admin, client):
    admin.refused["knowledge"] = (501, "Knowledge needs its libraries; install them: pip install 'ansambl[knowledge]'")
    page = client.get("/console/knowledge")
    assert page.status_code == 501
    assert "pip install" in page.text
    assert '<a href="/console/knowledge" aria-current="page"' in page.text
    admin.refused["knowledge"] = (404, "There is no document with the number 5.")
    below = client.get("/console/knowledge/documents/5")
    assert '<a href="/console/knowledge" aria-current="page"' in below.text


@pytest.mark.parametrize(
    ("text", "marks", "expected"),
    [
        ("", [], []),
        ("abc", [], [("abc", False)]),
        ("abc", [(0, 3)], [("abc", True)]),
        ("abcd", [(1, 2), (2, 3)], [("a", False), ("b", True), ("c", True), ("d", False)]),
    ],
)
def test_a_text_is_parted_at_its_marks(text, marks, expected):
    assert pieces(text, marks) == expected


def test_a_hit_shows_the_part_of_its_passage_where_the_words_are():
    text = "x" * 3000 + " pump " + "y" * 3000
    shown = excerpt(text, [(3001, 3005), (5900, 5901)])
    assert [marked for _, marked in shown] == [False, False, True, False, False]
    assert shown[2] == ("pump", True)
    assert (shown[0][0], shown[-1][0]) == ("… ", " …")
    assert len("".join(words for words, _ in shown[1:-1])) == EXCERPT
    assert excerpt("short pump", [(6, 10)]) == [("short ", False), ("pump", True)]
    assert excerpt(text, [])[0] == ("x" * EXCERPT, False)


def test_moments_that_no_calendar_holds_are_left_out():
    assert when(None) == when(1e300) == when(float("nan")) == ""
    assert re.fullmatch(r"2025-08-\d\d", when(1_754_500_000.0, day=True))
    assert documents_link(collection="a&b/ю", after=None) == "/console/knowledge/documents?collection=a%26b%2F%D1%8E"


def test_a_hit_in_a_conversation_says_who_and_when_once():
    one = {
        "document_id": 4, "number": 0, "document": "Borscht", "kind": "conversation", "label": "ChatGPT, 14.11.2023",
        "heading": "", "author": "ChatGPT", "time": 1_700_000_000.0, "text": "beetroot", "marks": [],
    }  # fmt: skip
    assert found_hit(one)["about"] == []
    # Who is not known stands in the label alone; of a file the label says the page.
    assert found_hit({**one, "author": None})["about"] == ["ChatGPT, 14.11.2023"]
    manual = {**one, "kind": "file", "document": "pump.pdf", "label": "pump.pdf, page 3", "author": "pump"}
    assert found_hit({**manual, "heading": "Filters"})["about"] == ["pump.pdf, page 3", "Filters"]
