"""Text in images by the real tesseract, where it is installed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import document_files as files
import pytest

from ansambl.domain.knowledge import Material
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading import ocr
from ansambl.knowledge.reading.limits import ReadingLimits
from ansambl.knowledge.reading.read import read_file

pytestmark = pytest.mark.skipif(
    "eng" not in ocr.languages(), reason="tesseract is not installed: apt-get install tesseract-ocr tesseract-ocr-rus"
)


def picture(lines: list[str]) -> bytes:
    """A PGM of printed lines: what pdfium draws of a PDF with one of the fonts that every reader of PDF has."""
    import pypdfium2

    shown = "".join(f"BT /F 22 Tf 60 {700 - 40 * n} Td ({line}) Tj ET\n" for n, line in enumerate(lines))
    page = (
        "1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj 2 0 obj << /Type /Pages /Count 1 /Kids [3 0 R] >> endobj "
        "3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R /Resources << /Font "
        "<< /F << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >> endobj "
        f"4 0 obj << /Length {len(shown)} >> stream\n{shown}\nendstream endobj trailer << /Root 1 0 R >>"
    )
    rows = pypdfium2.PdfDocument(b"%PDF-1.4\n" + page.encode())[0].render(scale=2, grayscale=True).to_numpy()
    return b"P5 %d %d 255\n" % (rows.shape[1], rows.shape[0]) + rows.tobytes()


def png(pgm: bytes) -> bytes:
    import struct
    import zlib

    _, size, data = pgm.split(b"\n", 1)[0], pgm.split(b" ")[1:3], pgm.split(b"\n", 1)[1]
    width, height = int(size[0]), int(size[1])
    rows = b"".join(b"\0" + data[width * y : width * (y + 1)] for y in range(height))

    def part(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", zlib.compress(rows)) + part(b"IEND", b"")


LINES = ["The backups are written every night", "Restore them with one command"]


def test_an_image_is_read(tmp_path: Path):
    path = tmp_path / "scan.png"
    path.write_bytes(png(picture(LINES)))
    (one,) = read_file(path, str(path), ReadingLimits())
    assert isinstance(one, Material), one
    assert [line for line in one.text.split("\n") if line] == LINES
    assert one.facts["format"] == "image"


def test_a_scanned_pdf_is_read_page_by_page(tmp_path: Path):
    pgm = picture(LINES)
    width, height = pgm.split(b" ")[1:3]
    scanned = files.pdf([[], ["A page of real text with many letters"]], image=True)
    # In place of the small grey square, the picture of the lines.
    height = height.split(b"\n")[0] if b"\n" in height else height
    data = pgm.split(b"\n", 1)[1]
    old = scanned[
        scanned.index(b"<< /Type /XObject") : scanned.index(b"endstream", scanned.index(b"/XObject /Subtype"))
    ]
    new = (
        b"<< /Type /XObject /Subtype /Image /ColorSpace /DeviceGray /BitsPerComponent 8 /Width %s /Height %s "
        b"/Length %d >>\nstream\n%s\n" % (width, height, len(data), data)
    )
    path = tmp_path / "scan.pdf"
    path.write_bytes(scanned.replace(old, new))
    (one,) = read_file(path, str(path), ReadingLimits())
    assert isinstance(one, Material), one
    assert [mark.page for mark in one.marks] == [1, 2]
    for line in LINES:
        assert line in one.text[: one.marks[1].start].replace("\n", " ")
    assert "real text" in one.text[one.marks[1].start :]
    assert one.warnings == ()


def test_an_image_without_text_and_a_broken_one_are_refused(tmp_path: Path):
    for name, data in (
        ("white.png", png(b"P5 60 60 255\n" + b"\xff" * 3600)),
        ("broken.png", b"\x89PNG\r\n\x1a\n" + bytes(50)),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        (one,) = read_file(path, str(path), ReadingLimits())
        assert isinstance(one, Refused)
        assert "\n" not in str(one.reason)


def test_russian_is_read_where_its_data_is_installed():
    there = subprocess.run(("tesseract", "--list-langs"), capture_output=True, text=True, check=True).stdout.split()
    assert ("rus" in ocr.languages()) == ("rus" in there)
    assert set(ocr.languages()) <= set(there)
