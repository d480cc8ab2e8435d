"""What the process of the bundled model does with texts and messages, with a model that is none."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import pytest

from ansambl.foundation.child_process import FrameError, read_frame
from ansambl.knowledge.embedders import child
from ansambl.knowledge.embedders.frames import (
    LARGEST,
    LONGEST_PASSAGE,
    LONGEST_QUESTION,
    Answer,
    Ask,
    asked,
    write_frame,
)


class Model:
    """Gives each text the vector of its length; refuses on demand."""

    dim = 2

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[str]]] = []

    def _made(self, kind: str, texts: list[str]) -> np.ndarray:
        self.asked.append((kind, texts))
        if "refuse" in texts:
            raise RuntimeError("no memory")
        return np.array([[len(one), 1.0] for one in texts], dtype=np.float64)

    def query(self, texts: list[str]) -> np.ndarray:
        return self._made("question", texts)

    def passage(self, texts: list[str]) -> np.ndarray:
        return self._made("passage", texts)


def answer(model: Model, ask: Ask) -> Answer:
    return child.Desk(model, lambda _: None, niceness=0).answer(ask)


def test_questions_and_passages_are_asked_apart_and_come_back_in_order() -> None:
    model = Model()
    found = answer(model, Ask(7, questions=False, texts=["a", "bb", "ccc"]))
    assert found.number == 7
    rows = np.frombuffer(found.vectors, dtype=np.float32).reshape(3, found.dimension)
    assert rows[:, 0].tolist() == [1.0, 2.0, 3.0]
    answer(model, Ask(8, questions=True, texts=["why"]))
    assert model.asked == [("passage", ["a", "bb", "ccc"]), ("question", ["why"])]


def test_what_the_model_refuses_is_a_problem_and_no_crash() -> None:
    found = answer(Model(), Ask(1, questions=True, texts=["refuse"]))
    assert (found.problem, found.vectors) == ("no memory", b"")


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("plain", "plain"),
        # C code takes a zero byte for the end of a text.
        ("before\0after", "before after"),
        # Half of a character, as a broken export may hold it.
        ("half \ud83d done", "half ? done"),
        ("", ""),
    ],
)
def test_a_text_is_made_such_that_c_code_can_read_it(written: str, read: str) -> None:
    assert asked(1, [written], questions=True).texts == [read]


def test_a_text_that_would_take_seconds_is_cut() -> None:
    assert len(asked(1, ["x" * 100_000], questions=True).texts[0]) == LONGEST_QUESTION
    assert len(asked(1, ["x" * 100_000], questions=False).texts[0]) == LONGEST_PASSAGE


def test_messages_come_through_whole_and_the_end_is_none() -> None:
    pipe = io.BytesIO()
    write_frame(pipe, Ask(1, questions=True, texts=["ä"]))
    write_frame(pipe, Answer(1, 2, b"12345678", 0.5))
    pipe.seek(0)
    assert msgspec.msgpack.decode(read_frame(pipe, LARGEST) or b"", type=Ask) == Ask(1, questions=True, texts=["ä"])
    assert msgspec.msgpack.decode(read_frame(pipe, LARGEST) or b"", type=Answer) == Answer(1, 2, b"12345678", 0.5)
    assert read_frame(pipe, LARGEST) is None


def test_a_message_that_is_cut_is_the_end_and_one_that_is_huge_is_refused() -> None:
    pipe = io.BytesIO()
    write_frame(pipe, Ask(1, questions=True, texts=["abc"]))
    assert read_frame(io.BytesIO(pipe.getvalue()[:-1]), LARGEST) is None
    with pytest.raises(FrameError, match="bytes"):
        read_frame(io.BytesIO((LARGEST + 1).to_bytes(4, "little") + b"x"), LARGEST)
