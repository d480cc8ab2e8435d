"""The child processes that read: what goes wrong in them is one sentence, and nothing of them is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import document_files as files
import psutil
import pytest
import structlog.testing

from ansambl.domain.knowledge import Kind, Mark, Material
from ansambl.foundation.processes import start_time
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.passages.limits import PassageLimits
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading import confined
from ansambl.knowledge.reading.confined import Confined
from ansambl.knowledge.reading.limits import MIB, ReadingLimits
from ansambl.knowledge.reading.options import ReadingOptions

EVIL = Path(__file__).parents[1] / "support/misbehaving_reader.py"
LIMITS = ReadingLimits(seconds=60, memory=600 * MIB, children=1)


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def children() -> set[int]:
    return {one.pid for one in psutil.Process().children(recursive=True) if one.status() != psutil.STATUS_ZOMBIE}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = children()
    yield
    wait_for(lambda: children() <= before)


@pytest.fixture
def evil(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_PROGRAM", (sys.executable, "-P", str(EVIL)))


def written(folder: Path, name: str, data: bytes | str) -> str:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return str(path)


def refused(found: list[Prepared | Refused]) -> str:
    (one,) = found
    assert isinstance(one, Refused), one
    return str(one.reason)


def title(found: list[Prepared | Refused]) -> str:
    (one,) = found
    assert isinstance(one, Prepared), one
    return one.material.title


def test_a_file_comes_back_divided_with_its_words_counted(tmp_path: Path):
    place = written(tmp_path, "a.docx", files.docx())
    with Confined(LIMITS) as reading:
        (found,) = reading.documents(place, ReadingOptions(source="mine", facts={"url": "x"}))
    assert isinstance(found, Prepared)
    assert found.material.title == "Копии"
    assert found.material.source == "mine"
    assert len(found.digest) == 64
    assert len(found.passages) == len(found.terms) > 0
    assert "серверов" in "".join(passage.text for passage in found.passages)
    assert any("сервер" in terms for terms in found.terms)
    for passage in found.passages:
        assert found.material.text[passage.start : passage.end] == passage.text


def test_one_child_serves_many_files_and_is_replaced_after_its_share(tmp_path: Path):
    places = [written(tmp_path, f"{number}.txt", f"text {number}") for number in range(6)]
    seen = []
    with Confined(ReadingLimits(children=1, files=3)) as reading:
        for place in places:
            assert title(list(reading.documents(place))) == Path(place).name
            seen.append(frozenset(children()))
    alive = [one for one in seen if one]
    assert len(set(alive)) == 2
    assert all(len(one) == 1 for one in alive)


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("segfault", "SIGSEGV"), ("abort", "SIGABRT"), ("panic", "BaseException: panicked at slice.rs"),
        ("exit", "ended with 3"),
        ("memory", "600 MiB of memory"),
    ],
)  # fmt: skip
def test_what_kills_the_reader_is_one_sentence_and_the_next_file_is_read(what: str, said: str, tmp_path: Path):
    bad, good = written(tmp_path, "a.evil", what), written(tmp_path, "b.txt", "fine")
    with Confined(LIMITS) as reading:
        assert said in refused(list(reading.documents(bad)))
        assert title(list(reading.documents(good))) == "b.txt"


@pytest.mark.usefixtures("evil")
def test_a_mistake_of_ours_is_told_as_such_and_logged_with_its_place(tmp_path: Path):
    bad, good = written(tmp_path, "a.evil", "mistake"), written(tmp_path, "b.txt", "fine")
    with Confined(LIMITS) as reading, structlog.testing.capture_logs() as logged:
        said = refused(list(reading.documents(bad)))
        assert "NameError" in said
        assert "please report it" in said
        assert title(list(reading.documents(good))) == "b.txt"
    (line,) = [one for one in logged if one["event"] == "reading_failed"]
    assert (line["place"], line["error"]) == (bad, "NameError")
    assert line["at"][-1] == "ansambl.knowledge.reading.formats.evil:1"


@pytest.mark.usefixtures("evil")
@pytest.mark.parametrize("what", ["hang", "spin"])
def test_a_reader_that_does_not_end_is_ended(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(confined, "_START", 0.0)
    bad, good = written(tmp_path, "a.evil", what), written(tmp_path, "b.txt", "fine")
    with Confined(ReadingLimits(seconds=20, children=1)) as reading:
        assert title(list(reading.documents(good))) == "b.txt"
        reading.limits = ReadingLimits(seconds=1, children=1)
        assert "took too long" in refused(list(reading.documents(bad)))
        reading.limits = ReadingLimits(seconds=60, children=1)
        assert title(list(reading.documents(good))) == "b.txt"


@pytest.mark.usefixtures("evil")
def test_what_libraries_print_does_not_get_between_the_answers(tmp_path: Path):
    with Confined(LIMITS) as reading:
        assert title(list(reading.documents(written(tmp_path, "a.evil", "print")))) == "a.evil"


@pytest.mark.usefixtures("evil")
def test_memory_of_what_the_reader_starts_counts_and_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    notes = tmp_path / "pid"
    monkeypatch.setenv("EVIL_NOTES", str(notes))
    place = written(tmp_path, "a.evil", "grandchild")
    with Confined(LIMITS) as reading:
        found: list[Prepared | Refused] = []
        thread = threading.Thread(target=lambda: found.extend(reading.documents(place)))
        thread.start()
        wait_for(lambda: notes.exists() and notes.read_text() != "")
        pid = int(notes.read_text())
        assert start_time(pid) is not None
        reading.close()
        thread.join(30)
    assert "SIGKILL" in refused(found)
    wait_for(lambda: start_time(pid) is None)


@pytest.mark.usefixtures("evil")
def test_giving_up_in_the_middle_ends_the_child(tmp_path: Path):
    place = written(tmp_path, "a.evil", "endless")
    with Confined(LIMITS) as reading:
        answers = reading.documents(place)
        first = next(answers)
        assert isinstance(first, Prepared)
        before = children()
        assert len(before) == 1
        answers.close()  # type: ignore[attr-defined]
        wait_for(lambda: not children() & before)
        assert title(list(reading.documents(written(tmp_path, "b.txt", "fine")))) == "b.txt"


@pytest.mark.usefixtures("evil")
def test_time_that_the_caller_takes_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(confined, "_START", 30.0)
    place = written(tmp_path, "a.evil", "endless")
    with Confined(ReadingLimits(seconds=5, children=1)) as reading:
        answers = reading.documents(place)
        next(answers)
        monkeypatch.setattr(confined.time, "monotonic", lambda real=time.monotonic: real() + 1000)
        assert isinstance(next(answers), Prepared)
        answers.close()  # type: ignore[attr-defined]


def test_several_threads_read_at_once(tmp_path: Path):
    places = [written(tmp_path, f"{number}.md", f"# Title {number}\n\ntext") for number in range(12)]
    found: dict[str, str] = {}

    def read(reading: Confined, some: list[str]) -> None:
        for place in some:
            found[place] = title(list(reading.documents(place)))

    with Confined(ReadingLimits(children=2)) as reading:
        threads = [threading.Thread(target=read, args=(reading, places[start::4])) for start in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        assert len(children()) <= 2
    assert found == {place: f"Title {number}" for number, place in enumerate(places)}


PARENT = """
import sys, time
from ansambl.knowledge.reading.confined import Confined
from ansambl.knowledge.reading import confined
confined._PROGRAM = (sys.executable, "-P", sys.argv[2])
with Confined() as reading:
    list(reading.documents(sys.argv[1]))
"""


def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path):
    place = written(tmp_path, "a.evil", "grandchild")
    notes = tmp_path / "pid"
    parent = subprocess.Popen(
        (sys.executable, "-c", PARENT, place, str(EVIL)), env={**os.environ, "EVIL_NOTES": str(notes)}
    )
    try:
        wait_for(lambda: notes.exists() and notes.read_text() != "")
        family = [one.pid for one in psutil.Process(parent.pid).children(recursive=True)]
        assert len(family) == 2
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_for(lambda: all(start_time(pid) is None for pid in family))


def test_a_folder_of_good_and_bad_files_is_read_to_its_end(tmp_path: Path):
    good = {"a.md": "# A", "b.docx": files.docx(), "план.pdf": files.pdf([["Текст", "и ещё слова"]])}
    bad = {"c.pdf": b"%PDF-1.4 broken", "d.docx": b"PK\x03\x04 broken", "e.txt": bytes(range(256))}
    with Confined(LIMITS) as reading:
        found = [
            one
            for name, data in sorted({**good, **bad}.items())
            for one in reading.documents(written(tmp_path, name, data))
        ]
    assert [Path(one.material.place).name for one in found if isinstance(one, Prepared)] == sorted(good)
    assert [Path(one.place).name for one in found if isinstance(one, Refused)] == sorted(bad)


def test_what_is_not_there_costs_no_process(tmp_path: Path):
    with Confined(LIMITS) as reading:
        assert "No such file" in refused(list(reading.documents(str(tmp_path / "missing"))))
        assert "No such file" in refused(list(reading.chats(str(tmp_path / "missing"))))
        assert not children()


def test_a_page_under_its_address_and_a_name_in_bytes(tmp_path: Path):
    name = os.fsencode(tmp_path) + b"/caf\xe9"
    with open(name, "wb") as file:  # noqa: PTH123 - a name in bytes
        file.write(b"<html><h1>Head</h1><p>text")
    with Confined(LIMITS) as reading:
        options = ReadingOptions(kind=Kind.PAGE, path=os.fsdecode(name), name="x", media_type="text/html")
        (found,) = reading.documents("https://example.org/x", options)
    assert isinstance(found, Prepared)
    assert (found.material.place, found.material.kind) == ("https://example.org/x", Kind.PAGE)
    assert found.material.facts["format"] == "html"


def test_a_material_is_divided_with_the_limits_given():
    text = "\n\n".join(f"Абзац номер {number} о том, как хранить копии серверов." for number in range(60))
    material = Material(Kind.FILE, "x", "Копии", text, marks=(Mark(0, page=1),), language="ru")
    with Confined(LIMITS) as wide, Confined(LIMITS, PassageLimits(tokens=64, whole=64, overlap=0)) as narrow:
        few, many = wide.divided(material), narrow.divided(material)
    assert few.material == many.material == material
    assert few.digest == many.digest
    assert len(many.passages) > 2 * len(few.passages)


def test_after_close_a_call_starts_no_child_that_stays(tmp_path: Path):
    reading = Confined(LIMITS)
    place = written(tmp_path, "a.txt", "text")
    list(reading.documents(place))
    reading.close()
    assert not children()
    list(reading.documents(place))
    assert not children()


def test_conversations_come_whole_and_divided(tmp_path: Path):
    turns = '{"role": "user", "content": "Как сделать копию?"}\n{"role": "assistant", "content": "Командой rsync."}\n'
    with Confined(LIMITS) as reading:
        found = list(reading.chats(written(tmp_path, "chat.jsonl", turns)))
    kept = [one for one in found if isinstance(one, Prepared)]
    assert kept, found
    assert kept[0].conversation is not None
    assert [turn.text for turn in kept[0].conversation.turns] == ["Как сделать копию?", "Командой rsync."]
    assert kept[0].passages


def test_a_reader_that_cannot_be_started_costs_this_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = written(tmp_path, "a.txt", "fine")
    with Confined(LIMITS) as reading:
        with monkeypatch.context() as less:
            less.setattr(confined, "_PROGRAM", (str(tmp_path / "gone"),))
            for _ in range(LIMITS.children + 1):
                assert "cannot be started" in refused(list(reading.documents(path)))
        assert title(list(reading.documents(path))) == "a.txt"
