"""Walking a folder: what is read, what is left out, and that nothing leads out or round in circles."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading.folders import FolderOptions, files_of
from ansambl.knowledge.reading.kinds import counted, is_read
from ansambl.knowledge.reading.limits import ReadingLimits
from ansambl.knowledge.reading.roots import is_inside, path_of, place_of, resolved_roots
from ansambl.knowledge.reading.simple_patterns import SimpleSpec


def make(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("text")


def walked(folder: Path, options: FolderOptions | None = None, limits: ReadingLimits | None = None) -> list[str]:
    found = files_of(folder, options or FolderOptions(), limits or ReadingLimits())
    return [str(one.relative_to(folder)) for one in found if isinstance(one, Path)]


def said(folder: Path, options: FolderOptions | None = None, limits: ReadingLimits | None = None) -> list[str]:
    found = files_of(folder, options or FolderOptions(), limits or ReadingLimits())
    return [str(one.reason) for one in found if isinstance(one, Refused)]


def test_documents_come_in_order_and_what_no_user_means_is_left_out(tmp_path: Path):
    make(
        tmp_path, "b.md", "a.txt", "sub/c.py", "план.docx", ".git/config", ".obsidian/app.json", ".env", "a.txt~",
        "~$a.docx",        "node_modules/x/index.js", "__pycache__/x.py", ".venv/lib/x.py", ".#lock", "Thumbs.db",
    )  # fmt: skip
    (tmp_path / "empty.txt").touch()
    assert walked(tmp_path) == ["a.txt", "b.md", "план.docx", "sub/c.py"]
    assert said(tmp_path) == []


@pytest.mark.parametrize("library", [True, False])
def test_ignore_files_hold_on_each_level_and_the_inner_one_decides(
    library: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    if not library:
        monkeypatch.setitem(__import__("sys").modules, "pathspec", None)
    make(
        tmp_path, "a.log", "keep.log", "build/x.txt", "sub/build/y.txt", "sub/z.tmp.md", "sub/inner/a.log",
        "docs/old/a.md",        "docs/new/a.md",
    )  # fmt: skip
    (tmp_path / ".gitignore").write_text("*.log\n!keep.log\n/build/\n# comment\n\ndocs/**/old\n")
    (tmp_path / "sub/.ansamblignore").write_text("*.tmp.*\n!a.log\n")
    assert walked(tmp_path) == ["keep.log", "docs/new/a.md", "sub/build/y.txt", "sub/inner/a.log"]


def test_a_broken_ignore_file_does_not_stop_the_others(tmp_path: Path):
    make(tmp_path, "a.txt", "b.txt")
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe[z-a]\n!\n\\\nb.txt\n")
    assert walked(tmp_path) == ["a.txt"]


def test_the_users_own_patterns(tmp_path: Path):
    make(tmp_path, "a.md", "b.txt", "sub/c.md", "drafts/d.md")
    assert walked(tmp_path, FolderOptions(include=("*.md",), exclude=("drafts/",))) == ["a.md", "sub/c.md"]
    make(tmp_path, ".notes/x.md")
    assert ".notes/x.md" in walked(tmp_path, FolderOptions(hidden=True))


def test_circles_of_links_end_and_links_out_are_counted_once(tmp_path: Path):
    folder, outside = tmp_path / "in", tmp_path / "out"
    make(folder, "a.txt", "sub/b.txt")
    make(outside, "secret.txt", "more/secret.txt")
    (folder / "sub/loop").symlink_to(folder)
    (folder / "self").symlink_to(folder / "self")
    (folder / "twice").symlink_to(folder / "sub")
    (folder / "out").symlink_to(outside)
    (folder / "out.txt").symlink_to(outside / "secret.txt")
    (folder / "gone.txt").symlink_to(folder / "missing")
    assert walked(folder) == ["a.txt", "sub/b.txt"]
    assert said(folder) == ["2 links that lead out of the folder were not followed"]
    allowed = FolderOptions(roots=resolved_roots((outside,)))
    assert walked(folder, allowed) == ["a.txt", "out.txt", "out/secret.txt", "out/more/secret.txt", "sub/b.txt"]


def test_pipes_sockets_and_devices_are_never_opened(tmp_path: Path):
    make(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "socket.txt"))
        assert walked(tmp_path) == ["a.txt"]


def test_what_cannot_be_read_is_one_line_and_the_rest_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    make(tmp_path, "closed/a.txt", "open/b.txt")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = list(files_of(tmp_path))
    assert [one.place for one in found if isinstance(one, Refused)] == [str(tmp_path / "closed")]
    assert walked(tmp_path) == ["open/b.txt"]


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path):
    (one,) = files_of(tmp_path / "missing")
    assert isinstance(one, Refused)


def test_large_files_and_kinds_that_are_not_read_are_said(tmp_path: Path):
    make(tmp_path, "a.mp3", "b.mp3", "c.exe", "d.txt")
    (tmp_path / "big.txt").write_bytes(b"x" * 3000)
    assert walked(tmp_path, limits=ReadingLimits(max_file=2000)) == ["d.txt"]
    first, second = said(tmp_path, limits=ReadingLimits(max_file=2000))
    assert "more than the" in first
    assert second.endswith(".mp3 (2), .exe (1)")


def test_names_that_are_no_text_become_places_that_open_again(tmp_path: Path):
    name = os.fsencode(str(tmp_path)) + b"/caf\xe9 \xff.txt"
    with open(name, "wb") as file:  # noqa: PTH123 - a name in bytes
        file.write(b"text")
    (path,) = files_of(tmp_path)
    assert isinstance(path, Path)
    place = place_of(path)
    assert place.encode("utf-8").decode("utf-8") == place
    assert path_of(place).read_text() == "text"
    assert place_of(path_of(place)) == place


@pytest.mark.parametrize("name", ["план.txt", "名前.md", "a b'\"$.txt", "ا.txt", "!x!.txt", "e\u0301.txt"])
def test_names_in_any_script_are_places_as_they_are(name: str, tmp_path: Path):
    make(tmp_path, name)
    (path,) = files_of(tmp_path)
    assert isinstance(path, Path)
    assert place_of(path) == str(tmp_path / name)
    assert path_of(place_of(path)) == path


def test_a_root_of_everything_holds_everything():
    assert is_inside("/etc/passwd", ("/",))
    assert not is_inside("/etcetera", ("/etc",))


def test_simple_patterns_follow_the_common_rules():
    spec = SimpleSpec(["*.log", "!keep.log", "/top", "a/**/z", "dir/", "what?.md", "\\#x", "# no", ""])
    for path, matched in (
        ("x.log", True), ("s/x.log", True), ("keep.log", False), ("top", True), ("s/top", False), ("a/b/c/z", True),
        ("a/z", True), ("dir/", True), ("s/dir/x", True), ("dir", False), ("what1.md", True), ("what12.md", False),
        ("#x", True), ("no", False),
    ):  # fmt: skip
        assert spec.match_file(path) is matched, path


def test_kinds_are_told_by_names_and_counted_by_frequency():
    assert is_read("a.PDF")
    assert is_read("Makefile")
    assert not is_read("a.MP3")
    assert is_read("a.jpg", images=True)
    assert not is_read("a.jpg", images=False)
    assert counted({"a.mp3": 1, "b.mp3": 1, "c.exe": 1, "core": 1}) == ".mp3 (2), .exe (1), core (1)"
