"""Knowledge as its users meet it: commands against a running Ansambl and against its data folder, Ctrl-C, uploads."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import psutil
import pytest
from product import environment, run_command, wait_for

MIB = 1 << 20
BASE = "/admin/api/knowledge"


def write_notes(folder: Path, count: int, words: str = "maple oak birch") -> Path:
    folder.mkdir(exist_ok=True)
    for number in range(count):
        lines = "\n\n".join(f"{words} paragraph {number}-{each} of a note about trees." for each in range(20))
        (folder / f"note-{number:03}.md").write_text(f"# Note {number}\n\n{lines}\n", encoding="utf-8")
    return folder


def documents_in(data: Path) -> int:
    """How many documents a data folder holds, while others write to it."""
    file = data / "knowledge" / "knowledge.db"
    if not file.exists():
        return 0
    try:
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
            return int(database.execute("SELECT count(*) FROM documents").fetchone()[0])
    except sqlite3.Error:
        return 0


def begin(*arguments: str, data: Path) -> subprocess.Popen[str]:
    """Begin a command in a session of its own, so that Ctrl-C can reach all of its processes, as a terminal's does."""
    return subprocess.Popen(
        [sys.executable, "-m", "ansambl", "knowledge", *arguments], env=environment(data), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def interrupted(process: subprocess.Popen[str], data: Path, at_least: int) -> tuple[int, str]:
    wait_for(lambda: documents_in(data) >= at_least or process.poll() is not None, "documents", 60)
    assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.mark.timeout(300)
def test_ctrl_c_in_the_middle_keeps_what_came_and_the_same_command_goes_on(tmp_path):
    data, notes = tmp_path / "data", write_notes(tmp_path / "notes", 300)
    process = begin("add", str(notes), "--no-embed", data=data)
    code, err = interrupted(process, data, 3)
    assert code == 130, err
    assert "the same command goes on" in err
    assert "Traceback" not in err
    came = documents_in(data)
    assert 3 <= came < 300
    again = run_command("knowledge", "add", str(notes), "--no-embed", "--json", data=data)
    assert again.returncode == 0, again.stderr
    whole = json.loads(again.stdout)
    assert whole["unchanged"] >= came - 1
    assert whole["unchanged"] + whole["added"] + whole["updated"] == 300
    assert documents_in(data) == 300
    found = json.loads(run_command("knowledge", "search", "note 299 trees", "--words-only", "--json", data=data).stdout)
    assert found["hits"]


def test_who_only_looks_makes_no_data_folder(tmp_path):
    data = tmp_path / "data"
    for arguments in (("list",), ("search", "maple", "--words-only"), ("list", "--json")):
        ended = run_command("knowledge", *arguments, data=data)
        assert ended.returncode == 0, ended.stderr
        assert not data.exists()


def test_odd_names_loops_and_unreadable_files_are_one_line_each(tmp_path):
    data, folder = tmp_path / "data", tmp_path / "заметки и 日本"
    folder.mkdir()
    (folder / "-rf.md").write_text("a maple named like an option", encoding="utf-8")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "clip.bin").write_bytes(os.urandom(5000))
    (folder / "empty.md").write_bytes(b"")
    odd = os.fsencode(folder) + b"/caf\xe9.md"
    Path(os.fsdecode(odd)).write_text("a birch with an odd name", encoding="utf-8")
    ended = run_command("knowledge", "add", str(folder), "--no-embed", "--json", data=data)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["added"] >= 2
    assert "Traceback" not in ended.stderr
    for query in ("named like an option", "birch odd name"):
        found = run_command("knowledge", "search", query, "--words-only", "--json", data=data)
        assert json.loads(found.stdout)["hits"], query
    listed = run_command("knowledge", "list", "--collection", "documents", data=data)
    assert listed.returncode == 0, listed.stderr
    removed = run_command("knowledge", "remove", os.fsdecode(odd), "--yes", "--json", data=data)
    assert json.loads(removed.stdout)["removed"] == 1, removed.stderr


@pytest.mark.timeout(300)
def test_a_folder_is_followed_in_the_foreground_until_ctrl_c(tmp_path):
    data, notes = tmp_path / "data", write_notes(tmp_path / "notes", 2)
    process = begin("watch", str(notes), "--json", data=data)
    try:
        wait_for(lambda: documents_in(data) == 2 or process.poll() is not None, "what is there", 60)
        (notes / "later.md").write_text("# Later\n\nA birch came later.", encoding="utf-8")
        wait_for(lambda: documents_in(data) == 3 or process.poll() is not None, "what came later", 60)
        (notes / "note-000.md").unlink()
        wait_for(lambda: documents_in(data) == 2 or process.poll() is not None, "what went", 60)
        assert process.poll() is None, process.communicate()
    finally:
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    folders = json.loads(run_command("knowledge", "watch", "--list", "--json", data=data).stdout)["folders"]
    assert [one["path"] for one in folders] == [str(notes)]


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_commands_reach_the_running_ansambl_and_its_data_folder_alike(start, tmp_path):
    product = start(ready=False)
    notes = write_notes(tmp_path / "notes", 4)
    added = product.command("knowledge", "add", str(notes), "--collection", "trees", "--json")
    assert added.returncode == 0, added.stderr
    assert json.loads(added.stdout)["added"] == 4
    running = json.loads(product.command("knowledge", "list", "--json").stdout)["collections"]
    found = json.loads(product.command("knowledge", "search", "maple", "--words-only", "--json").stdout)["hits"]
    missing = product.command("knowledge", "show", "99999")
    assert (missing.returncode, len(missing.stderr.splitlines())) == (2, 1)
    with httpx.Client(base_url=product.address, headers={"authorization": f"Bearer {product.token}"}) as client:
        refused = client.post(f"{BASE}/add", json={"place": f"{product.address}/health", "collection": "trees"})
        assert refused.status_code == 202
        job = wait_for(lambda: _over(client, refused.json()["id"]), "the job")
        assert (job["state"], bool(job["error"] or job["report"]["refused"])) in {("failed", True), ("done", True)}
    assert product.stop() == 0
    resting = json.loads(run_command("knowledge", "list", "--json", data=product.data).stdout)["collections"]
    again = json.loads(run_command("knowledge", "search", "maple", "--words-only", "--json", data=product.data).stdout)[
        "hits"
    ]
    assert [(one["name"], one["documents"], one["passages"]) for one in running] == [
        (one["name"], one["documents"], one["passages"]) for one in resting
    ]
    assert [one["id"] for one in found] == [one["id"] for one in again]


def _over(client: httpx.Client, job: str) -> dict | None:
    found = client.get(f"{BASE}/jobs/{job}").json()
    return found if found["state"] not in {"waiting", "running"} else None


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_ctrl_c_of_a_command_stops_the_work_of_the_running_ansambl(start, tmp_path):
    product = start(ready=False)
    notes = write_notes(tmp_path / "notes", 300)
    code, err = interrupted(begin("add", str(notes), "--no-embed", data=product.data), product.data, 3)
    assert code == 130, err
    with httpx.Client(base_url=product.address, headers={"authorization": f"Bearer {product.token}"}) as client:
        # Two seconds after the start Ansambl looks for passages without vectors, which may be in the middle of this.
        (job,) = (one for one in client.get(f"{BASE}/jobs").json()["jobs"] if one["kind"] == "add")
        assert job["state"] == "stopped"
        assert client.get("/health").status_code == 200
    came = documents_in(product.data)
    assert 3 <= came < 300
    again = product.command("knowledge", "add", str(notes), "--no-embed", "--json")
    assert json.loads(again.stdout)["added"] == 300 - came


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_an_upload_of_300_mib_goes_to_the_disk_and_not_into_memory(start):
    product = start(ready=False)
    process = psutil.Process(product.process.pid)
    headers = {"authorization": f"Bearer {product.token}"}
    with httpx.Client(base_url=product.address, headers=headers, timeout=120) as client:
        # What the first use of it loads is not the upload's.
        first = client.post(f"{BASE}/uploads", params={"name": "first.txt"}, content=b"a maple")
        wait_for(lambda: _over(client, first.json()["id"]), "the first upload")
        before = process.memory_info().rss
        peak, over = [before], threading.Event()

        def look() -> None:
            while not over.wait(0.02):
                peak.append(process.memory_info().rss)

        watcher = threading.Thread(target=look)
        watcher.start()
        try:
            piece = os.urandom(MIB)
            answer = client.post(
                f"{BASE}/uploads", params={"name": "disk.bin", "embed": "false"}, content=(piece for _ in range(300))
            )
            assert answer.status_code == 202, answer.text
            job = wait_for(lambda: _over(client, answer.json()["id"]), "the upload", 120)
        finally:
            over.set()
            watcher.join()
        assert job["state"] in {"done", "failed"}
        assert (max(peak) - before) / MIB < 50
        uploads = product.data / "knowledge" / "uploads"
        wait_for(lambda: not list(uploads.iterdir()), "nothing left of the upload")


@pytest.mark.engine
@pytest.mark.timeout(300)
def test_a_client_that_leaves_in_the_middle_of_an_upload_leaves_nothing(start):
    product = start(ready=False)

    def breaks_off():
        yield b"x" * MIB
        raise ConnectionAbortedError

    with httpx.Client(base_url=product.address, headers={"authorization": f"Bearer {product.token}"}) as client:
        with pytest.raises(ConnectionAbortedError):
            client.post(f"{BASE}/uploads", params={"name": "a.txt"}, content=breaks_off())
        uploads = product.data / "knowledge" / "uploads"
        wait_for(lambda: uploads.exists() and not list(uploads.iterdir()), "nothing left of the upload")
        assert client.get(f"{BASE}/jobs").json() == {"jobs": []}
        assert "crashed" not in (product.data / "logs" / "ansambl.log").read_text(encoding="utf-8")
