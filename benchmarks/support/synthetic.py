"""A hundred thousand passages, the same in every run: texts of real sentences, vectors around random centres."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ansambl.domain.knowledge import Form, Kind, Material, Passage
from ansambl.knowledge.analysis.likeness import fingerprint
from ansambl.knowledge.analysis.terms import terms_of
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.passages.tokens import estimate
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading.options import DEFAULT_OPTIONS, ReadingOptions
from support.labelled import LANGUAGES, texts_of

SEED = 8
DIMENSION = 384
_BLOCK = 1000
_CENTRES = 2000
_NOISE = 0.9
"""Against a centre of length 1: as wide as the clouds that real passages about one subject make."""
_OF_DOCUMENT = 50
_OF_FILE = 5_000
_STATEMENTS = 3
_DAY = 86_400.0
_BEGIN = 1_600_000_000.0
_RARE = 100_000
_NUMBER = re.compile(r"\[(\d+)\]")
_WORD = re.compile(r"[^\W\d_]{4,}")
_RUSSIAN_EACH = 3
"""Every third document is Russian."""


@dataclass(frozen=True, slots=True)
class Query:
    """A question of three words of passage `number`, in its language, with a vector near that passage's."""

    text: str
    vector: Vectors
    number: int
    language: str


class Corpus:
    """Passages by their numbers, from 0 on. Nothing is kept: what is asked for is made, always the same."""

    def __init__(self) -> None:
        self._pools = {language: [text for _, text in texts_of(language)] for language in LANGUAGES}
        centres = np.random.default_rng(SEED).standard_normal((_CENTRES, DIMENSION), dtype=np.float32)
        self._centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)

    @staticmethod
    def language(number: int) -> str:
        """The language of a passage: that of its document."""
        return "ru" if number // _OF_DOCUMENT % _RUSSIAN_EACH == 0 else "en"

    @staticmethod
    def time(number: int) -> float:
        """When it was written, in seconds since the epoch."""
        return _BEGIN + _DAY * (number // _OF_DOCUMENT)

    def picks(self, number: int) -> list[int]:
        """Which texts of the pool it is made of."""
        drawn = random.Random(SEED * 1_000_003 + number)  # noqa: S311 - the same texts every time, no secret
        return drawn.sample(range(len(self._pools[self.language(number)])), _STATEMENTS)

    def text(self, number: int) -> str:
        """About 800 characters, with a number and a word that no other has."""
        pool = self._pools[self.language(number)]
        statements = "\n".join(pool[one] for one in self.picks(number))
        return f"[{number}] {statements} {self._rare(number)}"

    def vectors(self, block: int) -> Vectors:
        """Those of passages 1000 * `block` up to the next block."""
        return _vectors(self, block)

    def vector(self, number: int) -> Vectors:
        """One of them."""
        row: Vectors = self.vectors(number // _BLOCK)[number % _BLOCK]
        return row

    def make_vectors(self, block: int) -> Vectors:
        """As `vectors`, made anew."""
        drawn = np.random.default_rng([SEED, block])
        noise = drawn.standard_normal((_BLOCK, DIMENSION), dtype=np.float32) * (_NOISE / DIMENSION**0.5)
        return _unit(self._centres[drawn.integers(0, _CENTRES, _BLOCK)] + noise)

    def queries(self, count: int, passages: int) -> list[Query]:
        """Questions about passages below `passages`, each different."""
        drawn = random.Random(SEED)  # noqa: S311 - the same questions every time, no secret
        noise = np.random.default_rng([SEED, 1, 1])
        made: dict[str, Query] = {}
        while len(made) < count:
            number = drawn.randrange(passages)
            words = sorted(set(_WORD.findall(self.text(number))))
            text = " ".join(drawn.sample(words, 3))
            near = self.vector(number) + noise.standard_normal(DIMENSION, dtype=np.float32) * (0.5 / DIMENSION**0.5)
            made[text] = Query(text, _unit(near[None])[0], number, self.language(number))
        return list(made.values())

    def exact(self, queries: Sequence[Query], passages: int, depth: int) -> list[list[int]]:
        """The numbers of the passages whose vectors are nearest, by looking at all of them."""
        asked = np.stack([one.vector for one in queries])
        best: list[list[tuple[float, int]]] = [[] for _ in queries]
        for first in range(0, passages, _BLOCK):
            scores = asked @ self.make_vectors(first // _BLOCK)[: passages - first].T
            top = np.argsort(-scores, axis=1)[:, :depth]
            for which, row in enumerate(top):
                best[which].extend((-float(scores[which, at]), first + int(at)) for at in row)
                best[which] = sorted(best[which])[:depth]
        return [[number for _, number in one] for one in best]

    def prepared(self, document: int, place: str, passages: int) -> Prepared:
        """A document of 50 passages (the last of fewer), as a reader would give it."""
        numbers = range(document * _OF_DOCUMENT, min((document + 1) * _OF_DOCUMENT, passages))
        language = self.language(numbers[0])
        text, at = "", 0
        made, terms = [], []
        for place_in, number in enumerate(numbers):
            one = self.text(number)
            counted = {str(number): 1, self._rare(number): 1}
            for pick in self.picks(number):
                for term, times in _terms(self, language, pick):
                    counted[term] = counted.get(term, 0) + times
            passage = Passage(
                number=place_in, start=at, end=at + len(one), text=one, time=self.time(number), language=language,
                tokens=estimate(one), fingerprint=fingerprint(counted),
            )  # fmt: skip
            made.append(passage)
            terms.append(counted)
            text += f"{one}\n\n"
            at = len(text)
        material = Material(
            kind=Kind.FILE, place=place, title="", text=text, form=Form.PLAIN, time=self.time(numbers[0]),
            language=language, source=f"source{document % 4}",
        )  # fmt: skip
        return Prepared(material, tuple(made), tuple(terms), f"{document:032x}")

    def pool_text(self, language: str, pick: int) -> str:
        """A text of the pool."""
        return self._pools[language][pick]

    @staticmethod
    def _rare(number: int) -> str:
        return f"x{(number * 7919 + 13) % _RARE:06d}"


@lru_cache(maxsize=8)
def _vectors(corpus: Corpus, block: int) -> Vectors:
    return corpus.make_vectors(block)


@lru_cache(maxsize=8192)
def _terms(corpus: Corpus, language: str, pick: int) -> tuple[tuple[str, int], ...]:
    return tuple(terms_of(corpus.pool_text(language, pick), language).items())


def _unit(rows: Vectors) -> Vectors:
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def number_in(text: str) -> int:
    """The number that a passage's text begins with."""
    found = _NUMBER.search(text)
    if found is None:
        raise ValueError("no passage of the corpus")
    return int(found.group(1))


class SyntheticReading:
    """Stands where files are read and divided: gives ready documents, and counts the seconds that making them took."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self.seconds = 0.0

    @staticmethod
    def files(folder: Path, first: int, passages: int) -> None:
        """Put files into `folder`, each of which stands for 5,000 passages, from number `first` to below `passages`."""
        folder.mkdir(parents=True)
        for start in range(first, passages, _OF_FILE):
            stop = min(start + _OF_FILE, passages)
            (folder / f"{start:07d}-{stop:07d}.txt").write_text(f"{start} {stop}\n")

    def documents(self, place: str, options: ReadingOptions = DEFAULT_OPTIONS) -> Iterator[Prepared]:
        """The documents that a file stands for."""
        start, stop = map(int, Path(options.path or place).stem.split("-"))
        for document in range(start // _OF_DOCUMENT, -(-stop // _OF_DOCUMENT)):
            began = time.perf_counter()
            made = self._corpus.prepared(document, f"{place}!{document}", stop)
            self.seconds += time.perf_counter() - began
            yield made

    def chats(self, path: str) -> Iterator[Prepared]:
        """Nothing: there are no exports here."""
        del path
        return iter(())

    def divided(self, material: Material) -> Prepared:
        """Never asked: nothing was read before."""
        raise NotImplementedError(material.place)

    def close(self) -> None:
        """Nothing was started."""


class KnownVectors:
    """An embedder that looks its vectors up, so that what is measured is everything but a model."""

    batch = 128

    def __init__(self, corpus: Corpus, queries: Sequence[Query]) -> None:
        self._corpus = corpus
        self._queries = {one.text: one.vector for one in queries}
        self._at_all = next(iter(self._queries.values()))

    def space(self) -> VectorSpace:
        """A space of its own."""
        return VectorSpace("synthetic", DIMENSION)

    def passages(self, texts: Sequence[str]) -> Vectors:
        """The vectors of passages, by the numbers that their texts begin with."""
        return np.stack([self._corpus.vector(number_in(text)) for text in texts])

    def query(self, text: str) -> Vectors:
        """The vector of a question that was made here."""
        return self._queries.get(text, self._at_all)

    def rate(self) -> float | None:
        """Not known: nothing is computed."""
        return None
