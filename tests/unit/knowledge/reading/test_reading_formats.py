"""Every format through the same questions: both languages, structure, title, time, and what damage costs."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import document_files as files
import pytest
from document_files import ENGLISH, RUSSIAN

from ansambl.domain.knowledge import Form, Material
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.reading.formats.registry import FORMATS
from ansambl.knowledge.reading.limits import ReadingLimits
from ansambl.knowledge.reading.read import read_file

Found = list[Material | Refused]


@dataclass(frozen=True)
class Case:
    """A file of a format: what it is called, what is in it, and what must stand in its text."""

    name: str
    data: Callable[[], bytes]
    format: str
    title: str
    has: tuple[str, ...] = (RUSSIAN, ENGLISH)
    form: Form = Form.MARKDOWN
    year: str = ""


BOTH = f"{RUSSIAN}\n\n{ENGLISH}\n"
MARKDOWN = f"---\ntitle: Копии\ntags: [серверы, ночь]\ndate: 2024-03-02\nauthor: Иван\n---\n\n# Other\n\n{BOTH}"
HTML = (
    f"<html><head><title>Копии</title><style>p {{}}</style></head><body><nav>Меню сайта</nav><article><h2>Глава</h2>"
    f"<p>{RUSSIAN}<p>{ENGLISH}<table><tr><th>Имя<th>Размер<tr><td>db<td>10 GB</table><pre><code "
    'class="language-sh">ls -l\n  pwd</code></pre></article><script>alert("p")</script></body></html>'
)
SHEET = [["Имя", "Размер"], ["db", "10 GB"]]
TABLE = "| Имя | Размер |\n| --- | --- |\n| db | 10 GB |"
CASES = (
    Case("notes.txt", BOTH.encode, "text", "notes.txt", form=Form.PLAIN),
    Case("notes.md", MARKDOWN.encode, "markdown", "Копии", year="2024"),
    Case("page.html", HTML.encode, "html", "Копии", (RUSSIAN, ENGLISH, "## Глава", TABLE, "```sh\nls -l\n  pwd\n```")),
    Case("code.py", f"# {RUSSIAN}\n# {ENGLISH}\n".encode, "code", "code.py", form=Form.CODE),
    Case("data.json", f'{{"a": "{RUSSIAN}", "b": "{ENGLISH}"}}'.encode, "data", "data.json", form=Form.CODE),
    Case("table.csv", f"Имя;Размер\n{RUSSIAN};1\n{ENGLISH};2,5\n".encode, "csv", "table.csv",
         (f"| {RUSSIAN} | 1 |", f"| {ENGLISH} | 2,5 |", "| Имя | Размер |\n| --- | --- |")),
    Case("book.ipynb", files.notebook, "notebook", "Анализ",
         (RUSSIAN, "```python\nprint('x')\n```", "ValueError: плохо")),
    Case("letter.eml", lambda: files.mail(body=BOTH), "email", "Копии", year="2024"),
    Case("letter.rtf", files.rtf, "rtf", "letter.rtf", (RUSSIAN, ENGLISH, "Про end"), Form.PLAIN),
    Case("report.docx", files.docx, "docx", "Копии",
         (RUSSIAN, ENGLISH, "# Резервные копии", "## Schedule", TABLE, "Сноска внизу"), year="2024"),
    Case("sheet.xlsx", lambda: files.xlsx({"Склад": SHEET, "Текст": [[RUSSIAN, ENGLISH]]}),
         "xlsx", "sheet.xlsx", (RUSSIAN, ENGLISH, f"## Склад\n\n{TABLE}")),
    Case("show.pptx", lambda: files.pptx([("Слайд", [RUSSIAN, ENGLISH], "Заметки"), ("Two", ["x"], "")]),
         "pptx", "Слайд", (f"- {RUSSIAN}\n- {ENGLISH}", TABLE, "> Заметки", "## Two")),
    Case("paper.pdf", lambda: files.pdf([[RUSSIAN], [ENGLISH]], title="Копии"), "pdf", "Копии", year="2024"),
    Case("novel.epub", lambda: files.epub([("Two", ENGLISH), ("Раз", RUSSIAN)]), "epub", "Книга", year="2020"),
    Case("text.odt", files.open_document, "opendocument", "Копии", (RUSSIAN, ENGLISH, "## Резервные копии", TABLE)),
    Case("book.fb2", files.book, "fb2", "Рассказы", (RUSSIAN, ENGLISH, "## Глава первая")),
)  # fmt: skip


def read(folder: Path, name: str, data: bytes, limits: ReadingLimits | None = None) -> Found:
    path = folder / name
    path.write_bytes(data)
    return list(read_file(path, str(path), limits or ReadingLimits()))


def only(found: Found) -> Material:
    (one,) = found
    assert isinstance(one, Material), one
    return one


def refusal(found: Found) -> str:
    (one,) = found
    assert isinstance(one, Refused), one
    return str(one.reason)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.format)
def test_each_format_gives_text_structure_title_and_time(case: Case, tmp_path: Path):
    found = only(read(tmp_path, case.name, case.data()))
    assert found.facts["format"] == case.format
    assert found.title == case.title
    assert found.form is case.form
    for words in case.has:
        assert words in found.text
    assert found.time is not None
    if case.year:
        assert found.time < 1_720_000_000
    assert found.place == str(tmp_path / case.name)
    starts = [mark.start for mark in found.marks]
    assert starts == sorted(starts)
    assert all(0 <= start <= len(found.text) for start in starts)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.format)
def test_content_tells_a_format_whatever_the_name_says(case: Case, tmp_path: Path):
    if case.format in {"text", "markdown", "code", "data", "csv", "notebook"}:
        # Nothing in their bytes tells them apart: they are text, and read as such.
        assert only(read(tmp_path, "renamed.txt", case.data())).facts["format"] in {"text", "markdown"}
    else:
        assert only(read(tmp_path, "renamed.txt", case.data())).facts["format"] == case.format


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.format)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes_or_refused(case: Case, share: float, tmp_path: Path):
    data = case.data()
    for one in read(tmp_path, case.name, data[: int(len(data) * share)]):
        if isinstance(one, Refused):
            assert "\n" not in str(one.reason)
        else:
            assert one.text.strip()


def test_a_binary_under_any_name_is_refused_in_one_line(tmp_path: Path):
    for name in sorted(suffix for one in FORMATS for suffix in one.suffixes):
        said = refusal(read(tmp_path, f"file{name}", bytes(range(256)) * 40))
        assert "\n" not in said
        assert 10 < len(said) < 250


def test_nothing_in_it_is_said(tmp_path: Path):
    assert refusal(read(tmp_path, "empty.pdf", b"")) == "it is empty"
    assert refusal(read(tmp_path, "blank.txt", b" \n\n ")) == "it holds no text"


@pytest.mark.parametrize(
    "charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1251", "koi8-r", "mac-cyrillic", "cp866"]
)
def test_a_russian_text_is_read_in_every_character_set_it_comes_in(charset: str, tmp_path: Path):
    text = "Привет! Это короткое письмо о резервных копиях.\r\nДо встречи в понедельник, Ёжик."
    found = only(read(tmp_path, "letter.txt", text.encode(charset)))
    assert found.text == text.replace("\r\n", "\n")
    assert found.language == "ru"


def test_western_texts_are_not_taken_for_russian(tmp_path: Path):
    text = "Die Prüfung für größere Übungen hängt vom Café ab, das müßte jeder wissen. " * 3
    assert only(read(tmp_path, "a.txt", text.encode("cp1252"))).text == text


def test_obsidian_notes_stay_readable_and_code_is_left_alone(tmp_path: Path):
    note = (
        "> [!warning] Осторожно\n> Не спешить\n\nСмотри [[Планы|мои планы]] и [[Дом#Сад]], ![[схема.png|300]]\n\n"
        "%%скрыто%%\n```sh\nif [[ -f x ]]; then [[y|z]]; fi\n```\n[[После]]\n"
    )
    text = only(read(tmp_path, "note.md", note.encode())).text
    assert "> **Осторожно**\n> Не спешить" in text
    assert "Смотри мои планы и Дом › Сад, (схема.png)" in text
    assert "if [[ -f x ]]; then [[y|z]]; fi" in text
    assert text.endswith("После\n")
    assert "скрыто" not in text


def test_front_matter_becomes_facts_and_what_is_none_stays_text(tmp_path: Path):
    found = only(read(tmp_path, "a.md", MARKDOWN.encode()))
    assert found.facts["tags"] == "серверы, ночь"
    assert found.authors == ("Иван",)
    assert found.text.startswith("# Other")
    broken = only(read(tmp_path, "b.md", b"---\nkey: [unclosed\n---\ntext"))
    assert broken.text.startswith("---\nkey")


def test_html_leaves_out_menus_and_scripts(tmp_path: Path):
    text = only(read(tmp_path, "a.html", HTML.encode())).text
    assert "Меню" not in text
    assert "alert" not in text


def test_html_keeps_lists_quotes_and_nested_tables_apart(tmp_path: Path):
    page = (
        "<ul><li>Один<ul><li>Два</ul><li>Три</ul><ol><li>a<li>b</ol><blockquote><p>x<p>y</blockquote>"
        "<table><tr><td>A<td>B<tr><td><table><tr><td>n<td>m<tr><td>o<td>p</table><td>q|r</table>"
    )
    text = only(read(tmp_path, "a.html", page.encode())).text
    assert "- Один\n  - Два\n- Три" in text
    assert "1. a\n2. b" in text
    assert "> x\n>\n> y" in text
    assert "| n m o p | q\\|r |" in text


@pytest.mark.parametrize("tag", ["div", "table><tr><td", "ul><li", "blockquote", "b"])
def test_html_of_any_depth_is_read(tag: str, tmp_path: Path):
    page = f"<{tag}>" * 5_000 + "deep down"
    assert "deep down" in only(read(tmp_path, "a.html", page.encode())).text


def test_pages_of_a_pdf_are_marked_and_its_outline_gives_headings(tmp_path: Path):
    pages = [["1.1 Начало", "Первая строка", "и её про-", "должение."], ["Второй лист"]]
    data = files.pdf(pages, outline=[("Начало", 0), ("Part two", 1)])
    found = only(read(tmp_path, "a.pdf", data))
    assert [mark.page for mark in found.marks] == [1, 2]
    assert found.text[: found.marks[1].start].strip() == "# Начало\n\nПервая строка и её продолжение."
    assert found.text[found.marks[1].start :] == "# Part two\n\nВторой лист"


@pytest.mark.parametrize(
    "made_up", ["Microsoft Word - план.doc", "report.docx", "Untitled", "Презентация PowerPoint", "Слайд 1"]
)
def test_titles_that_programs_make_up_are_not_taken(made_up: str, tmp_path: Path):
    found = only(read(tmp_path, "a.pdf", files.pdf([["Текст"]], title=made_up, outline=[("Настоящий", 0)])))
    assert found.title == "Настоящий"


def test_what_runs_at_the_top_and_foot_of_pages_is_left_out(tmp_path: Path):
    pages = [
        ["Отчёт за год", f"Это страница про тему номер {n} и {word}", f"- {n} -"] for n, word in enumerate("абвгдежз")
    ]
    text = only(read(tmp_path, "a.pdf", files.pdf(pages))).text
    assert "Отчёт за год" not in text
    assert "- 3 -" not in text
    assert "тему номер 3 и г" in text


def test_an_encrypted_pdf_and_a_broken_one_are_refused_in_words(tmp_path: Path):
    encrypted = (Path(__file__).parents[3] / "data/documents/encrypted.pdf").read_bytes()
    assert "encrypted" in refusal(read(tmp_path, "a.pdf", encrypted))
    assert "damaged PDF" in refusal(read(tmp_path, "b.pdf", b"%PDF-1.7\n" + b"junk " * 500))


def test_sheets_are_pages_with_names_and_long_tables_repeat_their_header(tmp_path: Path):
    rows = [["Имя", "Размер"], *[[f"db{n}", n] for n in range(100)]]
    found = only(read(tmp_path, "a.xlsx", files.xlsx({"Один": rows, "Два": [["x", 1.5]]})))
    assert [(mark.page, mark.label) for mark in found.marks] == [(1, "Один"), (2, "Два")]
    assert found.text.count("| Имя | Размер |") == 3
    assert "| db99 | 99 |" in found.text
    short = only(read(tmp_path, "b.xlsx", files.xlsx({"Один": rows}), ReadingLimits(max_rows=10)))
    assert short.warnings == ("sheet Один: only the first 10 rows were read",)


def test_slides_are_pages_with_their_titles(tmp_path: Path):
    found = only(read(tmp_path, "a.pptx", files.pptx([("Раз", ["a"], ""), ("Два", ["b"], "")])))
    assert [(mark.page, mark.label) for mark in found.marks] == [(1, "Раз"), (2, "Два")]


def test_chapters_of_a_book_come_in_the_order_of_its_spine(tmp_path: Path):
    found = only(read(tmp_path, "a.epub", files.epub([("Второй", "два"), ("Первый", "раз")])))
    assert [(mark.page, mark.label) for mark in found.marks] == [(1, "Первый"), (2, "Второй")]


def test_output_of_notebooks_is_bounded(tmp_path: Path):
    text = only(read(tmp_path, "a.ipynb", files.notebook())).text
    assert len(text) < 3_000
    assert "aaaa" not in text


def test_a_mail_gives_its_attachments_too(tmp_path: Path):
    data = files.mail(attachments={"план.docx": files.docx(), "x.bin": bytes(300)})
    letter, plan, refused = read(tmp_path, "a.eml", data)
    assert isinstance(letter, Material)
    assert letter.authors == ("Иван Петров",)
    assert isinstance(plan, Material)
    assert plan.place == f"{tmp_path / 'a.eml'}!план.docx"
    assert isinstance(refused, Refused)
    assert refused.place.endswith("!x.bin")


def test_a_mail_with_html_alone_and_headers_in_raw_bytes_is_read(tmp_path: Path):
    raw = (
        "From: Иван <i@example.org>\nSubject: =?koi8-r?B?8NLJ18XU?=\nDate: bad\n"
        "Content-Type: text/html; charset=koi8-r\n\n"
    ).encode("cp1251") + f"<p>{RUSSIAN}</p>".encode("koi8-r")
    found = only(read(tmp_path, "a.eml", raw))
    assert found.title == "Привет"
    assert found.authors == ("Иван",)
    assert RUSSIAN in found.text
    assert "<p>" not in found.text


def test_a_mailbox_gives_each_message_once_under_its_id(tmp_path: Path):
    one, two = files.mail("Раз"), files.mail("Два", body="Тело\n\nFrom here on\n")
    box = b"".join(
        b"From x@y Sat Mar  2 10:00:00 2024\n" + one.replace(b"\nFrom ", b"\n>From ") + b"\n" for one in (one, two, one)
    )
    found = read(tmp_path, "a.mbox", box)
    assert [one.title for one in found if isinstance(one, Material)] == ["Раз", "Два"]
    assert all(one.place.startswith(f"{tmp_path / 'a.mbox'}!") and "@example.org" in one.place for one in found)


def test_archives_are_read_member_by_member(tmp_path: Path):
    members = {"docs/раз.md": f"# Раз\n{RUSSIAN}", "docs/two.txt": ENGLISH, "photo.mp3": b"x", ".hidden": b"x"}
    zipped = read(tmp_path, "a.zip", files.zipped(members))
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data.encode() if isinstance(data, str) else data)
            archive.addfile(info, io.BytesIO(data.encode() if isinstance(data, str) else data))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    tarred = read(tmp_path, "a.tar.gz", made.getvalue())
    for found, name in ((zipped, "a.zip"), (tarred, "a.tar.gz")):
        first, second, rest = found
        assert isinstance(first, Material)
        assert first.place == f"{tmp_path / name}!docs/раз.md"
        assert isinstance(second, Material)
        assert isinstance(rest, Refused)
        assert str(rest.reason).endswith(".mp3 (1)")
    assert only(read(tmp_path, "b.txt.gz", gzip.compress(RUSSIAN.encode()))).text == RUSSIAN


def test_names_in_archives_of_old_russian_programs_are_read(tmp_path: Path):
    data = files.zipped({"XXXX.txt": RUSSIAN}).replace(b"XXXX", "План".encode("cp866"))
    assert only(read(tmp_path, "a.zip", data)).place.endswith("!План.txt")


def test_places_of_members_do_not_lead_out(tmp_path: Path):
    found = only(read(tmp_path, "a.zip", files.zipped({"../../etc/x.txt": "a"})))
    assert found.place == f"{tmp_path / 'a.zip'}!etc/x.txt"
