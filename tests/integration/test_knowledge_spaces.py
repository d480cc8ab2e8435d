"""Another model of vectors: new ones grow beside the old ones, which serve until then."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from knowledge_stage import PASSAGES, HashedWords, PlainReading, content, in_this_process, opened, vectors

from ansambl.domain.text import text
from ansambl.knowledge.base import KnowledgeLimits
from ansambl.knowledge.index.errors import IndexFailedError
from ansambl.knowledge.passages.limits import PassageLimits

LIMIT = 20.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "documents"
    found.mkdir()
    for number in range(12):
        (found / f"{number}.md").write_text(f"# Part {number}\n\nWhat {number} says of pumps.\n", encoding="utf-8")
    return found


def test_the_former_space_serves_until_the_new_one_is_complete(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "knowledge"
    old, new = HashedWords("old"), HashedWords("new", 16)
    knowledge = opened(place, embedder=old)
    knowledge.add(str(folder), "house")
    knowledge.close()
    knowledge = opened(place, embedder=new, embedder_of=lambda space: old if space == old.space() else None)
    assert knowledge.estimate().passages == 12
    asked = 0

    def stopped() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2

    assert 0 < knowledge.embed(stopped=stopped).embedded < 12
    found = knowledge.search("pumps")
    assert (found.space, found.pending, found.vectors) == ("old", 0, True)
    knowledge.close()
    # It goes on where it was.
    knowledge = opened(place, embedder=new, embedder_of=lambda space: old if space == old.space() else None)
    assert knowledge.search("pumps").space == "old"
    knowledge.embed()
    found = knowledge.search("pumps")
    assert (found.space, found.pending) == ("new", 0)
    assert len(new.embedded) == 12
    assert len(list((place / "index" / "exact").iterdir())) == 1
    knowledge.close()
    # Going back computes nothing again.
    again = HashedWords("old")
    knowledge = opened(place, embedder=again)
    assert knowledge.embed().embedded == 0
    assert knowledge.search("pumps").space == "old"
    assert again.embedded == []
    knowledge.close()


def test_where_the_former_model_is_gone_words_answer_and_what_is_new_comes_by_and_by(
    tmp_path: Path, folder: Path
) -> None:
    place = tmp_path / "knowledge"
    knowledge = opened(place, embedder=HashedWords("old"))
    knowledge.add(str(folder), "house")
    knowledge.close()
    new = HashedWords("new", 16)
    knowledge = opened(place, embedder=new)
    found = knowledge.search("pumps")
    assert not found.vectors
    assert len(found.hits) == 10
    asked = iter((False, True, True, True))
    assert knowledge.embed(stopped=lambda: next(asked)).embedded == 4
    found = knowledge.search("pumps")
    assert (found.space, found.pending) == ("new", 8)
    knowledge.close()


def test_an_index_that_was_deleted_is_built_again(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "knowledge"
    knowledge = opened(place)
    knowledge.add(str(folder), "house")
    before = [(hit.passage, hit.score) for hit in knowledge.search("part 7 says").hits]
    knowledge.close()
    shutil.rmtree(place / "index")
    knowledge = opened(place)
    assert [(hit.passage, hit.score) for hit in knowledge.search("part 7 says").hits] == before
    knowledge.close()


def test_an_index_of_another_past_is_not_believed(tmp_path: Path, folder: Path) -> None:
    place, copy = tmp_path / "knowledge", tmp_path / "copy"
    knowledge = opened(place)
    knowledge.add(str(folder / "1.md"), "house")
    knowledge.close()
    shutil.copytree(place, copy)
    knowledge = opened(place)
    knowledge.add(str(folder), "house")
    knowledge.close()
    # The store comes from a backup, the index is newer.
    shutil.copy(copy / "knowledge.db", place / "knowledge.db")
    knowledge = opened(place)
    assert [hit.document.title for hit in knowledge.search("says of pumps").hits] == ["1.md"]
    knowledge.close()


def test_other_limits_divide_documents_anew_from_their_stored_texts(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "knowledge"
    (folder / "long.md").write_text(
        "".join(f"Sentence {one} is about the old pump. " for one in range(40)), encoding="utf-8"
    )
    knowledge = opened(place, settings=KnowledgeLimits(passages=PASSAGES))
    knowledge.add(str(folder), "house")
    before = content(knowledge)
    knowledge.close()
    shutil.rmtree(folder)
    wider = PassageLimits(tokens=64, whole=80, overlap=8, context=16)
    knowledge = opened(place, settings=KnowledgeLimits(passages=wider), reading=PlainReading(wider))
    assert knowledge.settled(LIMIT)
    after = content(knowledge)
    assert [one[:5] for one in before] == [one[:5] for one in after]
    assert max(len(one[-1]) for one in after) < max(len(one[-1]) for one in before)
    assert knowledge.search("old pump", vectors=False).hits[0].document.title == "long.md"
    knowledge.embed()
    knowledge.close()
    assert len(vectors(place)) == sum(len(one[-1]) for one in after)


def test_an_index_that_cannot_be_fed_keeps_nobody_out(tmp_path: Path, folder: Path) -> None:
    place = tmp_path / "knowledge"
    knowledge = opened(place)
    knowledge.add(str(folder), "house")
    knowledge.close()
    shutil.rmtree(place / "index")
    fails = True

    class Full:
        def __init__(self, index: Any) -> None:
            self._index = index

        def __getattr__(self, name: str) -> Any:
            return getattr(self._index, name)

        def put(self, entries: Any) -> None:
            if fails:
                raise IndexFailedError(text("the disk is full"))
            self._index.put(entries)

    knowledge = opened(place, opener=lambda where: Full(in_this_process(where)))
    assert len(knowledge.documents()) == 12
    fails = False
    knowledge.remove_document(knowledge.documents()[0].id)
    assert knowledge.settled(LIMIT)
    assert len(knowledge.search("pumps", limit=50).hits) == 11
    knowledge.close()
