"""What was found for one message, as the prompt, the answer and the explanation tell it. Pure records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ansambl.domain.knowledge import Document, Passage
from ansambl.domain.text import Text


class How(StrEnum):
    """Where the words that were searched come from: the message alone, the question before it too, or a model."""

    AS_WRITTEN = "as-written"
    WORDS = "words"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Query:
    """What is searched."""

    text: str
    how: How = How.AS_WRITTEN


def passage_id(document: int, number: int) -> str:
    """How a passage is named over HTTP: by its document and its number there, which a rebuilt index keeps."""
    return f"{document}.{number}"


@dataclass(frozen=True, slots=True)
class Piece:
    """Text of one document that is given to a model: a passage, or several that touch each other.

    `first` is its first passage, `text` all of them; `tokens` is an estimate; `score` and `likeness` are the best
    hit's, `numbers` those of the passages.
    """

    document: Document
    first: Passage
    text: str
    tokens: int
    score: float
    likeness: float | None = None
    numbers: tuple[int, ...] = ()

    @property
    def time(self) -> float | None:
        """When it was written, in seconds since the epoch."""
        return self.first.time if self.first.time is not None else self.document.time


@dataclass(frozen=True, slots=True)
class Source:
    """A piece under the `number` by which it is cited."""

    number: int
    piece: Piece

    def as_json(self, *, cited: bool | None = None) -> dict[str, Any]:
        """What clients are told of it; `cited` None leaves out whether the answer cites it."""
        document, passage = self.piece.document, self.piece.first
        found: dict[str, Any] = {
            "number": self.number,
            "document": document.id,
            "collection": document.collection,
            "kind": document.kind.value,
            "title": document.title,
            "source": document.source,
            "page": passage.page,
            "headings": list(passage.headings),
            "author": passage.author,
            "role": passage.role,
            "time": self.piece.time,
            "score": round(self.piece.score, 4),
            "text": self.piece.text,
        }
        return found if cited is None else {**found, "cited": cited}


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A hit that was not given to the model, and why."""

    title: str
    page: int | None
    reason: Text
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Given:
    """What one message's search gave: `text` stands in the prompt, in the message that asked.

    No `sources` and no `failure` mean that nothing was found that fits. `failure` says why nothing was searched.
    `tokens` is an estimate of `text`; `seconds` is how long it took.
    """

    text: str
    query: Query
    collections: tuple[str, ...]
    sources: tuple[Source, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    failure: Text | None = None
    tokens: int = 0
    seconds: float = 0.0
    vectors: bool = False
    pending: int = 0

    def as_json(self, translate: Any = None) -> dict[str, Any]:
        """All of it, for explanations; `translate` chooses the language of the reasons."""
        return {
            "collections": list(self.collections),
            "query": self.query.text,
            "query_from": self.query.how.value,
            "by_meaning": self.vectors,
            "without_vectors": self.pending,
            "tokens": self.tokens,
            "seconds": round(self.seconds, 3),
            "failure": self.failure.render(translate) if self.failure is not None else None,
            "sources": [{**one.as_json(), "tokens": one.piece.tokens} for one in self.sources],
            "left_out": [
                {"title": one.title, "page": one.page, "tokens": one.tokens, "reason": one.reason.render(translate)}
                for one in self.left_out
            ],
        }


@dataclass(frozen=True, slots=True)
class Room:
    """How much may be given: tokens, and pieces."""

    tokens: int
    pieces: int = 8


@dataclass(frozen=True, slots=True)
class Citation:
    """A mark in an answer, characters `start` to `end` of its text, that names the source `number`."""

    number: int
    start: int
    end: int
