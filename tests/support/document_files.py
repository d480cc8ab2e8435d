"""Small documents in every format that is read, written for tests. Russian and English in each."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence

RUSSIAN = "Инструкция по резервному копированию серверов."
ENGLISH = "The backups are written every night."


def zipped(members: Mapping[str, str | bytes], mode: int = zipfile.ZIP_DEFLATED) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", mode) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_CORE = (
    '<?xml version="1.0"?><cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/metadata/'
    'core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:dcterms="http://purl.org/dc/terms/" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><dc:title>{title}</dc:title><dc:creator>{author}'
    '</dc:creator><dcterms:modified xsi:type="dcterms:W3CDTF">2024-03-02T10:00:00Z</dcterms:modified>'
    "</cp:coreProperties>"
)


def docx(body: str | None = None, *, title: str = "Копии", prolog: str = "") -> bytes:
    """A Word document; `body` is the XML inside of w:body."""

    def paragraph(words: str, style: str = "") -> str:
        named = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
        return f"<w:p>{named}<w:r><w:t>{words}</w:t></w:r></w:p>"

    def row(*cells: str) -> str:
        return "<w:tr>" + "".join(f"<w:tc>{paragraph(cell)}</w:tc>" for cell in cells) + "</w:tr>"

    body = body or (
        paragraph("Резервные копии", "Heading1") + paragraph(RUSSIAN) + paragraph("Schedule", "Heading2")
        + paragraph(ENGLISH) + f"<w:tbl>{row('Имя', 'Размер')}{row('db', '10 GB')}</w:tbl>"
        + '<w:p><w:r><w:t>Note</w:t></w:r><w:r><w:footnoteReference w:id="2"/></w:r></w:p>'
    )  # fmt: skip
    styles = "".join(
        f'<w:style w:type="paragraph" w:styleId="Heading{n}"><w:name w:val="heading {n}"/></w:style>' for n in (1, 2)
    )
    kinds = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    return zipped(
        {
            "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
            '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kinds}.document.main+xml"/>'
            f'<Override PartName="/word/styles.xml" ContentType="{kinds}.styles+xml"/>'
            f'<Override PartName="/word/footnotes.xml" ContentType="{kinds}.footnotes+xml"/></Types>',
            "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
            f'<Relationship Id="r1" Type="{relations}/officeDocument" Target="word/document.xml"/></Relationships>',
            "word/_rels/document.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
            f'relationships"><Relationship Id="r1" Type="{relations}/styles" Target="styles.xml"/>'
            f'<Relationship Id="r2" Type="{relations}/footnotes" Target="footnotes.xml"/></Relationships>',
            "word/document.xml": f"{prolog}<w:document {_W}><w:body>{body}</w:body></w:document>",
            "word/styles.xml": f"<w:styles {_W}>{styles}</w:styles>",
            "word/footnotes.xml": f'<w:footnotes {_W}><w:footnote w:id="2">{paragraph("Сноска внизу")}</w:footnote>'
            "</w:footnotes>",
            "docProps/core.xml": _CORE.format(title=title, author="Иван Петров"),
        }
    )


def xlsx(sheets: Mapping[str, Sequence[Sequence[object]]]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def pptx(slides: Sequence[tuple[str, Sequence[str], str]]) -> bytes:
    """Slides by title, points and notes."""
    from pptx import Presentation
    from pptx.util import Inches

    show = Presentation()
    for title, points, notes in slides:
        slide = show.slides.add_slide(show.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = "\n".join(points)
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    table = show.slides[0].shapes.add_table(2, 2, Inches(1), Inches(5), Inches(4), Inches(1)).table
    for row, cells in enumerate((("Имя", "Размер"), ("db", "10 GB"))):
        for column, cell in enumerate(cells):
            table.cell(row, column).text = cell
    made = io.BytesIO()
    show.save(made)
    return made.getvalue()


def pdf(
    pages: Sequence[Sequence[str]], *, title: str = "", outline: Sequence[tuple[str, int]] = (), image: bool = False
) -> bytes:
    """A PDF of pages of lines. The font is not embedded; which character is which says its ToUnicode map.

    With `image`, each page has a grey picture on it.
    """
    objects: list[bytes] = []

    def add(body: bytes | str) -> int:
        objects.append(body.encode("latin-1") if isinstance(body, str) else body)
        return len(objects)

    def stream(head: str, data: bytes) -> bytes:
        return f"<< {head} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"

    add("<< /Type /Catalog /Pages 2 0 R /Outlines 3 0 R >>")
    add("")
    add("")
    cmap = (
        b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap /CMapName /X def /CMapType 2 def\n"
        b"1 begincodespacerange <0000> <ffff> endcodespacerange\n"
        b"2 beginbfrange <0020> <00ff> <0020> <0400> <04ff> <0400> endbfrange\nendcmap end end"
    )
    unicode = add(stream("", cmap))
    descriptor = add(
        "<< /Type /FontDescriptor /FontName /Arial /Flags 32 /FontBBox [0 0 1000 1000] /ItalicAngle 0 /Ascent 800 "
        "/Descent -200 /CapHeight 700 /StemV 80 >>"
    )
    inner = add(
        "<< /Type /Font /Subtype /CIDFontType2 /BaseFont /Arial /CIDSystemInfo << /Registry (Adobe) /Ordering "
        f"(Identity) /Supplement 0 >> /FontDescriptor {descriptor} 0 R /DW 500 >>"
    )
    font = add(
        f"<< /Type /Font /Subtype /Type0 /BaseFont /Arial /Encoding /Identity-H /DescendantFonts [{inner} 0 R] "
        f"/ToUnicode {unicode} 0 R >>"
    )
    picture = add(
        stream(
            "/Type /XObject /Subtype /Image /Width 8 /Height 8 /ColorSpace /DeviceGray /BitsPerComponent 8",
            bytes(range(64)),
        )
    )
    kids = []
    for lines in pages:
        shown = "".join(
            f"BT /F 11 Tf 1 0 0 1 50 {780 - 16 * number} Tm <{line.encode('utf-16-be').hex()}> Tj ET\n"
            for number, line in enumerate(lines)
        )
        if image:
            shown += "q 400 0 0 400 50 100 cm /I Do Q\n"
        content = add(stream("", shown.encode()))
        kids.append(
            add(
                f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents {content} 0 R /Resources "
                f"<< /Font << /F {font} 0 R >> /XObject << /I {picture} 0 R >> >> >>"
            )
        )
    objects[1] = f"<< /Type /Pages /Count {len(kids)} /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] >>".encode()
    first = len(objects) + 1
    for number, (name, page) in enumerate(outline):
        following = f"/Next {first + number + 1} 0 R" if number + 1 < len(outline) else ""
        words = ("\ufeff" + name).encode("utf-16-be").hex()
        add(f"<< /Title <{words}> /Parent 3 0 R /Dest [{kids[page]} 0 R /Fit] {following} >>")
    objects[2] = (
        f"<< /Type /Outlines /First {first} 0 R /Last {first + len(outline) - 1} 0 R /Count {len(outline)} >>".encode()
        if outline else b"<< /Type /Outlines /Count 0 >>"
    )  # fmt: skip
    named = ("\ufeff" + title).encode("utf-16-be").hex()
    info = add(f"<< /Title <{named}> /CreationDate (D:20240302100000Z) >>" if title else "<< >>")
    made, places = bytearray(b"%PDF-1.7\n"), []
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += f"{number} 0 obj\n".encode() + body + b"\nendobj\n"
    at = len(made)
    made += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    made += b"".join(b"%010d 00000 n \n" % place for place in places)
    made += f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {info} 0 R >>\nstartxref\n{at}\n%%EOF\n".encode()
    return bytes(made)


def epub(chapters: Sequence[tuple[str, str]], *, title: str = "Книга", prolog: str = "") -> bytes:
    """A book of chapters by heading and paragraph; the spine is in reverse order of the files."""
    items = "".join(f'<item id="c{n}" href="c{n}.xhtml"/>' for n in range(len(chapters)))
    spine = "".join(f'<itemref idref="c{n}"/>' for n in reversed(range(len(chapters))))
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
            '<rootfile full-path="OEBPS/content.opf"/></rootfiles></container>',
            "OEBPS/content.opf": f'{prolog}<package xmlns="http://www.idpf.org/2007/opf" '
            f'xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata><dc:title>{title}</dc:title><dc:creator>А. Автор'
            f"</dc:creator><dc:date>2020-05-01</dc:date></metadata><manifest>{items}</manifest><spine>{spine}</spine>"
            "</package>",
            **{
                f"OEBPS/c{n}.xhtml": f"<html><body><h1>{head}</h1><p>{words}</p></body></html>"
                for n, (head, words) in enumerate(chapters)
            },
        }
    )


def notebook() -> bytes:
    cells = [
        {"cell_type": "markdown", "source": ["# Анализ\n", RUSSIAN]},
        {
            "cell_type": "code",
            "source": "print('x')",
            "outputs": [
                {"output_type": "stream", "text": ["x\n"]},
                {"output_type": "execute_result", "data": {"text/plain": "9" * 9000, "image/png": "aaaa"}},
                {"output_type": "error", "ename": "ValueError", "evalue": "плохо"},
            ],
        },
    ]
    return json.dumps({"nbformat": 4, "metadata": {"language_info": {"name": "python"}}, "cells": cells}).encode()


def mail(subject: str = "Копии", body: str = RUSSIAN, attachments: Mapping[str, bytes] | None = None) -> bytes:
    from email.message import EmailMessage

    message = EmailMessage()
    message["From"] = "Иван Петров <ivan@example.org>"
    message["To"] = "anna@example.org"
    message["Subject"] = subject
    message["Date"] = "Sat, 02 Mar 2024 10:00:00 +0000"
    message["Message-ID"] = f"<{zlib.crc32(subject.encode())}@example.org>"
    message.set_content(body)
    for name, data in (attachments or {}).items():
        message.add_attachment(data, maintype="application", subtype="octet-stream", filename=name)
    return message.as_bytes()


def rtf() -> bytes:
    russian = "".join(f"\\'{byte:02x}" for byte in RUSSIAN.encode("cp1251"))
    return (
        r"{\rtf1\ansi\ansicpg1251{\fonttbl{\f0\fcharset204 Arial;}}{\*\generator X}\f0 "
        + russian + r"\par " + ENGLISH + r"\par \u1055?\u1088?\u1086? end}"
    ).encode()  # fmt: skip


def open_document() -> bytes:
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "META-INF/manifest.xml": "<manifest/>",
            "content.xml": '<d xmlns:text="urn:t" xmlns:table="urn:tb"><text:h text:outline-level="2">Резервные копии'
            f"</text:h><text:p>{RUSSIAN}</text:p><text:p>{ENGLISH}</text:p><table:table><table:table-row>"
            "<table:table-cell><text:p>Имя</text:p></table:table-cell><table:table-cell><text:p>Размер</text:p>"
            "</table:table-cell></table:table-row><table:table-row><table:table-cell><text:p>db</text:p>"
            "</table:table-cell><table:table-cell><text:p>10 GB</text:p></table:table-cell></table:table-row>"
            "</table:table></d>",
            "meta.xml": '<m xmlns:dc="urn:dc"><dc:title>Копии</dc:title><dc:creator>Иван</dc:creator></m>',
        },
        zipfile.ZIP_STORED,
    )


def book() -> bytes:
    return (
        '<?xml version="1.0" encoding="windows-1251"?><FictionBook><description><title-info><author><first-name>Иван'
        "</first-name><last-name>Бунин</last-name></author><book-title>Рассказы</book-title></title-info></description>"
        f"<body><section><title><p>Глава первая</p></title><p>{RUSSIAN}</p><p>{ENGLISH}</p></section></body>"
        "</FictionBook>"
    ).encode("cp1251")
