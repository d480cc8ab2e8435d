"""A knowledge base without child processes: it reads text files in this process, and its vectors are hashed words."""

from __future__ import annotations

import hashlib
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ansambl.domain.errors import AnsamblError, UnavailableError
from ansambl.domain.knowledge import Form, Kind, Material
from ansambl.domain.past_conversation import PastConversation
from ansambl.domain.text import text
from ansambl.knowledge.base import KnowledgeBase
from ansambl.knowledge.contract import Refused
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.importing import kept
from ansambl.knowledge.importing.material import material_of
from ansambl.knowledge.index.contract import IndexPlace
from ansambl.knowledge.index.opening import open_index
from ansambl.knowledge.passages.limits import PassageLimits
from ansambl.knowledge.passages.preparing import prepared
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading.options import DEFAULT_OPTIONS, ReadingOptions
from ansambl.knowledge.reading.roots import path_of

PASSAGES = PassageLimits(tokens=32, whole=40, overlap=8, context=16)


class PlainReading:
    """Reads UTF-8 files as Markdown, and JSON lists of conversations; `reads` counts by place.

    A line ``=== name`` begins another document of the same file, as the members of an archive are.
    """

    def __init__(self, limits: PassageLimits = PASSAGES) -> None:
        self.reads: dict[str, int] = {}
        self.limits = limits
        self.before: Callable[[str], None] = lambda _place: None

    def documents(self, place: str, options: ReadingOptions = DEFAULT_OPTIONS) -> Iterator[Prepared | Refused]:
        self.reads[place] = self.reads.get(place, 0) + 1
        self.before(place)
        data = path_of(options.path or place).read_bytes()
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            yield Refused(place, text("it is not text"))
            return
        parts = re.split(r"^=== (.+)\n", whole, flags=re.MULTILINE)
        members = [("", parts[0])] if len(parts) == 1 else list(zip(parts[1::2], parts[2::2], strict=True))
        for name, content in members:
            where = f"{place}!{name}" if name else place
            title = options.name or Path(where).name
            material = Material(Kind.FILE, where, title, content, Form.MARKDOWN, source="file")
            yield prepared(material, hashlib.sha256(content.encode()).hexdigest(), None, self.limits)

    def chats(
        self, path: str, *, day_first: bool | None = None, roots: Sequence[str] = ()
    ) -> Iterator[Prepared | Refused]:  # fmt: skip
        for one in msgspec.json.decode(Path(path).read_bytes(), type=list[PastConversation]):
            yield prepared(material_of(one), kept.digest(one), one, self.limits)

    def divided(self, material: Material) -> Prepared:
        return prepared(material, hashlib.sha256(material.text.encode()).hexdigest(), None, self.limits)

    def close(self) -> None:
        pass


class HashedWords:
    """Vectors of hashed word beginnings: like texts have like vectors, the same every time."""

    def __init__(self, model: str = "hashed/1", dimension: int = 32) -> None:
        self._space = VectorSpace(model, dimension)
        self.embedded: list[str] = []
        self.gone = False
        self.refuses: Callable[[str], bool] = lambda _text: False
        self._lock = threading.Lock()

    @property
    def batch(self) -> int:
        return 4

    def rate(self) -> float | None:
        return 100.0

    def space(self) -> VectorSpace:
        if self.gone:
            raise UnavailableError(text("the model is gone"))
        return self._space

    def passages(self, texts: Sequence[str]) -> Vectors:
        if self.gone:
            raise UnavailableError(text("the model is gone"))
        if any(map(self.refuses, texts)):
            raise AnsamblError(text("the model refuses it"))
        with self._lock:
            self.embedded.extend(texts)
        return np.stack([self._vector(one) for one in texts])

    def query(self, words: str) -> Vectors:
        if self.gone:
            raise UnavailableError(text("the model is gone"))
        return self._vector(words)

    def _vector(self, words: str) -> Vectors:
        found = np.full(self._space.dimension, 1e-3, dtype=np.float32)
        for word in re.findall(r"\w+", words.casefold()):
            digest = hashlib.blake2b((self._space.model + word[:5]).encode(), digest_size=8).digest()
            found[int.from_bytes(digest[:4], "little") % self._space.dimension] += 1 if digest[4] & 1 else -1
        unit: Vectors = found / np.linalg.norm(found)
        return unit


def all_files(folder: Path, include: Sequence[str], exclude: Sequence[str], _roots: Sequence[str]) -> list[Path]:
    """The files of a folder, in order."""
    return sorted(
        one
        for one in folder.rglob("*")
        if one.is_file()
        and (not include or any(one.match(pattern) for pattern in include))
        and not any(one.match(pattern) for pattern in exclude)
    )


def in_this_process(place: IndexPlace) -> Any:
    """The exact index without a process of its own."""
    return open_index("exact", place, own_process=False)


def opened(folder: Path, **changed: Any) -> KnowledgeBase:
    """A knowledge base with the stand-ins above; any argument of `KnowledgeBase` may be given."""
    arguments = {
        "embedder": HashedWords(), "index": "exact", "reading": PlainReading(), "walk": all_files,
        "opener": in_this_process, **changed,
    }  # fmt: skip
    return KnowledgeBase(folder, **arguments)


def content(knowledge: KnowledgeBase) -> list[tuple[Any, ...]]:
    """All that is kept but for numbers and times of keeping: two bases with equal contents answer equally."""
    found = []
    for document in knowledge.documents(limit=1_000_000):
        _, text_of_it = knowledge.document(document.id)
        passages = tuple(knowledge.passages(document.id))
        found.append(
            (document.collection, document.owner, document.place, document.title, document.digest, document.embedded,
             text_of_it, passages)
        )  # fmt: skip
    return sorted(found, key=lambda one: one[:3])


def vectors(folder: Path) -> dict[bytes, bytes]:
    """All vectors by the hashes of their texts, from the file of a closed knowledge base."""
    with sqlite3.connect(folder / "knowledge.db") as connection:
        found: dict[bytes, bytes] = {}
        for (space,) in connection.execute("SELECT id FROM spaces").fetchall():
            query = f"SELECT p.hash, v.vector FROM passages p JOIN vectors_{space} v ON v.passage = p.id"  # noqa: S608
            found |= dict(connection.execute(query).fetchall())
    connection.close()
    return found
