"""kill -9 of an ingesting process at random moments: nothing half-written is served, and the end is the same."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from knowledge_stage import HashedWords, content, opened, vectors

from ansambl.domain.past_conversation import PastConversation, Speaker, Turn
from ansambl.knowledge.index.opening import open_index

INGEST = Path(__file__).resolve().parents[1] / "support" / "knowledge_ingest.py"
ALL = os.environ.get("ANSAMBL_LONG_TESTS") == "1"
LIMIT = 60.0
WORDS = (
    "pump", "reactor", "night", "water", "valve", "насос", "ночь", "вода", "кошка", "крыша", "сон", "дом", "яблоко",
    "пирог", "сахар", "мука",
)  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Short documents of several passages each, some of them equal, and an export."""
    folder = tmp_path_factory.mktemp("inputs") / "documents"
    folder.mkdir()
    chance = random.Random(8)  # noqa: S311
    for number in range(40):
        sentences = (" ".join(chance.choices(WORDS, k=8)).capitalize() + "." for _ in range(16))
        (folder / f"{number % 35}.md").write_text("\n\n".join(sentences), encoding="utf-8")
    shutil.copy(folder / "1.md", folder / "copy.md")
    talks = [
        PastConversation(
            "chatgpt", f"talk-{number}", f"Talk {number}",
            (Turn(Speaker.USER, f"How is {number}?", 1.0), Turn(Speaker.ASSISTANT, f"Well, {number} it is.", 2.0)),
            updated=2.0,
        )
        for number in range(12)
    ]  # fmt: skip
    export = folder.parent / "export.json"
    export.write_bytes(msgspec.json.encode(talks))
    return folder, export


def begin(folder: Path, inputs: tuple[Path, Path], index: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(INGEST), str(folder), str(inputs[0]), str(inputs[1]), index],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(INGEST.parent)},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begins\n"
    return process


def finished(process: subprocess.Popen[str]) -> bool:
    """Whether it came to its end, once it has ended."""
    output, _ = process.communicate(timeout=LIMIT)
    return output.endswith("done\n")


def check_whole(folder: Path) -> None:
    """What a killed process has left: each document with all of its text, passages and terms, or not at all."""
    if not (folder / "knowledge.db").exists():
        return
    connection = sqlite3.connect(folder / "knowledge.db")
    try:
        if not connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'texts')").fetchone()[0]:
            return
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        rows = connection.execute(
            "SELECT d.id, d.passages, count(p.id), count(t.passage), max(p.stop), d.characters FROM documents d "
            "LEFT JOIN passages p ON p.document = d.id LEFT JOIN terms t ON t.passage = p.id GROUP BY d.id"
        ).fetchall()
        assert all(said == there == terms and stop <= length for _, said, there, terms, stop, length in rows)
        texts = {row[0] >> 20 for row in connection.execute("SELECT id FROM texts")}
        assert texts == {row[0] for row in rows}
        spaces = [row[0] for row in connection.execute("SELECT id FROM spaces")]
        for space in spaces:
            lost = f"SELECT count(*) FROM vectors_{space} WHERE passage NOT IN (SELECT id FROM passages)"  # noqa: S608
            assert connection.execute(lost).fetchone() == (0,)
    finally:
        connection.close()


def end_state(folder: Path, index: str) -> tuple[Any, ...]:
    """All that is kept and what searches answer, without numbers."""
    knowledge = opened(
        folder, embedder=HashedWords("new", 16), opener=lambda place: open_index(index, place, own_process=False)
    )
    try:
        # A kill between the vectors and the switch leaves an index to be built; the one before answers until then.
        assert knowledge.settled(60.0)
        state = content(knowledge)
        answers = [
            sorted((round(hit.score, 6), hit.document.place, hit.passage.start, hit.by) for hit in found.hits)
            for found in (knowledge.search(query, limit=3) for query in ("насос воды", "well talk 7", "reactor night"))
        ]
        assert knowledge.state().pending == 0
    finally:
        knowledge.close()
    return state, vectors(folder), answers


@pytest.mark.parametrize(("index", "moments"), [("exact", 20), ("qdrant-edge", 20 if ALL else 3)])
def test_a_killed_ingest_comes_to_the_same_end(
    tmp_path: Path, inputs: tuple[Path, Path], index: str, moments: int
) -> None:
    if index == "qdrant-edge":
        pytest.importorskip("qdrant_edge")
    whole = tmp_path / "whole"
    process = begin(whole, inputs, index)
    began = time.monotonic()
    assert finished(process)
    lasts = time.monotonic() - began
    expected = end_state(whole, index)
    chance = random.Random(f"{index} 8")  # noqa: S311
    left, store, killed = moments, 0, 0
    folder = tmp_path / "store-0"
    while left:
        process = begin(folder, inputs, index)
        try:
            process.wait(chance.uniform(0.0, lasts))
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        over = finished(process)
        left -= 1
        check_whole(folder)
        # After some crashes one on top of another, or when it was through before, the end is looked at.
        if over or chance.random() < 0.25 or not left:
            if not over:
                assert finished(begin(folder, inputs, index))
            state, embedded, answers = end_state(folder, index)
            assert (state, embedded.keys()) == (expected[0], expected[1].keys())
            assert embedded == expected[1]
            assert answers == expected[2]
            store += 1
            folder = tmp_path / f"store-{store}"
    assert killed >= moments // 2
