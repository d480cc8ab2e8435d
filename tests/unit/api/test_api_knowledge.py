"""The admin API's routes for knowledge, over knowledge in memory: what each answers, to whom, and in which words."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import threading
import time
from types import SimpleNamespace

import httpx
import msgspec
import pytest

from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import ApiKey, digest_of, new_id, new_secret
from ansambl.api.routes import make_admin_api
from ansambl.app.admin.desk import Desk
from ansambl.app.admin.knowledge import ProductKnowledge
from ansambl.app.admin.knowledge_work import ProductKnowledgeWork
from ansambl.app.knowledge import uploads
from ansambl.app.knowledge.jobs import JobDesk
from ansambl.app.knowledge.uploads import RESERVE
from ansambl.domain.access import Endpoint
from ansambl.domain.past_conversation import Branch, PastConversation, Speaker, Turn
from ansambl.domain.text import text
from ansambl.domain.units import MIB
from ansambl.foundation.clock import VirtualClock
from ansambl.foundation.paths import DataPaths
from ansambl.gateway.front.peers import is_local
from ansambl.knowledge.contract import Refused, Report
from ansambl.testing.fake_knowledge import FakeKnowledge

TOKEN = "the-token-of-this-run"
TALK = PastConversation(
    "chatgpt", "67f-1", "Про деревья",
    (
        Turn(Speaker.USER, "Что такое клён?", 1_754_500_000.0, "", "a"),
        Turn(Speaker.ASSISTANT, "Клён — дерево с резными листьями.", 1_754_500_100.0, "ChatGPT", "b", ("leaf.png",)),
    ),
    branches=(Branch("a", (Turn(Speaker.ASSISTANT, "Другой ответ.", None, "ChatGPT", "c"),)),), created=1_754_500_000.0,
)  # fmt: skip


class Present:
    """The controls of the test that runs: the application takes long to make, and is one for all of them."""

    def __init__(self):
        self.controls = None

    def __getattr__(self, name):
        return getattr(self.controls, name)


class Application:
    def __init__(self):
        self.door = KeyDoor(TOKEN, VirtualClock(1_790_000_000.0))
        self.knowledge, self.work = Present(), Present()
        anything = SimpleNamespace()
        self.asgi = make_admin_api(
            anything, anything, self.door, is_local=is_local, knowledge=self.knowledge, knowledge_work=self.work
        )  # fmt: skip


@pytest.fixture(scope="module")
def application():
    return Application()


class Stage:
    def __init__(self, folder, application):
        self.folder = folder
        self.known = FakeKnowledge()
        self.jobs = JobDesk(VirtualClock(1_790_000_000.0))
        self.roots, self.forgotten = (), []
        self.largest, self.max_file = 1 * MIB, 2 * MIB
        self.door = application.door
        self.desk = Desk(at_once=4, waiting=200)
        loaded = SimpleNamespace(settings=SimpleNamespace(knowledge=self))
        application.knowledge.controls = ProductKnowledge(
            self.known, self.desk, lambda: loaded, self.forgotten.extend
        )  # fmt: skip
        application.work.controls = ProductKnowledgeWork(
            self.known, self.jobs, self.desk, lambda: loaded, DataPaths(folder / "data")
        )
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(application.asgi, raise_app_exceptions=False), base_url="http://localhost"
        )

    @property
    def max_upload(self):
        return self.largest

    def key(self, *endpoints):
        secret, name = new_secret(), new_id()
        self.door.add(ApiKey(name, name, digest_of(secret), secret[:12], endpoints=frozenset(endpoints)))
        return secret, name

    async def call(self, method, path, body=None, secret=TOKEN, **more):
        headers = {"authorization": f"Bearer {secret}", **more.pop("headers", {})}
        return await self.client.request(
            method, f"/admin/api/knowledge{path}", headers=headers, json=body, **more
        )  # fmt: skip

    async def finished(self, answer):
        assert answer.status_code == 202, answer.text
        job = answer.json()
        end = time.monotonic() + 20
        while job["state"] in {"waiting", "running"}:
            assert time.monotonic() < end, job
            await asyncio.sleep(0.01)
            job = (await self.call("GET", f"/jobs/{job['id']}")).json()
        return job

    @property
    def left_over(self):
        folder = self.folder / "data" / "knowledge" / "uploads"
        return list(folder.iterdir()) if folder.exists() else []


@pytest.fixture
async def stage(tmp_path, application):
    found = Stage(tmp_path, application)
    yield found
    await found.client.aclose()
    found.jobs.close()
    found.desk.close()


def error_of(answer):
    return answer.json()["error"]


async def test_a_folder_is_taken_in_and_found(stage, tmp_path):
    notes = tmp_path / "заметки"
    notes.mkdir()
    (notes / "trees.md").write_text("# Trees\n\nA maple has five lobes.", encoding="utf-8")
    (notes / "photo.jpg").write_bytes(b"\xff\xd8\xff")
    job = await stage.finished(await stage.call("POST", "/add", {"place": str(notes), "collection": "garden"}))
    assert (job["kind"], job["state"], job["report"]["added"], job["error"]) == ("add", "done", 1, None)
    assert job["report"]["refused"] == [{"place": str(notes / "photo.jpg"), "reason": "is not text"}]
    assert job["report"]["refused_count"] == 1
    found = (await stage.call("POST", "/search", {"query": "maple lobes", "collections": ["garden"]})).json()
    (hit,) = found["hits"]
    assert set(hit) >= {"text", "score", "document", "collection", "heading", "page", "time", "author"}
    assert (hit["document"], hit["collection"], hit["heading"]) == ("trees.md", "garden", "Trees")
    one = (await stage.call("GET", "/documents", params={"collection": "garden"})).json()
    assert [each["title"] for each in one["documents"]] == ["trees.md"]
    listed = (await stage.call("GET", "/collections")).json()["collections"]
    assert [(each["name"], each["documents"]) for each in listed] == [("garden", 1)]
    assert [each["id"] for each in (await stage.call("GET", "/jobs")).json()["jobs"]] == [job["id"]]


async def test_a_text_is_read_a_window_at_a_time_and_documents_a_page_at_a_time(stage):
    numbers = [stage.known.put("c", f"doc {number}", "абвгд " * 10) for number in range(5)]
    parts, start = [], 0
    while start is not None:
        found = (await stage.call("GET", f"/documents/{numbers[0]}?start={start}&length=7")).json()
        parts.append(found["text"])
        start = found["next"]
    assert "".join(parts) == "абвгд " * 10
    pages, after = [], 0
    while after is not None:
        found = (await stage.call("GET", f"/documents?after={after}&limit=2")).json()
        pages.append([one["id"] for one in found["documents"]])
        after = found["next"]
    assert pages == [numbers[:2], numbers[2:4], numbers[4:]]


async def test_passages_come_a_page_at_a_time(stage):
    number = stage.known.put("c", "doc", "one\n\ntwo\n\nthree")
    first = (await stage.call("GET", f"/documents/{number}/passages?limit=2")).json()
    rest = (await stage.call("GET", f"/documents/{number}/passages?after={first['next']}")).json()
    assert [one["text"] for one in first["passages"] + rest["passages"]] == ["one", "two", "three"]
    assert rest["next"] is None


async def test_what_is_not_there_is_404_in_one_line(stage):
    stage.known.create("garden")
    for method, path in (
        ("GET", "/documents/99"), ("GET", "/documents/99/passages"), ("DELETE", "/documents/99"),
        ("GET", "/collections/gardn"), ("DELETE", "/collections/gardn"), ("GET", "/conversations/none"),
        ("GET", "/jobs/job-x"), ("POST", "/jobs/job-x/stop"), ("DELETE", "/memory/99"),
        ("DELETE", "/folders?path=/nowhere"), ("GET", "/documents?collection=gardn"),
    ):  # fmt: skip
        answer = await stage.call(method, path)
        assert answer.status_code == 404, (method, path, answer.text)
        assert "\n" not in error_of(answer)["message"]
    assert "nearest: garden" in error_of(await stage.call("GET", "/collections/gardn"))["message"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"place": "notes"}, 400, "absolute"), ({"place": "/nowhere/at/all"}, 400, "nothing at"),
        ({"place": "/x\0y"}, 400, "absolute"), ({"place": ""}, 422, "place"), ({"place": "ftp://x/y"}, 400, "absolute"),
        ({"place": "/" + "x" * 5000}, 400, "nothing at"),
        ({"place": "https://example.org/", "watch": True}, 400, "step"),
        ({"place": "/", "colection": "c"}, 422, "colection"), ({"place": "/", "collection": ""}, 422, "collection"),
    ],
)  # fmt: skip
async def test_a_place_that_cannot_be_read_is_refused_in_words(stage, body, status, words):
    answer = await stage.call("POST", "/add", body)
    assert answer.status_code == status, answer.text
    assert words in error_of(answer)["message"]
    assert stage.jobs.jobs() == []


async def test_keys_add_files_below_the_roots_alone(stage, tmp_path):
    secret, _ = stage.key(Endpoint.ADMIN)
    inside, outside = tmp_path / "in", tmp_path / "out"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "a.txt").write_text("words", encoding="utf-8")
    (inside / "link.txt").symlink_to(outside / "a.txt")
    refused = await stage.call("POST", "/add", {"place": str(inside / "a.txt")}, secret)
    assert (refused.status_code, "roots" in error_of(refused)["message"]) == (403, True)
    # A page is no file of this machine: only addresses that are public are fetched, whoever asks.
    assert (await stage.call("POST", "/add", {"place": "HTTPS://127.0.0.1/"}, secret)).status_code == 202
    stage.roots = (str(inside),)
    for place in (outside / "a.txt", inside / ".." / "out" / "a.txt", inside / "link.txt", inside.parent):
        for path, field in (("/add", "place"), ("/import-chats", "path")):
            refused = await stage.call("POST", path, {field: str(place)}, secret)
            assert refused.status_code == 403, (path, place)
            assert "roots" in error_of(refused)["message"]
    job = await stage.finished(await stage.call("POST", "/add", {"place": str(inside / "a.txt")}, secret))
    assert job["report"]["added"] == 1
    # The owner's own commands are not bound.
    job = await stage.finished(await stage.call("POST", "/add", {"place": str(outside / "a.txt")}))
    assert job["report"]["added"] == 1


async def test_an_upload_is_written_read_and_removed(stage):
    body = "# План\n\nКупить клён.".encode()
    answer = await stage.call("POST", "/uploads", params={"name": "../../план.md"}, content=body)
    job = await stage.finished(answer)
    assert (job["state"], job["place"], job["collection"]) == ("done", "upload:план.md", "documents")
    (one,) = (await stage.call("GET", "/documents")).json()["documents"]
    assert one["place"] == "upload:план.md"
    await wait_until(lambda: not stage.left_over)
    # The same name again is the same document.
    again = await stage.finished(await stage.call("POST", "/uploads", params={"name": "план.md"}, content=b"other"))
    assert (again["report"]["added"], again["report"]["updated"]) == (0, 1)


async def test_files_of_one_name_in_two_folders_are_two_documents(stage):
    for folder, words in (("a/b", b"first"), ("c", b"second"), ("../..//c\\", b"third"), ("", b"fourth")):
        params = {"name": "notes.md", "folder": folder}
        await stage.finished(await stage.call("POST", "/uploads", params=params, content=words))
    found = (await stage.call("GET", "/documents")).json()["documents"]
    assert [one["place"] for one in found] == ["upload:a/b/notes.md", "upload:c/notes.md", "upload:notes.md"]
    assert found[1]["characters"] == len("third")


async def test_the_limits_of_what_is_sent_are_told_with_the_state(stage):
    state = (await stage.call("GET", "")).json()
    assert (state["max_upload"], state["max_file"]) == (1 * MIB, 2 * MIB)


async def test_a_hit_says_where_it_stands_and_where_the_words_of_the_question_are(stage):
    stage.known.put("papers", "lease.md", "A first line.\n\nКлён у дома, клёны в парке.")
    asked = {"query": "где клён", "marks": True}
    (hit,) = (await stage.call("POST", "/search", asked)).json()["hits"]
    document = (await stage.call("GET", f"/documents/{hit['document_id']}")).json()["text"]
    assert document[hit["start"] : hit["end"]] == hit["text"]
    assert [hit["text"][start:end] for start, end in hit["marks"]] == ["Клён", "клёны"]
    (unmarked,) = (await stage.call("POST", "/search", {"query": "где клён"})).json()["hits"]
    assert unmarked["marks"] == []
    (one,) = (await stage.call("GET", "/collections")).json()["collections"]
    assert one["characters"] == len(document)


async def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def test_an_upload_that_is_too_large_leaves_nothing(stage):
    stage.largest = 100_000

    async def endless():
        while True:
            yield b"x" * 50_000

    announced = await stage.call("POST", "/uploads", params={"name": "a.txt"}, content=b"x" * 100_001)
    unannounced = await stage.call("POST", "/uploads", params={"name": "a.txt"}, content=endless())
    empty = await stage.call("POST", "/uploads", params={"name": "a.txt"}, content=b"")
    for answer, status in ((announced, 413), (unannounced, 413), (empty, 400)):
        assert answer.status_code == status, answer.text
    assert "max_upload" in error_of(announced)["message"]
    assert stage.left_over == []
    assert stage.jobs.jobs() == []


async def test_a_refused_upload_is_called_by_its_own_name(stage):
    job = await stage.finished(await stage.call("POST", "/uploads", params={"name": "a.bin"}, content=b"\xff"))
    assert job["report"]["refused"] == [{"place": "upload:a.bin", "reason": "is not text"}]


async def test_a_full_disk_is_said_in_words_and_nothing_is_left(stage, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=RESERVE))
    answer = await stage.call("POST", "/uploads", params={"name": "a.txt"}, content=b"words")
    assert (answer.status_code, error_of(answer)["code"]) == (503, "disk_full")
    monkeypatch.undo()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(uploads.os, "fdopen", lambda descriptor, _: SimpleNamespace(
        write=full, close=lambda: os.close(descriptor)))  # fmt: skip
    answer = await stage.call("POST", "/uploads", params={"name": "a.txt"}, content=b"words")
    assert (answer.status_code, error_of(answer)["code"]) == (503, "disk_full")
    assert stage.left_over == []


async def test_an_upload_larger_than_other_bodies_is_taken(stage):
    stage.largest = 4 * MIB
    body = b"word " * 500_000
    job = await stage.finished(await stage.call("POST", "/uploads", params={"name": "big.txt"}, content=body))
    assert job["report"]["added"] == 1
    assert (await stage.call("POST", "/search", content=b"x" * 1_100_000)).status_code == 413


async def test_what_an_earlier_run_left_of_uploads_is_removed(stage):
    folder = stage.folder / "data" / "knowledge" / "uploads"
    folder.mkdir(parents=True)
    (folder / "upload-old.pdf").write_bytes(b"half")
    await stage.finished(await stage.call("POST", "/uploads", params={"name": "a.txt"}, content=b"new"))
    await wait_until(lambda: not stage.left_over)


async def test_the_order_of_dates_reaches_the_import(stage, tmp_path, monkeypatch):
    export = tmp_path / "conversations.json"
    export.write_bytes(msgspec.json.encode([TALK]))
    asked = []
    really = FakeKnowledge.import_chats

    def imported(*given, **more):
        asked.append(more["day_first"])
        return really(*given, **more)

    monkeypatch.setattr(FakeKnowledge, "import_chats", imported)
    for order in (None, True, False):
        body = {"path": str(export), "day_first": order}
        await stage.finished(await stage.call("POST", "/import-chats", body))
    params = {"name": "c.json", "chats": "true", "day_first": "false"}
    await stage.finished(await stage.call("POST", "/uploads", params=params, content=export.read_bytes()))
    assert asked == [None, True, False, False]


async def test_an_export_is_imported_and_a_conversation_told_whole(stage, tmp_path):
    export = tmp_path / "conversations.json"
    export.write_bytes(msgspec.json.encode([TALK]))
    job = await stage.finished(await stage.call("POST", "/import-chats", {"path": str(export)}))
    assert (job["collection"], job["report"]["added"]) == ("chats", 1)
    (one,) = (await stage.call("GET", "/conversations")).json()["conversations"]
    assert (one["id"], one["title"], one["source"]) == ("67f-1", "Про деревья", "chatgpt")
    whole = (await stage.call("GET", f"/conversations/{one['id']}")).json()
    assert [turn["text"] for turn in whole["turns"]] == [turn.text for turn in TALK.turns]
    assert whole["turns"][1] == {
        "speaker": "assistant", "text": "Клён — дерево с резными листьями.", "time": 1_754_500_100.0,
        "author": "ChatGPT", "id": "b", "attachments": ["leaf.png"],
    }  # fmt: skip
    assert [branch["after"] for branch in whole["branches"]] == ["a"]
    (hit, *_) = (await stage.call("POST", "/search", {"query": "клён листьями", "roles": ["assistant"]})).json()["hits"]
    assert hit["label"].startswith("ChatGPT, ")
    assert (hit["role"], hit["author"], hit["kind"]) == ("assistant", "ChatGPT", "conversation")


async def test_memory_is_its_owners_and_forgotten_by_one_or_all(stage):
    reader, mine = stage.key(Endpoint.ADMIN_READ)
    own = stage.known.remember(TALK, "memory", mine)
    others = stage.known.remember(TALK, "memory", "somebody")
    third = stage.known.put("memory", "note", "клён у дома", owner="somebody", place="/n")
    everybodys = stage.known.put("docs", "book", "клён")
    seen = {one["document_id"] for one in (await search(stage, "клён", reader))["hits"]}
    assert seen == {own, everybodys}
    assert {one["document_id"] for one in (await search(stage, "клён", TOKEN))["hits"]} == {
        own, others, third, everybodys,
    }  # fmt: skip
    for number, status in ((own, 200), (others, 404), (everybodys, 200)):
        assert (await stage.call("GET", f"/documents/{number}", secret=reader)).status_code == status
        assert (await stage.call("GET", f"/documents/{number}/passages", secret=reader)).status_code == status
    listed = (await stage.call("GET", "/memory", secret=reader)).json()["documents"]
    assert [one["id"] for one in listed] == [own]
    assert (await stage.call("GET", "/memory?owner=somebody", secret=reader)).status_code == 403
    assert [one["id"] for one in (await stage.call("GET", "/memory")).json()["documents"]] == [own, others, third]
    # A document of everybody's is no memory.
    assert (await stage.call("DELETE", f"/memory/{everybodys}")).status_code == 404
    assert (await stage.call("DELETE", f"/memory/{own}")).json() == {"removed": 1}
    assert (await stage.call("DELETE", "/memory?owner=somebody")).json() == {"removed": 2}
    assert (await stage.call("DELETE", "/memory")).status_code == 422
    assert stage.forgotten == [own, others, third]
    assert [one.id for one in stage.known.documents()] == [everybodys]


async def search(stage, query, secret):
    return (await stage.call("POST", "/search", {"query": query}, secret)).json()


async def test_removing_a_collection_tells_how_much_it_was(stage):
    numbers = [stage.known.put("c", f"d{number}", "text") for number in range(3)]
    assert (await stage.call("DELETE", "/collections/c")).json() == {"removed": 3}
    assert stage.forgotten == numbers
    assert (await stage.call("GET", "/collections")).json() == {"collections": []}


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"query": "  "}, 400, "empty"), ({}, 422, "query"), ({"query": "x" * 4001}, 422, "query"),
        ({"query": "x", "limit": 0}, 422, "limit"), ({"query": "x", "limit": 101}, 422, "limit"),
        ({"query": "x", "kinds": ["book"]}, 422, "kinds"), ({"query": "x", "collections": ["nope"]}, 404, "nope"),
        ({"query": "x", "since": "yesterday"}, 422, "since"), ({"query": "x", "owners": ["a"]}, 422, "owners"),
    ],
)  # fmt: skip
async def test_a_search_that_cannot_be_says_why(stage, body, status, words):
    answer = await stage.call("POST", "/search", body)
    assert answer.status_code == status, answer.text
    assert words in error_of(answer)["message"]


async def test_filters_of_a_search_arrive(stage):
    body = {
        "query": "x", "kinds": ["page"], "sources": ["chatgpt"], "authors": ["A"], "roles": ["user"],
        "languages": ["ru"], "since": 1.0, "until": 2.0, "documents": [7], "limit": 3, "words_only": True,
    }  # fmt: skip
    answer = (await stage.call("POST", "/search", body)).json()
    assert (answer["hits"], answer["vectors"]) == ([], False)
    ((query, filters),) = stage.known.searched
    assert query == "x"
    assert (filters.since, filters.until, filters.documents, filters.owners) == (1.0, 2.0, (7,), None)
    assert [one.value for one in filters.kinds] == ["page"]
    assert (filters.sources, filters.authors, filters.roles, filters.languages) == (
        ("chatgpt",), ("A",), ("user",), ("ru",),
    )  # fmt: skip


async def test_a_job_is_stopped_and_another_goes_on(stage):
    begun = threading.Event()

    def waits(watch, stopped):
        begun.set()
        end = time.monotonic() + 20
        while not stopped() and time.monotonic() < end:
            time.sleep(0.005)
        return Report(added=3)

    job = stage.jobs.start("add", waits, place="/long")
    await asyncio.to_thread(begun.wait, 20)
    asked = await stage.call("POST", f"/jobs/{job.id}/stop")
    assert asked.status_code == 200
    ended = await stage.finished(httpx.Response(202, json=asked.json()))
    assert (ended["state"], ended["report"]["added"]) == ("stopped", 3)


async def test_reasons_and_errors_are_in_the_readers_language_and_bounded(stage):
    refused = tuple(Refused(f"/f{number}", text("there is no room")) for number in range(500))
    job = stage.jobs.start("add", lambda *_: Report(refused=refused))
    found = await stage.finished(httpx.Response(202, json=(await stage.call("GET", f"/jobs/{job.id}")).json()))
    assert found["report"]["refused_count"] == 500
    assert len(found["report"]["refused"]) == 200
    assert found["report"]["refused"][0] == {"place": "/f0", "reason": "there is no room"}


async def test_embedding_is_one_job_however_often_it_is_asked_for(stage):
    stage.known.vectors = False
    stage.known.put("c", "d", "text")
    assert (await stage.call("GET", "")).json()["pending"] == 1
    job = await stage.finished(await stage.call("POST", "/embed"))
    assert (job["kind"], job["report"]["embedded"]) == ("embed", 1)
    assert (await stage.call("GET", "")).json()["pending"] == 0


async def test_an_add_that_wants_vectors_is_followed_by_a_job_of_its_own(stage, tmp_path):
    stage.known.vectors = False
    (tmp_path / "a.txt").write_text("words", encoding="utf-8")
    await stage.finished(await stage.call("POST", "/add", {"place": str(tmp_path / "a.txt"), "embed": True}))
    await wait_until(lambda: {one.kind for one in stage.jobs.jobs()} == {"add", "embed"})
    await wait_until(lambda: all(one.over for one in stage.jobs.jobs()))
    (tmp_path / "b.txt").write_text("words", encoding="utf-8")
    await stage.finished(await stage.call("POST", "/add", {"place": str(tmp_path / "b.txt"), "embed": False}))
    assert [one.kind for one in stage.jobs.jobs()].count("embed") == 1


async def test_folders_are_kept_in_step_and_left(stage, tmp_path):
    await stage.finished(await stage.call("POST", "/add", {"place": str(tmp_path), "watch": True, "collection": "c"}))
    assert (await stage.call("GET", "/folders")).json() == {"folders": [{"path": str(tmp_path), "collection": "c"}]}
    left = await stage.call("DELETE", "/folders", params={"path": str(tmp_path)})
    assert left.json() == {"folders": []}


async def test_words_that_no_json_can_hold_do_not_break_an_answer(stage):
    number = stage.known.put("c", "na\udcffme", "half a pair", place="/d/na\udcffme")
    found = await stage.call("GET", f"/documents/{number}")
    assert found.status_code == 200
    assert found.json()["document"]["place"] == r"/d/na\xffme"
    assert (await stage.call("POST", "/search", {"query": "half"})).json()["hits"][0]["document"] == r"na\xffme"


async def test_fifty_searches_at_once_are_all_answered(stage):
    stage.known.put("c", "d", "maple")
    answers = await asyncio.gather(*(stage.call("POST", "/search", {"query": "maple"}) for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
