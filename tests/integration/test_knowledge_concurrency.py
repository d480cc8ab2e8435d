"""Many at once: searches beside an ingest, fifty clients, a second process, a disk that is full."""

from __future__ import annotations

import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from knowledge_stage import HashedWords, PlainReading, opened

from ansambl.domain.errors import DataFolderError
from ansambl.domain.knowledge import Filters
from ansambl.knowledge.contract import Progress, Report
from ansambl.knowledge.store.database import KnowledgeDatabase
from ansambl.knowledge.watching import follow

LIMIT = 30.0


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "documents"
    found.mkdir()
    for number in range(20):
        parts = "\n\n".join(f"Paragraph {part} of {number} is about pumps and water at night." for part in range(6))
        (found / f"{number}.md").write_text(parts, encoding="utf-8")
    return found


def test_fifty_clients_search_while_documents_are_taken_in_and_replaced(tmp_path: Path, folder: Path) -> None:
    knowledge = opened(tmp_path / "knowledge")
    knowledge.create("house")
    over = threading.Event()
    halves: list[str] = []

    def client(number: int) -> int:
        asked = 0
        while not over.is_set() or not asked:
            found = knowledge.search(f"pumps of {number % 20}", Filters(collections=("house",)), limit=5)
            for hit in found.hits:
                text = hit.passage.text
                kinds = {one for one in ("pumps", "engines") if one in text}
                # A passage is of one state of its document, and so is its document.
                if len(kinds) != 1 or hit.document.passages < 1:
                    halves.append(text)
            asked += 1
        return asked

    with ThreadPoolExecutor(50) as pool:
        clients = [pool.submit(client, number) for number in range(50)]
        first = knowledge.add(str(folder), "house")
        for one in folder.iterdir():
            one.write_text(one.read_text(encoding="utf-8").replace("pumps", "engines"), encoding="utf-8")
        second = knowledge.add(str(folder), "house")
        over.set()
        asked = [one.result(LIMIT) for one in clients]
    assert (first.added, second.updated) == (20, 20)
    assert halves == []
    assert min(asked) >= 1
    assert knowledge.search("pumps", vectors=False).hits == ()
    knowledge.close()


def test_two_ingests_take_turns_and_embedding_goes_on_beside_them(tmp_path: Path, folder: Path) -> None:
    class Slow(HashedWords):
        def passages(self, texts: object) -> object:  # type: ignore[override]
            reached.set()
            assert released.wait(LIMIT)
            return super().passages(texts)  # type: ignore[arg-type]

    reached, released = threading.Event(), threading.Event()
    knowledge = opened(tmp_path / "knowledge", embedder=Slow())
    knowledge.add(str(folder / "1.md"), "house", embed=False)
    with ThreadPoolExecutor(3) as pool:
        embedding = pool.submit(knowledge.embed)
        assert reached.wait(LIMIT)
        # The model is busy for hours, and still documents come in, are found, and go.
        adding = [pool.submit(knowledge.add, str(folder), name, embed=False) for name in ("house", "home")]
        assert [one.result(LIMIT).refused for one in adding] == [(), ()]
        assert knowledge.search("paragraph 3 of 17", vectors=False).hits[0].document.title == "17.md"
        knowledge.remove_document(knowledge.documents("house", text="/1.md")[0].id)
        released.set()
        embedding.result(LIMIT)
    assert knowledge.state().pending == 0
    assert knowledge.state().documents == 39
    knowledge.close()


def test_progress_tells_how_far_it_is(tmp_path: Path, folder: Path) -> None:
    knowledge = opened(tmp_path / "knowledge")
    told: list[Progress] = []
    knowledge.add(str(folder), "house", watch=told.append)
    last = {one.stage: one for one in told}
    assert (last["reading"].done, last["reading"].total, last["reading"].unit) == (20, 20, "documents")
    embedding = last["embedding"]
    assert embedding.done == embedding.total == knowledge.state().passages
    before = next(one for one in told if one.stage == "embedding")
    assert (before.done, before.rate) == (0, 100.0)
    assert before.left == pytest.approx(embedding.done / 100.0)
    knowledge.close()


def test_another_process_is_told_that_it_is_in_use(tmp_path: Path) -> None:
    knowledge = opened(tmp_path / "knowledge")
    program = (
        "import sys; from pathlib import Path; from ansambl.knowledge.store import database;"
        "database._PATIENCE = 0.1; database.KnowledgeDatabase(Path(sys.argv[1]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "knowledge")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Another process uses the knowledge" in done.stderr
    knowledge.close()


def test_a_newer_and_a_damaged_database_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "knowledge"
    opened(folder).close()
    with sqlite3.connect(folder / "knowledge.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(DataFolderError, match="newer Ansambl"):
        KnowledgeDatabase(folder)
    # A schema that SQLite cannot read and quotes, with bytes that Python cannot read.
    damaged = (
        (folder / "knowledge.db").read_bytes().replace(b"CREATE TABLE collections", b"CR\x91\xff TABLE collections")
    )
    (folder / "knowledge.db").write_bytes(damaged)
    with pytest.raises(DataFolderError, match="cannot be"):
        KnowledgeDatabase(folder)
    (folder / "knowledge.db").write_bytes(b"x" * 8192)
    with pytest.raises(DataFolderError, match="cannot be read"):
        KnowledgeDatabase(folder)


def test_an_emptied_database_is_not_taken_for_a_new_one(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "knowledge"
    knowledge = opened(place)
    knowledge.add(str(folder), "house")
    knowledge.close()
    for one in place.glob("knowledge.db*"):
        one.write_bytes(b"")
    with pytest.raises(DataFolderError, match="is empty, but an index of it is there"):
        KnowledgeDatabase(place)
    # As the sentence says, what is moved away begins anew; so does what a crash left of the very first start.
    for one in place.glob("knowledge.db*"):
        one.unlink()
    opened(place).close()
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "knowledge.db").touch()
    opened(tmp_path / "first").close()


def test_a_file_where_the_index_should_be_is_replaced(tmp_path: Path, folder: Path) -> None:
    opened(tmp_path / "knowledge").close()
    shutil.rmtree(tmp_path / "knowledge" / "index")
    (tmp_path / "knowledge" / "index").write_text("not a folder", encoding="utf-8")
    knowledge = opened(tmp_path / "knowledge")
    knowledge.add(str(folder), "house")
    assert knowledge.search("pumps", vectors=False).hits
    knowledge.close()


def test_all_is_private(tmp_path: Path, folder: Path) -> None:
    knowledge = opened(tmp_path / "knowledge")
    knowledge.add(str(folder), "house")
    place = tmp_path / "knowledge"
    found = [place, *place.glob("*"), *(place / "index" / "exact").glob("*")]
    assert len(found) > 4
    assert [one for one in found if one.stat().st_mode & 0o077] == []
    knowledge.close()


def test_a_full_disk_costs_one_line_and_what_was_done_stays(tmp_path: Path, folder: Path) -> None:
    """The limit of a file's size stands for a full disk: the next page is not written."""
    place = tmp_path / "knowledge"
    knowledge = opened(place)
    knowledge.add(str(folder / "1.md"), "house")
    knowledge.close()
    program = (
        "import sys, resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from pathlib import Path; from knowledge_stage import opened\n"
        "from ansambl.domain.errors import DataFolderError\n"
        "knowledge = opened(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    knowledge.add(sys.argv[2], 'house')\n"
        "except DataFolderError as error:\n"
        "    sys.stdout.write(str(error))\n"
    )
    for one in folder.iterdir():
        one.write_text(one.read_text(encoding="utf-8") * 20, encoding="utf-8")
    size = (place / "knowledge.db").stat().st_size
    done = subprocess.run(
        [sys.executable, "-c", program, str(place), str(folder), str(size + 65_536)], capture_output=True, text=True,
        check=False, env={"PYTHONPATH": str(Path(__file__).resolve().parents[1] / "support")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "\n" not in done.stdout
    assert "cannot be used" in done.stdout or "no room left" in done.stdout
    knowledge = opened(place)
    assert knowledge.add(str(folder), "house").added >= 15
    assert len(knowledge.documents()) == 20
    knowledge.close()
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY


@pytest.mark.parametrize("polling", [False, True])
def test_a_folder_is_followed(tmp_path: Path, folder: Path, polling: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    watchfiles = pytest.importorskip("watchfiles")
    if polling:
        real = watchfiles.watch

        def refuse(*paths: Path, **options: object) -> object:
            if not options.get("force_polling"):
                raise OSError(28, "no space left for watches")
            return real(*paths, **{**options, "poll_delay_ms": 50})

        monkeypatch.setattr(watchfiles, "watch", refuse)
    reading = PlainReading()
    knowledge = opened(tmp_path / "knowledge", reading=reading)
    knowledge.add(str(folder / "1.md"), "house", keep_in_step=False)
    knowledge.create("house")
    (folder / "broken.md").write_bytes(b"\xff\xfe\xfa")
    over = threading.Event()
    told: list[tuple[str, Report]] = []
    follower = threading.Thread(
        target=follow,
        args=(knowledge,),
        kwargs={
            "stopped": over.is_set, "told": lambda *one: told.append(one),
            "folders": lambda: [(str(folder), "house"), (str(tmp_path / "unmounted"), "house")],
        },
    )  # fmt: skip
    follower.start()
    try:
        wait_for(lambda: knowledge.state().documents == 20 and len(told) >= 2 + polling)
        if polling:
            assert any("no notices" in str(one.reason) for _, report in told for one in report.refused)
        (folder / "new.md").write_text("A zebra came by.", encoding="utf-8")
        wait_for(lambda: bool(knowledge.search("zebra", vectors=False).hits))
        (folder / "new.md").unlink()
        wait_for(lambda: not knowledge.search("zebra", vectors=False).hits)
        wait_for(lambda: knowledge.state().pending == 0)
        assert reading.reads[str(folder / "broken.md")] == 1
    finally:
        over.set()
        follower.join(LIMIT)
    assert not follower.is_alive()
    knowledge.close()


def test_a_followed_folder_that_becomes_a_link_is_left_alone(tmp_path: Path, folder: Path) -> None:
    private = tmp_path / "private"
    private.mkdir()
    (private / "secret.md").write_text("The zebra is secret.", encoding="utf-8")
    knowledge = opened(tmp_path / "knowledge")
    knowledge.add(str(folder), "house", keep_in_step=True)
    before = knowledge.state().documents
    # Whoever may rename the folder must not choose what is read in its place.
    folder.rename(tmp_path / "former")
    folder.symlink_to(private)
    over = threading.Event()
    told: list[tuple[str, Report]] = []
    follower = threading.Thread(
        target=follow, args=(knowledge,), kwargs={"stopped": over.is_set, "told": lambda *one: told.append(one)}
    )
    follower.start()
    try:
        wait_for(lambda: bool(told))
    finally:
        over.set()
        follower.join(LIMIT)
    assert "a link" in str(told[0][1].refused[0].reason)
    assert (knowledge.state().documents, knowledge.search("zebra", vectors=False).hits) == (before, ())
    knowledge.close()
