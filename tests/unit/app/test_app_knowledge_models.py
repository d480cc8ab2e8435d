"""Vectors and scores of configured models: prefixes, refusals, spaces that are known again, who is chosen."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ansambl.app.configuration.settings_file import LoadedSettings, load_settings
from ansambl.app.knowledge import choosing
from ansambl.app.knowledge.asking import RestingModel
from ansambl.app.knowledge.choosing import embedder_for, former_embedder, reranker_for, resting
from ansambl.app.knowledge.model_embedder import ModelEmbedder
from ansambl.app.knowledge.opening import index_address
from ansambl.app.knowledge.prefixes import Prefixes, prefixes_for
from ansambl.app.knowledge.reranking import ModelReranker
from ansambl.app.knowledge.spaces import SpaceBook, content_digest
from ansambl.domain.errors import ConfigurationError, EngineError, UnavailableError
from ansambl.domain.model import Checkpoint
from ansambl.domain.text import text
from ansambl.domain.units import Bytes
from ansambl.foundation.paths import DataPaths
from ansambl.knowledge.embedders import bundled
from ansambl.knowledge.embedding import VectorSpace

EMPTY = text("too large")
PLAIN = Prefixes()


class Asked:
    """A model that answers what it is told to, and notes what it was asked."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], Any]) -> None:
        self.answer = answer
        self.bodies: list[dict[str, Any]] = []
        self.urgent: list[bool] = []

    def ask(self, path: str, body: dict[str, Any], *, urgent: bool) -> Any:
        self.bodies.append({"path": path, **body})
        self.urgent.append(urgent)
        return self.answer(path, body)

    def close(self) -> None:
        self.bodies.clear()


def vectors(texts: Sequence[str]) -> dict[str, Any]:
    """Each text's length beside a 3, told in the wrong order as some servers do."""
    rows = [{"index": number, "embedding": [float(len(one)), 3.0]} for number, one in enumerate(texts)]
    return {"data": rows[::-1]}


def embedder(tmp_path: Path, asks: Asked, prefixes: Prefixes = PLAIN) -> ModelEmbedder:
    return ModelEmbedder(asks, "m@1", prefixes, SpaceBook(tmp_path / "spaces.json"))


def test_passages_and_questions_get_their_prefixes_and_rows_of_unit_length(tmp_path: Path) -> None:
    asks = Asked(lambda _, body: vectors(body["input"]))
    found = embedder(tmp_path, asks, Prefixes("query: ", "passage: "))
    rows = found.passages(["abcd", "a" * 20])
    assert [one["input"] for one in asks.bodies] == [["passage: abcd", "passage: " + "a" * 20]]
    assert np.allclose(np.linalg.norm(rows, axis=1), 1.0)
    # Longer texts point more to the first axis, whatever the order of the answer.
    assert rows[1, 0] > rows[0, 0]
    assert found.query("why").shape == (2,)
    assert asks.bodies[-1]["input"] == ["query: why"]
    assert asks.urgent == [False, True]
    rate = found.rate()
    assert rate is not None
    assert rate > 0


def test_a_batch_that_is_refused_is_asked_in_halves_and_a_long_text_is_cut(tmp_path: Path) -> None:
    def few(_: str, body: dict[str, Any]) -> Any:
        if len(body["input"]) > 2 or any(len(one) > 1000 for one in body["input"]):
            raise EngineError(EMPTY)
        return vectors(body["input"])

    asks = Asked(few)
    rows = embedder(tmp_path, asks).passages(["a" * 10, "b" * 20, "c" * 3000, "d" * 40, "e" * 50])
    assert rows.shape == (5, 2)
    assert [round(3.0 / one[1] * one[0]) for one in rows.tolist()] == [10, 20, 750, 40, 50]


def test_a_text_that_cannot_be_taken_at_all_is_an_error(tmp_path: Path) -> None:
    def never(_: str, body: dict[str, Any]) -> Any:
        raise EngineError(EMPTY)

    asks = Asked(never)
    with pytest.raises(EngineError):
        embedder(tmp_path, asks).passages(["x" * 10_000])
    assert len(asks.bodies) < 20


@pytest.mark.parametrize(
    "answer",
    [
        None, [], {}, {"data": []}, {"data": [{"embedding": []}]}, {"data": [{"embedding": ["a"]}]},
        {"data": [{"embedding": [float("nan"), 1.0]}]}, {"data": [{"index": 5, "embedding": [1.0]}]},
        {"data": [{"embedding": None}]}, {"data": "x"},
    ],
)  # fmt: skip
def test_what_are_no_vectors_is_an_error_in_words(tmp_path: Path, answer: Any) -> None:
    with pytest.raises(EngineError, match="did not answer with 1 vectors"):
        embedder(tmp_path, Asked(lambda *_: answer)).query("x")


def test_the_dimension_is_asked_once_in_the_life_of_the_folder(tmp_path: Path) -> None:
    asks = Asked(lambda _, body: vectors(body["input"]))
    assert embedder(tmp_path, asks).space() == VectorSpace("m@1", 2)
    assert len(asks.bodies) == 1
    later = Asked(lambda *_: None)
    assert embedder(tmp_path, later).space() == VectorSpace("m@1", 2)
    assert later.bodies == []


def test_another_model_under_the_same_name_is_told_and_mixes_nothing(tmp_path: Path) -> None:
    embedder(tmp_path, Asked(lambda _, body: vectors(body["input"]))).query("x")
    other = Asked(lambda *_: {"data": [{"embedding": [1.0, 2.0, 3.0]}]})
    with pytest.raises(EngineError, match="another model answers"):
        embedder(tmp_path, other).query("x")


def test_a_broken_book_of_spaces_is_as_none(tmp_path: Path) -> None:
    (tmp_path / "spaces.json").write_text('{"m@1": "x", "other": 3, ', encoding="utf-8")
    assert SpaceBook(tmp_path / "spaces.json").dimension("other") is None
    (tmp_path / "spaces.json").write_text('{"m@1": "x", "other": 3}', encoding="utf-8")
    book = SpaceBook(tmp_path / "spaces.json")
    assert (book.dimension("m@1"), book.dimension("other")) == (None, 3)


def test_a_checkpoint_is_known_again_where_it_lies_elsewhere(tmp_path: Path) -> None:
    first, second = tmp_path / "a.gguf", tmp_path / "other" / "b.gguf"
    second.parent.mkdir()
    first.write_bytes(b"0" * 3_000_000 + b"1")
    second.write_bytes(first.read_bytes())
    assert content_digest(first) == content_digest(second)
    second.write_bytes(b"0" * 3_000_000 + b"2")
    assert content_digest(first) != content_digest(second)


@pytest.mark.parametrize(
    ("name", "question", "passage"),
    [
        ("intfloat/multilingual-e5-small", "query: ", "passage: "),
        ("multilingual_E5_large", "query: ", "passage: "),
        ("nomic-ai/nomic-embed-text-v1.5-GGUF", "search_query: ", "search_document: "),
        ("BAAI/bge-m3", "", ""),
        ("my-own-model", "", ""),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "query: ", ""),
    ],
)
def test_prefixes_go_by_the_name_and_nothing_is_guessed(name: str, question: str, passage: str) -> None:
    assert prefixes_for(name) == Prefixes(question, passage)


def test_an_instruction_stands_before_the_question_alone() -> None:
    found = prefixes_for("unknown", "Qwen/Qwen3-Embedding-0.6B")
    assert found.question.startswith("Instruct: ")
    assert "{" not in found.question
    assert found.passage == ""


def test_scores_come_back_in_order_between_0_and_1() -> None:
    results = [{"index": 1, "relevance_score": -4.0}, {"index": 0, "relevance_score": 6.0}]
    asks = Asked(lambda *_: {"results": results})
    scores = ModelReranker(asks, "r").scores("q", ["good", "bad"])
    assert asks.bodies[0]["documents"] == ["good", "bad"]
    assert 0 < scores[1] < 0.5 < scores[0] < 1
    probable = Asked(lambda *_: {"results": [{"index": 0, "relevance_score": 0.25}]})
    assert ModelReranker(probable, "r").scores("q", ["x"]) == [0.25]


@pytest.mark.parametrize("answer", [None, {}, {"results": []}, {"results": [{"index": 0, "relevance_score": "x"}]}])
def test_what_are_no_scores_is_an_error_in_words(answer: Any) -> None:
    with pytest.raises(EngineError, match="did not answer with 1 scores"):
        ModelReranker(Asked(lambda *_: answer), "r").scores("q", ["x"])


# --- who is chosen ----------------------------------------------------------------------------------------------------

ENGINES = ("auto", "llama.cpp-bundled", "openai-compatible", "command")
POOLINGS = {"chat": None, "vectors": "mean", "ranks": "rank"}


@pytest.fixture
def loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], LoadedSettings]:
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "data"))
    for name in POOLINGS:
        (tmp_path / f"{name}.gguf").write_bytes(name.encode() * 100)

    def opened(reference: str, _: Path) -> Checkpoint:
        name = Path(reference).stem
        return Checkpoint(reference, reference, "gguf", Bytes(1), "x", pooling=POOLINGS[name])

    monkeypatch.setattr(choosing, "open_checkpoint", opened)

    def load(source: str) -> LoadedSettings:
        file = tmp_path / "ansambl.toml"
        file.write_text(source, encoding="utf-8")
        return load_settings(file, engines=ENGINES)

    return load


def paths(tmp_path: Path) -> DataPaths:
    return DataPaths(tmp_path / "data")


MODELS = "".join(f'[models.{name}]\ncheckpoint = "./{name}.gguf"\n' for name in POOLINGS)


def test_a_configured_model_that_makes_vectors_comes_first(loaded: Any, tmp_path: Path) -> None:
    found = embedder_for(loaded(MODELS), paths(tmp_path), RestingModel)
    assert isinstance(found, ModelEmbedder)
    assert found.space_name.startswith("vectors@")
    # Another name in the configuration is no other space.
    renamed = embedder_for(loaded(MODELS.replace("models.vectors", "models.mine")), paths(tmp_path), RestingModel)
    assert isinstance(renamed, ModelEmbedder)
    assert renamed.space_name == found.space_name
    assert former_embedder(
        loaded(MODELS), paths(tmp_path), RestingModel, VectorSpace(found.space_name, 3)
    ) is not None  # fmt: skip
    assert former_embedder(loaded(MODELS), paths(tmp_path), RestingModel, VectorSpace("gone", 3)) is None


def test_without_one_the_bundled_model_is_taken_where_it_is_installed(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    only_chat = '[models.chat]\ncheckpoint = "./chat.gguf"\n'
    monkeypatch.setattr(bundled, "is_installed", lambda: True)
    found = embedder_for(loaded(only_chat), paths(tmp_path), RestingModel)
    assert isinstance(found, bundled.BundledEmbedder)
    assert found.space() == bundled.SPACE
    monkeypatch.setattr(bundled, "is_installed", lambda: False)
    assert embedder_for(loaded(only_chat), paths(tmp_path), RestingModel) is None


def test_a_bundled_model_that_is_asked_for_and_missing_says_what_adds_it(
    loaded: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundled, "is_installed", lambda: False)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    with pytest.raises(Exception, match=r"pip install 'ansambl\[knowledge\]'"):
        embedder_for(loaded('[knowledge]\nembedder = "bundled"'), paths(tmp_path), RestingModel)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    with pytest.raises(Exception, match="under \\[knowledge\\]"):
        embedder_for(loaded('[knowledge]\nembedder = "bundled"'), paths(tmp_path), RestingModel)


def test_none_is_none_and_a_named_model_is_that_model(loaded: Any, tmp_path: Path) -> None:
    assert embedder_for(loaded(MODELS + '[knowledge]\nembedder = "none"'), paths(tmp_path), RestingModel) is None
    far = '[models.far]\naddress = "http://127.0.0.1:9/v1"\nname = "bge-m3"\n[knowledge]\nembedder = "far"\n'
    found = embedder_for(loaded(far), paths(tmp_path), RestingModel)
    assert isinstance(found, ModelEmbedder)
    assert found.space_name == "bge-m3"


def test_a_reranker_is_taken_only_where_one_is_wanted(loaded: Any, tmp_path: Path) -> None:
    asked: list[str] = []

    def asking(name: str) -> RestingModel:
        asked.append(name)
        return RestingModel(name)

    assert reranker_for(loaded(MODELS), paths(tmp_path), asking) is None
    assert reranker_for(loaded(MODELS + '[knowledge]\nrerank = "model"'), paths(tmp_path), asking) is not None
    assert reranker_for(loaded(MODELS + '[knowledge]\nrerank = "chat"'), paths(tmp_path), asking) is not None
    assert asked == ["ranks", "chat"]
    without = '[models.chat]\ncheckpoint = "./chat.gguf"\n[knowledge]\nrerank = "model"'
    assert reranker_for(loaded(without), paths(tmp_path), asking) is None


def test_while_nothing_runs_a_model_of_this_machine_says_when_it_can(loaded: Any) -> None:
    asking = resting(loaded(MODELS))
    with pytest.raises(UnavailableError, match="ansambl up"):
        asking("vectors").ask("/embeddings", {}, urgent=True)


def test_the_address_of_an_index_may_stand_in_a_variable(loaded: Any) -> None:
    found = loaded('[knowledge]\nindex = "postgresql"\naddress_env = "PG"')
    assert index_address(found, {"PG": "postgresql://me:secret@db/x"}) == "postgresql://me:secret@db/x"
    with pytest.raises(ConfigurationError, match=r"line 3.*PG is not set"):
        index_address(found, {})
    assert index_address(loaded("")) == ""
