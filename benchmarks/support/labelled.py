"""The labelled sets of ``data/knowledge``: really embedded passages, questions, and which passages answer them."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ansambl.knowledge.embedding import Vectors

FOLDER = Path(__file__).parents[1] / "data" / "knowledge"
LANGUAGES = ("en", "ru")
DEPTH = 10
"""Recall is counted among so many."""


@dataclass(frozen=True, slots=True)
class Question:
    """A question, the ids of the passages that answer it, and how it was made (``written``, ``title``, ``heading``)."""

    text: str
    relevant: tuple[str, ...]
    kind: str

    @property
    def for_tuning(self) -> bool:
        """Whether it belongs to the half on which weights were chosen; figures are of the other half."""
        return hashlib.sha256(self.text.encode()).digest()[0] % 2 == 0


@dataclass(frozen=True, slots=True)
class Labelled:
    """One language: `ids` and `texts` belong together, and to the rows of `vectors` (unit length)."""

    language: str
    ids: tuple[str, ...]
    texts: tuple[str, ...]
    vectors: Vectors
    questions: tuple[Question, ...]


def texts_of(language: str) -> list[tuple[str, str]]:
    """The passages of a language: their ids with their texts."""
    return [(line["id"], line["text"]) for line in _lines(f"{language}.passages.jsonl.gz")]


def labelled(language: str, most: int | None = None) -> Labelled:
    """The set of a language; with `most`, that many passages and the questions that they answer."""
    passages = texts_of(language)[:most]
    ids = tuple(one for one, _ in passages)
    vectors = np.load(FOLDER / f"{language}.vectors.npy")[:most].astype(np.float32)
    known = frozenset(ids)
    questions = (
        Question(line["question"], tuple(line["relevant"]), line["kind"])
        for line in _lines(f"{language}.questions.jsonl.gz")
    )
    return Labelled(
        language, ids, tuple(text for _, text in passages), vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        tuple(one for one in questions if known.issuperset(one.relevant)),
    )  # fmt: skip


def recall(found: Sequence[str], relevant: Sequence[str]) -> float:
    """The share of the relevant ones among the first `DEPTH` found (of as many as have room there)."""
    return len(set(found[:DEPTH]) & set(relevant)) / min(DEPTH, len(set(relevant)))


def reciprocal_rank(found: Sequence[str], relevant: Sequence[str]) -> float:
    """One divided by the place of the first relevant one, 0 where it is not among the first `DEPTH`."""
    return next((1.0 / place for place, one in enumerate(found[:DEPTH], 1) if one in relevant), 0.0)


def _lines(name: str) -> list[dict[str, str]]:
    with gzip.open(FOLDER / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]
