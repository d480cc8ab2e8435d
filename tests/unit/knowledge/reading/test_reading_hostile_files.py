"""Files that somebody made to do harm, or that simply broke: one sentence each, at once, and nothing else."""

from __future__ import annotations

import builtins
import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import document_files as files
import pytest

from ansambl.domain.knowledge import Material
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading import ocr
from ansambl.knowledge.reading.limits import MIB, ReadingLimits
from ansambl.knowledge.reading.options import ReadingOptions
from ansambl.knowledge.reading.pinning import Pinned
from ansambl.knowledge.reading.read import read_file
from ansambl.knowledge.reading.roots import resolved_roots


def refusals(path: Path, limits: ReadingLimits | None = None) -> list[str]:
    """What is said; nothing may be read."""
    found = list(read_file(path, str(path), limits or ReadingLimits()))
    assert all(isinstance(one, Refused) for one in found), found
    return [str(one.reason) for one in found if isinstance(one, Refused)]


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_zip_that_unpacks_to_gigabytes_is_refused_by_what_it_declares(tmp_path: Path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.txt", bytes(8 * MIB))
    (said,) = refusals(path)
    assert "zip bombs" in said


def test_a_zip_that_declares_less_than_comes_out_gives_no_more_than_it_declared(tmp_path: Path):
    data = files.zipped({"zeros.txt": "a" * (2 * MIB)})
    data = data.replace(struct.pack("<I", 2 * MIB), struct.pack("<I", 10))
    (said,) = refusals(written(tmp_path, "liar.zip", data))
    assert "damaged in its archive" in said


def test_a_zip_whose_members_share_their_bytes_is_refused(tmp_path: Path):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "text " * 100)
        archive.writestr("b.txt", "text " * 100)
        archive.infolist()[1].header_offset = 0
    (said,) = refusals(written(tmp_path, "overlap.zip", made.getvalue()))
    assert "zip bombs" in said


def test_archives_inside_of_archives_end_somewhere(tmp_path: Path):
    data = files.zipped({"deep.txt": "text"})
    for number in range(4):
        data = files.zipped({f"{number}.zip": data})
    (said,) = refusals(written(tmp_path, "russian-doll.zip", data))
    assert "archive inside of archives" in said


def test_a_zip_with_too_many_members_is_refused(tmp_path: Path):
    path = written(tmp_path, "many.zip", files.zipped({f"{n}.txt": "x" for n in range(20)}))
    (said,) = refusals(path, ReadingLimits(max_members=10))
    assert "20" in said


def test_tar_bombs_are_refused_before_they_are_unpacked(tmp_path: Path):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        info = tarfile.TarInfo("zeros.txt")
        info.size = 8 * MIB
        archive.addfile(info, io.BytesIO(bytes(info.size)))
    (said,) = refusals(written(tmp_path, "bomb.tar.gz", made.getvalue()))
    assert "zip bombs" in said
    (said,) = refusals(written(tmp_path, "bomb.txt.gz", zlib.compress(bytes(8 * MIB), wbits=31)))
    assert "zip bombs" in said


LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "' + "&a;" * 50 + '">]>'


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a.docx", lambda: files.docx(prolog=LAUGHS)),
        ("commented.docx", lambda: files.docx(prolog="<!-- <a -->" + LAUGHS)),
        ("instructed.docx", lambda: files.docx(prolog="<?x <a?>" + LAUGHS)),
        ("padded.docx", lambda: files.docx(prolog=f"<!--{'x' * 70_000}-->" + LAUGHS)),
        ("a.epub", lambda: files.epub([("a", "b")], prolog=LAUGHS)),
        ("a.fb2", lambda: LAUGHS.encode() + files.book()),
    ],
)
def test_entities_in_xml_are_refused(name: str, make: Callable[[], bytes], tmp_path: Path):
    (said,) = refusals(written(tmp_path, name, make()))
    assert "entities" in said


def test_encrypted_and_old_office_documents_are_told_apart(tmp_path: Path):
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)
    (said,) = refusals(written(tmp_path, "a.docx", head + "EncryptedPackage".encode("utf-16-le")))
    assert "encrypted" in said
    (said,) = refusals(written(tmp_path, "a.doc", head))
    assert ".docx" in said


def test_an_encrypted_member_is_refused_and_the_others_are_read(tmp_path: Path):
    data = bytearray(files.zipped({"a.txt": "secret", "b.txt": "open"}))
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    data[6] |= 1
    first, second = read_file(written(tmp_path, "a.zip", bytes(data)), "a.zip")
    assert isinstance(first, Refused)
    assert "encrypted" in str(first.reason)
    assert isinstance(second, Material)


def test_a_file_over_the_limit_is_refused_without_being_read(tmp_path: Path):
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        # Sparse: it takes no room, and two gigabytes would have to be read to find out.
        file.truncate(2 << 30)
    (said,) = refusals(path)
    assert "2048 MiB" in said


def test_more_text_than_a_document_may_have_is_refused(tmp_path: Path):
    (said,) = refusals(written(tmp_path, "a.txt", b"word " * 500_000), ReadingLimits(max_text=2_000_000))
    assert "2 million" in said


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.txt")
    assert refusals(tmp_path / "pipe.txt") == ["it is no regular file"]
    assert refusals(Path("/dev/zero")) == ["it is no regular file"]
    assert refusals(tmp_path) == ["it is no regular file"]
    (said,) = refusals(tmp_path / "missing.txt")
    assert "No such file" in said


def test_a_link_that_leads_out_of_the_roots_is_refused_when_it_is_opened(tmp_path: Path):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "own.txt").write_text("own")
    options = ReadingOptions(roots=resolved_roots((inside,)))

    def found(name: str) -> Material | Refused:
        (one,) = read_file(inside / name, name, ReadingLimits(), options)
        return one

    assert isinstance(found("own.txt"), Material)
    refused = found("link.txt")
    assert isinstance(refused, Refused)
    assert "outside" in str(refused.reason)
    assert "secret" not in str(refused.reason)


def test_a_file_that_is_written_meanwhile_is_read_again_once_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = written(tmp_path, "a.txt", b"text")
    answers = iter((True, False, True, True))
    monkeypatch.setattr(Pinned, "changed", lambda _: next(answers))
    (one,) = read_file(path, "a.txt")
    assert isinstance(one, Material)
    (two,) = read_file(path, "a.txt")
    assert isinstance(two, Refused)
    assert "changes while it is read" in str(two.reason)


def test_a_real_change_is_seen(tmp_path: Path):
    from ansambl.knowledge.reading.pinning import pinned

    path = written(tmp_path, "a.txt", b"text")
    with pinned(path) as file:
        assert not file.changed()
        with path.open("ab") as other:
            other.write(b" and more")
        assert file.changed()


def test_a_damaged_file_names_what_the_library_said(tmp_path: Path):
    (said,) = refusals(written(tmp_path, "a.docx", files.zipped({"word/document.xml": "<broken"})))
    assert said.startswith("it is damaged or not what it seems (")
    assert "\n" not in said


def test_a_sheet_whose_row_number_is_nonsense_ends(tmp_path: Path):
    sheet = files.xlsx({"a": [["x", "y"], ["1", "2"]]})
    with zipfile.ZipFile(io.BytesIO(sheet)) as archive:
        members = {one.filename: archive.read(one) for one in archive.infolist()}
    members["xl/worksheets/sheet1.xml"] = members["xl/worksheets/sheet1.xml"].replace(
        b'<row r="2"', b'<row r="99999999999"'
    )
    (one,) = read_file(written(tmp_path, "a.xlsx", files.zipped(members)), "a.xlsx")
    assert isinstance(one, Material)
    assert "| x | y |" in one.text


def test_controls_and_broken_characters_do_not_reach_the_text(tmp_path: Path):
    page = "<p>a&#0;b&#xD800;c&#8232;d</p><title>x&#27;</title>"
    (one,) = read_file(written(tmp_path, "a.html", page.encode()), "a.html")
    assert isinstance(one, Material)
    assert one.text.encode()
    assert not any(ord(letter) < 32 and letter != "\n" for letter in one.text + one.title)


@pytest.mark.parametrize(
    ("library", "name", "make"),
    [
        ("mammoth", "a.docx", files.docx),
        ("openpyxl", "a.xlsx", lambda: files.xlsx({"a": [["b"]]})),
        ("pptx", "a.pptx", lambda: files.pptx([("a", ["b"], "")])),
        ("pypdfium2", "a.pdf", lambda: files.pdf([["a"]])),
    ],
)
def test_a_missing_library_is_one_line_with_what_to_install(
    library: str, name: str, make: Callable[[], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = written(tmp_path, name, make())
    without(monkeypatch, library)
    (said,) = refusals(path)
    assert "pip install 'ansambl[knowledge]'" in said


def test_without_any_library_the_simple_formats_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    without(monkeypatch, "lxml", "charset_normalizer", "pathspec", "mammoth", "bs4")
    cases = {
        "a.html": b"<title>T</title><h1>Head</h1><ul><li>one<li>two</ul><p>text", "a.md": b"# Head\ntext",
        "a.py": b"x = 1", "a.ipynb": files.notebook(), "a.eml": files.mail(), "a.csv": b"a,b\n1,2",
        "a.txt": b"caf\xe9 text",
        "a.epub": files.epub([("a", "b")]), "a.odt": files.open_document(), "a.zip": files.zipped({"b.txt": "text"}),
    }  # fmt: skip
    for name, data in cases.items():
        (one,) = read_file(written(tmp_path, name, data), name)
        assert isinstance(one, Material), one
    (page,) = read_file(tmp_path / "a.html", "a.html")
    assert isinstance(page, Material)
    assert page.text == "# Head\n\n- one\n- two\n\ntext"


def without(monkeypatch: pytest.MonkeyPatch, *libraries: str) -> None:
    """As if these were not installed."""
    real = builtins.__import__

    def importing(name: str, *more: Any, **named: Any) -> Any:
        if name.partition(".")[0] in libraries:
            raise ImportError(name)
        return real(name, *more, **named)

    monkeypatch.setattr(builtins, "__import__", importing)


def test_images_without_an_ocr_program_say_what_would_add_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ocr, "languages", lambda: ())
    for name, data in (("a.png", b"\x89PNG\r\n\x1a\n" + bytes(99)), ("a.pdf", files.pdf([[]], image=True))):
        (said,) = refusals(written(tmp_path, name, data))
        assert "apt-get install tesseract-ocr" in said


def test_scanned_pages_among_others_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ocr, "languages", lambda: ())
    data = files.pdf([["A long line of real text stands here"], [], []], image=True)
    (one,) = read_file(written(tmp_path, "a.pdf", data), "a.pdf")
    assert isinstance(one, Material)
    assert one.warnings == ("2 of 3 pages are images without text",)
