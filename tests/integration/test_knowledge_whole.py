"""Everything real: reading in child processes, an index in its own, the bundled model of vectors."""

from __future__ import annotations

import http.server
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ansambl.domain.knowledge import Filters
from ansambl.knowledge.base import KnowledgeBase, KnowledgeLimits
from ansambl.knowledge.embedders.bundled import BundledEmbedder, is_installed
from ansambl.knowledge.passages.limits import PassageLimits

LIMIT = 60.0
ENGLISH = "# Cooling\n\nThe pump runs at night. It cools the reactor with water from the river.\n"
RUSSIAN = "# Кошки\n\nКошка спит на крыше дома, пока хозяева на работе.\n"
OTHER = "# Baking\n\nMix flour, sugar and apples. Bake the cake for an hour.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "documents"
    (found / "drafts").mkdir(parents=True)
    for name, text in (("pump.md", ENGLISH), ("кошка.md", RUSSIAN), ("cake.md", OTHER), ("drafts/x.md", "zebra")):
        (found / name).write_text(text, encoding="utf-8")
    (found / ".gitignore").write_text("drafts/\n", encoding="utf-8")
    return found


@pytest.mark.skipif(not is_installed(), reason="the bundled model is part of the extra 'knowledge'")
def test_a_question_in_one_language_finds_what_is_said_in_another(tmp_path: Path, folder: Path) -> None:
    embedder = BundledEmbedder()
    knowledge = KnowledgeBase(tmp_path / "knowledge", embedder=embedder)
    try:
        report = knowledge.add(str(folder), "house")
        assert (report.added, report.embedded) == (3, 3)
        for question, title in (
            ("Чем охлаждают реактор?", "Cooling"),
            ("Where does the cat sleep?", "Кошки"),
            ("Как испечь пирог с яблоками?", "Baking"),
        ):
            hit = knowledge.search(question, Filters(collections=("house",))).hits[0]
            assert (hit.document.title, hit.by[0]) == (title, "vector")
        assert knowledge.state().bundled
    finally:
        knowledge.close()
        embedder.close()


def test_the_index_may_die_at_any_time(tmp_path: Path, folder: Path) -> None:
    knowledge = KnowledgeBase(tmp_path / "knowledge", embedder=None)
    try:
        for number in range(5):
            (folder / f"{number}.md").write_text(f"Note {number} tells of lamps.", encoding="utf-8")
            killed = {
                one.pid for one in psutil.Process().children() if "ansambl.knowledge.index.child" in one.cmdline()
            }
            assert killed
            for one in killed:
                os.kill(one, signal.SIGKILL)
            assert knowledge.add(str(folder), "house").added == (4 if number == 0 else 1)
            titles = {hit.document.place for hit in knowledge.search("lamps").hits}
            assert titles == {str(folder / f"{one}.md") for one in range(number + 1)}
    finally:
        knowledge.close()


def test_limits_of_passages_reach_the_child_that_reads(tmp_path: Path, folder: Path) -> None:
    (folder / "long.md").write_text("".join(f"Sentence {one} is of pumps. " for one in range(60)), encoding="utf-8")
    counts = []
    for tokens in (32, 256):
        limits = KnowledgeLimits(passages=PassageLimits(tokens=tokens, whole=tokens + 32, overlap=8))
        knowledge = KnowledgeBase(tmp_path / "knowledge", embedder=None, index="exact", settings=limits)
        if tokens == 32:
            knowledge.add(str(folder), "house")
        # With other limits what is there is divided anew.
        assert knowledge.settled(LIMIT)
        counts.append(knowledge.documents(text="long.md")[0].passages)
        knowledge.close()
    assert counts[0] > 2 * counts[1] > 0


class _Page(http.server.BaseHTTPRequestHandler):
    body = b"<html><head><title>Lamps</title></head><body><h1>Lamps</h1><p>All about lamps.</p></body></html>"

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/lamps" else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_page_of_the_web_is_taken_in_and_kept_in_its_newest_state(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "knowledge"
    knowledge = KnowledgeBase(
        place, embedder=None, index="exact", settings=KnowledgeLimits(allow_private_addresses=True)
    )
    try:
        assert knowledge.add(f"{address}/lamps", "web").added == 1
        assert knowledge.add(f"{address}/lamps", "web").unchanged == 1
        monkeypatch.setattr(_Page, "body", b"<html><title>Lamps</title><body><p>Nothing but zebras.</p></body></html>")
        assert knowledge.add(f"{address}/lamps", "web").updated == 1
        (hit,) = knowledge.search("zebra").hits
        assert (hit.document.place, hit.document.kind) == (f"{address}/lamps", "page")
        report = knowledge.add(f"{address}/nothing", "web")
        assert len(report.refused) == 1
        assert [one.place for one in knowledge.documents()] == [f"{address}/lamps"]
    finally:
        knowledge.close()
    assert not list(place.glob(".page-*"))
    knowledge = KnowledgeBase(place, embedder=None, index="exact")
    try:
        assert len(knowledge.add(f"{address}/lamps", "web").refused) == 1
    finally:
        knowledge.close()


def test_closing_leaves_no_process(tmp_path: Path, folder: Path) -> None:
    before = {one.pid for one in psutil.Process().children(recursive=True)}
    knowledge = KnowledgeBase(tmp_path / "knowledge", embedder=None)
    knowledge.add(str(folder), "house")
    assert {one.pid for one in psutil.Process().children(recursive=True)} > before
    knowledge.close()
    end = time.monotonic() + LIMIT
    while {one.pid for one in psutil.Process().children(recursive=True)} - before:
        assert time.monotonic() < end
        time.sleep(0.05)
