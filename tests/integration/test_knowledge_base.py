"""What is taken in is kept whole, found, brought in step, and removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from knowledge_stage import HashedWords, PlainReading, content, opened

from ansambl.domain.errors import DataFolderError, NotFoundError, UsageError
from ansambl.domain.knowledge import EVERYBODY, Filters
from ansambl.knowledge.base import KnowledgeBase, KnowledgeLimits
from ansambl.knowledge.ingest.outside import Outside
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS
from ansambl.knowledge.reading.web import DEFAULT_WEB_LIMITS

PUMP = "# Cooling\n\nThe pump runs at night and cools the reactor.\n"
CATS = "# Кошки\n\nКошка спит на крыше, пока люди работают.\n"


@pytest.fixture
def reading() -> PlainReading:
    return PlainReading()


@pytest.fixture
def embedder() -> HashedWords:
    return HashedWords()


@pytest.fixture
def knowledge(tmp_path: Path, reading: PlainReading, embedder: HashedWords) -> Iterator[KnowledgeBase]:
    base = opened(tmp_path / "knowledge", reading=reading, embedder=embedder)
    yield base
    base.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "documents"
    found.mkdir()
    (found / "pump.md").write_text(PUMP, encoding="utf-8")
    (found / "cats.md").write_text(CATS, encoding="utf-8")
    return found


def titles(knowledge: KnowledgeBase, query: str, **filters: object) -> list[str]:
    """Of the documents that hold its words, best first."""
    found = knowledge.search(query, Filters(**filters), vectors=False)  # type: ignore[arg-type]
    return [hit.document.title for hit in found.hits]


def test_a_folder_is_taken_in_and_found_by_words_and_by_meaning(knowledge: KnowledgeBase, folder: Path) -> None:
    report = knowledge.add(str(folder), "house")
    assert (report.added, report.passages, report.embedded, report.refused) == (2, 2, 2, ())
    found = knowledge.search("которая кошка спала", Filters(collections=("house",)))
    assert found.hits[0].document.title == "cats.md"
    assert found.hits[0].by == ("vector", "text")
    assert found.hits[0].likeness is not None
    assert 0 < found.hits[0].score <= 1
    assert (found.vectors, found.pending, found.space) == (True, 0, "hashed/1")
    text = knowledge.document(found.hits[0].document.id)[1]
    passage = found.hits[0].passage
    assert text[passage.start : passage.end] == passage.text
    words = knowledge.search("pump", vectors=False)
    assert [hit.by for hit in words.hits] == [("text",)]
    assert not words.vectors


def test_what_has_not_changed_is_not_read_again(
    knowledge: KnowledgeBase, folder: Path, reading: PlainReading, embedder: HashedWords
) -> None:
    knowledge.add(str(folder), "house")
    before = content(knowledge)
    (folder / "pump.md").touch()
    again = knowledge.add(str(folder), "house")
    assert (again.unchanged, again.added, again.updated, again.embedded) == (2, 0, 0, 0)
    assert set(reading.reads.values()) == {1}
    assert content(knowledge) == before
    assert len(embedder.embedded) == 2


def test_a_changed_file_takes_the_place_of_the_old_one_and_equal_passages_keep_their_numbers(
    knowledge: KnowledgeBase, folder: Path, embedder: HashedWords
) -> None:
    long = "\n\n".join(f"## Part {number}\n\n" + f"Sentence {number} about the pump. " * 6 for number in range(6))
    (folder / "pump.md").write_text(long, encoding="utf-8")
    knowledge.add(str(folder), "house")
    document = next(one for one in knowledge.documents() if one.title == "pump.md")
    embedded = len(embedder.embedded)
    (folder / "pump.md").write_text(long + "\n\n## Added\n\nA zebra came by.\n", encoding="utf-8")
    report = knowledge.add(str(folder), "house")
    assert (report.updated, report.unchanged) == (1, 1)
    assert knowledge.documents(text="pump.md")[0].id == document.id
    # What stands before the new part has its vectors already.
    assert 0 < len(embedder.embedded) - embedded <= 2
    assert titles(knowledge, "zebra") == ["pump.md"]
    (folder / "pump.md").write_text(PUMP, encoding="utf-8")
    knowledge.add(str(folder), "house")
    assert not knowledge.search("zebra", vectors=False).hits


def test_files_that_are_gone_go_and_renamed_ones_keep_their_documents(knowledge: KnowledgeBase, folder: Path) -> None:
    knowledge.add(str(folder), "house")
    old = knowledge.documents(text="pump.md")[0]
    (folder / "pump.md").rename(folder / "engine.md")
    (folder / "cats.md").unlink()
    report = knowledge.add(str(folder), "house")
    assert (report.removed, report.added) == (1, 0)
    (only,) = knowledge.documents()
    assert (only.id, only.title, only.place) == (old.id, "engine.md", str(folder / "engine.md"))
    assert titles(knowledge, "pump") == ["engine.md"]
    assert titles(knowledge, "кошка") == []


def test_an_empty_folder_removes_nothing(knowledge: KnowledgeBase, folder: Path) -> None:
    knowledge.add(str(folder), "house")
    for one in folder.iterdir():
        one.unlink()
    report = knowledge.add(str(folder), "house")
    assert report.removed == 0
    assert "mounted" in str(report.refused[0].reason)
    assert len(knowledge.documents()) == 2
    folder.rmdir()
    with pytest.raises(UsageError, match="does not exist"):
        knowledge.add(str(folder), "house")
    assert len(knowledge.documents()) == 2


def test_the_same_text_in_two_places_is_embedded_once(
    knowledge: KnowledgeBase, folder: Path, embedder: HashedWords
) -> None:
    (folder / "other").mkdir()
    (folder / "other" / "pump.md").write_text(PUMP, encoding="utf-8")
    report = knowledge.add(str(folder), "house")
    assert (report.added, report.embedded) == (3, 3)
    assert len(embedder.embedded) == 2
    found = knowledge.search("pump at night")
    assert len([hit for hit in found.hits if hit.document.title == "pump.md"]) == 1
    assert len(found.hits[0].duplicates) == 1


def test_a_file_of_several_documents_loses_those_that_are_gone(knowledge: KnowledgeBase, folder: Path) -> None:
    many = folder / "many.txt"
    many.write_text("=== one\nAn apple.\n=== two\nA banana.\n", encoding="utf-8")
    assert knowledge.add(str(many), "fruit").added == 2
    many.write_text("=== two\nA banana.\n=== three\nA cherry.\n", encoding="utf-8")
    report = knowledge.add(str(many), "fruit")
    assert (report.added, report.unchanged, report.removed) == (1, 1, 1)
    assert sorted(one.place for one in knowledge.documents("fruit")) == [f"{many}!three", f"{many}!two"]


def test_what_is_refused_is_named_and_the_rest_goes_on(
    knowledge: KnowledgeBase, folder: Path, reading: PlainReading
) -> None:
    (folder / "broken.md").write_bytes(b"\xff\xfe\xfa")
    report = knowledge.add(str(folder), "house")
    assert report.added == 2
    assert [one.place for one in report.refused] == [str(folder / "broken.md")]
    knowledge.add(str(folder), "house", again=False)
    assert reading.reads[str(folder / "broken.md")] == 1
    assert [one.place for one in knowledge.add(str(folder), "house").refused] == [str(folder / "broken.md")]
    assert reading.reads[str(folder / "broken.md")] == 2


def test_what_fails_leaves_no_empty_collection(knowledge: KnowledgeBase, folder: Path) -> None:
    """One that was there before, that is kept in step, or that is described, stays."""
    broken = folder / "broken.md"
    broken.write_bytes(b"\xff\xfe\xfa")
    knowledge.create("described", "for later")
    for name in ("new", "described"):
        assert len(knowledge.add(str(broken), name).refused) == 1
    (empty := folder / "empty").mkdir()
    knowledge.add(str(empty), "followed", keep_in_step=True)
    assert [one.name for one in knowledge.collections()] == ["described", "followed"]
    knowledge.create("made")
    assert len(knowledge.add(str(broken), "made").refused) == 1
    assert "made" in {one.name for one in knowledge.collections()}
    knowledge.add(str(folder), "new")
    assert knowledge.documents("new")


def test_a_file_that_becomes_unreadable_keeps_what_was_read_of_it(knowledge: KnowledgeBase, folder: Path) -> None:
    knowledge.add(str(folder), "house")
    (folder / "pump.md").write_bytes(b"\xff\xfe\xfa")
    assert len(knowledge.add(str(folder), "house").refused) == 1
    assert titles(knowledge, "pump")[0] == "pump.md"


def test_a_file_that_changes_while_it_is_read_is_read_again(
    knowledge: KnowledgeBase, folder: Path, reading: PlainReading
) -> None:
    pump = folder / "pump.md"
    reading.before = lambda place: (
        pump.write_text(PUMP + "more", encoding="utf-8") and None if place == str(pump) else None
    )
    report = knowledge.add(str(folder), "house")
    assert ["changed" in str(one.reason) for one in report.refused] == [True]
    reading.before = lambda _place: None
    assert not knowledge.add(str(folder), "house").refused
    assert "more" in knowledge.document(knowledge.documents(text="pump.md")[0].id)[1]


def test_an_upload_is_known_by_its_name(knowledge: KnowledgeBase, tmp_path: Path) -> None:
    staged = tmp_path / "x81"
    staged.write_text(PUMP, encoding="utf-8")
    knowledge.add(str(staged), "house", known_as="upload:pump.md")
    staged.unlink()
    (one,) = knowledge.documents()
    assert (one.place, one.title) == ("upload:pump.md", "pump.md")


def test_outside_of_the_roots_nothing_is_read(knowledge: KnowledgeBase, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="outside"):
        knowledge.add(str(folder), "house", roots=(str(tmp_path / "knowledge"),))
    assert knowledge.add(str(folder), "house", roots=(str(tmp_path),)).added == 2


def test_collections_have_names_that_can_be_written(knowledge: KnowledgeBase) -> None:
    for name in ("", "   ", "a\nb", "a/b", "x" * 101):
        with pytest.raises(UsageError, match="name"):
            knowledge.create(name)
    assert knowledge.create("house", "mine").description == "mine"
    assert knowledge.create("house").description == "mine"
    with pytest.raises(NotFoundError, match=r"hause.*house"):
        knowledge.search("x", Filters(collections=("hause",)))


def test_removing_a_document_or_a_collection_removes_it_from_searches(knowledge: KnowledgeBase, folder: Path) -> None:
    knowledge.add(str(folder), "house")
    knowledge.remove_document(knowledge.documents(text="pump")[0].id)
    assert titles(knowledge, "pump") == []
    with pytest.raises(NotFoundError):
        knowledge.remove_document(10**30)
    # Asked for again, it is read again.
    assert knowledge.add(str(folder), "house").added == 1
    knowledge.remove_collection("house")
    assert knowledge.collections() == []
    assert knowledge.search("pump").hits == ()


@pytest.mark.parametrize(
    "query", ["", "   ", "\0", "и в на", "the of and", "€", "x" * 100_000, "слово " * 5_000, "日本語"]
)
def test_any_question_has_an_answer(knowledge: KnowledgeBase, folder: Path, query: str) -> None:
    knowledge.add(str(folder), "house")
    found = knowledge.search(query, Filters(owners=(EVERYBODY,)))
    assert len(found.hits) <= 2


def test_a_model_that_is_gone_leaves_words(knowledge: KnowledgeBase, folder: Path, embedder: HashedWords) -> None:
    embedder.gone = True
    report = knowledge.add(str(folder), "house")
    assert report.embedded == 0
    assert "gone" in str(report.refused[0].reason)
    found = knowledge.search("pump")
    assert (found.vectors, found.pending) == (False, 2)
    assert found.hits[0].document.title == "pump.md"
    embedder.gone = False
    assert knowledge.estimate().passages == 2
    assert knowledge.embed().embedded == 2
    assert knowledge.search("pump").pending == 0


def test_a_passage_that_the_model_refuses_does_not_keep_the_others(
    knowledge: KnowledgeBase, folder: Path, embedder: HashedWords
) -> None:
    embedder.refuses = lambda words: "Кошка" in words
    report = knowledge.add(str(folder), "house")
    assert report.embedded == 1
    assert [one.place for one in report.refused] == [str(folder / "cats.md")]
    assert knowledge.search("кошка", vectors=False).hits[0].document.title == "cats.md"


def test_stopping_leaves_what_was_done(knowledge: KnowledgeBase, folder: Path) -> None:
    asked = iter((False, False, True, True, True, True, True))
    report = knowledge.add(str(folder), "house", stopped=lambda: next(asked))
    assert report.added == 1
    assert len(knowledge.documents()) == 1
    assert knowledge.add(str(folder), "house").added == 1


def test_pipes_devices_and_what_is_too_large_are_refused_before_a_byte_is_read(
    tmp_path: Path, reading: PlainReading
) -> None:
    pipe, huge = tmp_path / "pipe.txt", tmp_path / "huge.txt"
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    with contextlib.closing(opened(tmp_path / "knowledge", reading=reading)) as knowledge:
        # The hash of a file is made by the running product itself: neither of these would ever have ended.
        for place, reason in ((pipe, "no regular file"), (Path("/dev/zero"), "no regular file"), (huge, "MiB")):
            (refused,) = knowledge.add(str(place), "house").refused
            assert refused.place == str(place)
            assert reason in str(refused.reason)
        assert not reading.reads


def test_a_folder_that_becomes_a_link_while_it_is_walked_leads_nowhere(tmp_path: Path, reading: PlainReading) -> None:
    folder, private = tmp_path / "shared", tmp_path / "private"
    for one in (folder / "inner", private):
        one.mkdir(parents=True)
        (one / "a.md").write_text(f"the words of {one.name}\n", encoding="utf-8")

    def swapped(walked: Path, *_: object) -> list[Path]:
        (folder / "inner").rename(folder / "former")
        (folder / "inner").symlink_to(private)
        return [walked / "inner" / "a.md"]

    with contextlib.closing(opened(tmp_path / "knowledge", reading=reading, walk=swapped)) as knowledge:
        (refused,) = knowledge.add(str(folder), "house").refused
        assert "outside" in str(refused.reason)
        assert not knowledge.documents()


def test_nothing_of_ansambls_own_folder_is_read(tmp_path: Path, reading: PlainReading) -> None:
    ours, uploads = tmp_path / "ansambl", tmp_path / "ansambl" / "knowledge" / "uploads"
    uploads.mkdir(parents=True)
    for one in (ours / "state.json", tmp_path / "notes.md", uploads / "sent.md"):
        one.write_text(f"the token of {one.name}\n", encoding="utf-8")
    (tmp_path / "shortcut").symlink_to(ours)
    limits = KnowledgeLimits(private=(str(ours.resolve()),))
    outside = Outside(DEFAULT_LIMITS, DEFAULT_WEB_LIMITS, tmp_path, limits.private)
    stage = opened(ours / "knowledge", reading=reading, settings=limits, walk=outside.walk)
    with contextlib.closing(stage) as knowledge:
        # An API key that may add files could otherwise read the token of the owner.
        for place in (ours, ours / "state.json", tmp_path / "shortcut" / "state.json"):
            with pytest.raises(UsageError, match="own data folder"):
                knowledge.add(str(place), "house")
            with pytest.raises(UsageError, match="own data folder"):
                knowledge.import_chats(str(place), "house")
        knowledge.add(str(tmp_path), "house")
        assert [one.title for one in knowledge.documents()] == ["notes.md"]
        knowledge.add(str(uploads / "sent.md"), "house", known_as="upload:sent.md")
        assert len(knowledge.documents()) == 2


def test_a_call_after_the_end_is_told_so_and_waits_for_nothing(tmp_path: Path, folder: Path) -> None:
    knowledge = opened(tmp_path / "knowledge")
    knowledge.add(str(folder), "house")
    knowledge.close()
    # It waited for ever, and a thread that does so keeps the whole program from ending.
    for call in (knowledge.collections, knowledge.documents, lambda: knowledge.conversation("1")):
        with pytest.raises(DataFolderError, match="was closed"):
            call()


def test_an_address_is_one_however_its_scheme_is_written(tmp_path: Path) -> None:
    with contextlib.closing(opened(tmp_path / "knowledge")) as knowledge:
        # Taken for a path, it would have been looked for below the present folder.
        (refused,) = knowledge.add("HTTP://127.0.0.1/", "house").refused
        assert "not a public address" in str(refused.reason)
