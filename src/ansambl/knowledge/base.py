"""All knowledge of a data folder behind one front: `KnowledgeBase` fulfils `contract.Knowledge`."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.knowledge import EVERYBODY, NO_FILTERS, Collection, Document, Filters, Found, Passage
from ansambl.domain.past_conversation import PastConversation
from ansambl.domain.text import text
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.analysis.terms import query_terms
from ansambl.knowledge.analysis.terms import version as terms_version
from ansambl.knowledge.contract import Estimate, Report, State, Stopped, Watch
from ansambl.knowledge.embedding import Embedder, VectorSpace
from ansambl.knowledge.importing import kept
from ansambl.knowledge.index.contract import Index, IndexPlace
from ansambl.knowledge.index.folders import bytes_of
from ansambl.knowledge.index.opening import chosen_kind, open_index
from ansambl.knowledge.ingest.embedding import seconds_for
from ansambl.knowledge.ingest.folders import Walk
from ansambl.knowledge.ingest.index_care import IndexCare, OpenIndex
from ansambl.knowledge.ingest.outside import Outside
from ansambl.knowledge.ingest.running import Runs
from ansambl.knowledge.ingest.taking import Reading
from ansambl.knowledge.passages.limits import DEFAULT as DEFAULT_PASSAGES
from ansambl.knowledge.passages.limits import PassageLimits
from ansambl.knowledge.reading.confined import Confined
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS, DEFAULT_WEB_LIMITS, WebLimits
from ansambl.knowledge.reading.roots import path_of, place_of
from ansambl.knowledge.search import Reranker, Search
from ansambl.knowledge.store import collections as shelves
from ansambl.knowledge.store import finding
from ansambl.knowledge.store.database import KnowledgeDatabase
from ansambl.knowledge.store.texts import text_of
from ansambl.knowledge.store.writing import remove_documents

log = get_logger(__name__)

_FINISHES = 30.0
"""Seconds that closing waits at most for an index that is being built."""


@dataclass(frozen=True, slots=True)
class KnowledgeLimits:
    """How long passages are, and what may be read: sizes in bytes, times in seconds.

    Nothing is read of `private` folders, which are absolute paths without links: Ansambl's own keys lie there.
    """

    passages: PassageLimits = DEFAULT_PASSAGES
    max_file: int = DEFAULT_LIMITS.max_file
    max_page: int = DEFAULT_WEB_LIMITS.size
    page_timeout: float = DEFAULT_WEB_LIMITS.seconds
    allow_private_addresses: bool = False
    private: tuple[str, ...] = ()


class KnowledgeBase:
    """Calls block and come from any thread.

    What is taken in goes one ingest after another; searches and embedding go on meanwhile. Nothing is served of a
    document before all of it is kept, and a crash at any moment costs what was not finished, no more.
    """

    def __init__(
        self, folder: Path, *, embedder: Embedder | None, index: str = "auto", address: str = "",
        reranker: Reranker | None = None, settings: KnowledgeLimits = KnowledgeLimits(), clock: Clock | None = None,
        embedder_of: Callable[[VectorSpace], Embedder | None] | None = None, reading: Reading | None = None,
        walk: Walk | None = None, opener: Callable[[IndexPlace], Index] | None = None,
    ) -> None:  # fmt: skip
        """Open the knowledge of `folder`, which is made where it is missing.

        Args:
            folder: of its own, in the data folder.
            embedder: the model of vectors; None searches by words alone.
            index: the kind of the index, as `index.opening` knows it.
            reranker: ranks what was found once more.
            settings: limits.
            clock: time.
            address: of the index's server.
            embedder_of: an embedder for a former space, so that its index answers until the new one is complete.
            reading: what reads files; child processes by default.
            walk: gives a folder's files.
            opener: opens an index.

        Raises:
            AnsamblError: it cannot be opened.
        """
        self._folder, self._embedder, self._clock = folder, embedder, clock or RealClock()
        self._settings = settings
        self._embedder_of = embedder_of or (lambda _space: None)
        self._kind = chosen_kind(index)
        self._database = KnowledgeDatabase(folder)
        self._closed = False
        try:
            self._care = IndexCare(
                self._database, folder / "index" / self._kind,
                opener or (lambda place: open_index(self._kind, place)), address=address,
                can_ask=lambda space: self._embedder_of(space) is not None,
            )  # fmt: skip
        except BaseException:
            self._database.close()
            raise
        self._search = Search(self._database, self._care, self._embedder_for, reranker)
        limits = replace(DEFAULT_LIMITS, max_file=settings.max_file)
        web = WebLimits(settings.max_page, settings.page_timeout, private=settings.allow_private_addresses)
        outside = Outside(limits, web, folder, settings.private)
        self._runs = Runs(
            self._database, self._care, reading or Confined(limits, settings.passages), walk=walk or outside.walk,
            pages=outside.page, embedder=embedder, analysis=_analysis(settings.passages), clock=self._clock,
            largest=limits.max_file, private=settings.private, uploads=os.path.realpath(folder / "uploads"),
        )  # fmt: skip

        if self._pending(0):
            # The dictionaries of words take a third of a second to load; not from the first question's time.
            threading.Thread(target=query_terms, args=("слово word",), name="knowledge-words", daemon=True).start()

    # -- what there is

    def collections(self) -> list[Collection]:
        """All collections, by name."""
        with self._database.snapshot() as connection:
            return shelves.collections_of(connection, self._care.aimed)

    def create(self, name: str, description: str = "") -> Collection:
        """A new collection, or the one of that name; its description is replaced where one is given."""
        now = self._clock.now()
        self._database.write(lambda connection: shelves.ensure_collection(connection, name, description, now))
        with self._database.snapshot() as connection:
            return shelves.collections_of(connection, self._care.aimed, name.strip())[0]

    def state(self) -> State:
        """How much there is, and what searches it. Asks no model that is not in memory."""
        known = self.collections()
        passages = sum(one.passages for one in known)
        with self._care.using() as serving:
            space = serving.space
        model, dimension, rate = "", 0, None
        if self._embedder is not None:
            rate = self._embedder.rate()
            with contextlib.suppress(AnsamblError):
                space = self._embedder.space()
        if space is not None and self._embedder is not None:
            model, dimension = space.model, space.dimension
        return State(
            len(known), sum(one.documents for one in known), passages,
            passages - sum(one.embedded for one in known), model, dimension,
            bool(getattr(self._embedder, "bundled", False)), rate, self._kind,
            self._database.size() + bytes_of(self._folder / "index"),
            tuple((path, one.name) for one in known for path in one.folders),
        )  # fmt: skip

    def documents(
        self, collection: str | None = None, *, after: int = 0, limit: int = 100, text: str = "",
        owner: str | None = None,
    ) -> list[Document]:  # fmt: skip
        """Documents by their ids, beginning behind `after`; `text` must stand in the title or the place."""
        with self._database.snapshot() as connection:
            number = None if collection is None else shelves.collection_number(connection, collection)
            return finding.documents_of(
                connection, self._care.aimed, collection=number, after=after, limit=limit, holds=text, owner=owner
            )

    def document(self, wanted: int) -> tuple[Document, str]:
        """One document and its text."""
        with self._database.snapshot() as connection:
            return finding.document_row(connection, self._care.aimed, wanted), text_of(connection, wanted)

    def passages(self, document: int) -> list[Passage]:
        """The passages of a document, in its order."""
        with self._database.snapshot() as connection:
            finding.document_row(connection, self._care.aimed, document)
            return finding.passages_of(connection, document)

    def conversation(self, wanted: str, owners: Sequence[str] | None = None) -> PastConversation:
        """A conversation by the id of its document, its own id, a beginning of that, or its exact title."""
        with self._database.snapshot() as connection:
            return kept.decode(finding.conversation_bytes(connection, wanted, owners))

    # -- taking in

    def add(
        self, place: str, collection: str, *, watch: Watch | None = None, stopped: Stopped | None = None,
        embed: bool = True, keep_in_step: bool = False, include: Sequence[str] = (), exclude: Sequence[str] = (),
        known_as: str = "", roots: Sequence[str] = (), again: bool = True,
    ) -> Report:  # fmt: skip
        """Take in a file, a folder or a web page; what was taken in and has not changed costs no reading."""
        return self._runs.add(
            place, collection, watch=watch, stopped=stopped, embed=embed, keep_in_step=keep_in_step, include=include,
            exclude=exclude, known_as=known_as, roots=roots, again=again,
        )  # fmt: skip

    def leave(self, folder: str, collection: str | None = None) -> bool:
        """Keep a folder in step no more, in one collection or in all; whether it was. Its documents stay."""
        path = place_of(Path(os.path.realpath(path_of(folder))))

        def leave(connection: sqlite3.Connection) -> bool:
            number = None if collection is None else shelves.collection_number(connection, collection)
            return max(shelves.leave_folder(connection, one, number) for one in (path, folder))

        return self._database.write(leave)

    def import_chats(
        self, path: str, collection: str, *, watch: Watch | None = None, stopped: Stopped | None = None,
        embed: bool = True, roots: Sequence[str] = (), day_first: bool | None = None,
    ) -> Report:  # fmt: skip
        """Take in an export of conversations, or a folder of them. The same again adds nothing."""
        return self._runs.import_chats(
            path, collection, watch=watch, stopped=stopped, embed=embed, roots=roots, day_first=day_first
        )

    def remember(self, conversation: PastConversation, collection: str, owner: str) -> int:
        """Keep one conversation for `owner`, in place of an earlier state of it; the id of its document."""
        return self._runs.remember(conversation, collection, owner)

    # -- vectors

    def embed(self, *, watch: Watch | None = None, stopped: Stopped | None = None) -> Report:
        """Give vectors to passages that have none in the present model's space. The former space serves meanwhile."""
        return self._runs.embed(watch=watch, stopped=stopped)

    def estimate(self) -> Estimate:
        """What `embed` would take now: ask between an `add` with ``embed=False`` and it."""
        if self._embedder is None:
            return Estimate(0)
        try:
            space = self._embedder.space()
        except AnsamblError:
            return Estimate(self._pending(self._care.aimed))
        passages, rate = self._pending(self._care.aim(space)), self._embedder.rate()
        return Estimate(passages, space.model, rate, seconds_for(passages, rate))

    def _pending(self, number: int) -> int:
        with self._database.snapshot() as connection:
            return sum(one.passages - one.embedded for one in shelves.collections_of(connection, number))

    def _embedder_for(self, one: OpenIndex) -> Embedder | None:
        """The model whose vectors this index holds."""
        if one.space is None:
            return None
        if self._embedder is not None:
            with contextlib.suppress(AnsamblError):
                if self._embedder.space() == one.space:
                    return self._embedder
        return self._embedder_of(one.space)

    # -- finding

    def search(self, query: str, filters: Filters = NO_FILTERS, *, limit: int = 10, vectors: bool = True) -> Found:
        """The passages that answer `query` best, by words and by meaning; by words alone where `vectors` is False."""
        return self._search.find(query, filters, limit, vectors=vectors)

    # -- removing

    def remove_document(self, wanted: int) -> None:
        """Remove a document; it is found no more when this returns."""

        def remove(connection: sqlite3.Connection) -> int:
            finding.document_row(connection, 0, wanted)
            row = connection.execute("SELECT collection, origin FROM documents WHERE id = ?", (wanted,)).fetchone()
            # The file is noted no more, so that it is read if it is added again.
            connection.execute("DELETE FROM files WHERE collection = ? AND place = ?", tuple(row))
            return remove_documents(connection, (wanted,))

        self._removed(self._database.write(remove))

    def remove_collection(self, name: str) -> None:
        """Remove a collection and all its documents."""
        self._removed(
            self._database.write(
                lambda connection: shelves.remove_collection(connection, shelves.collection_number(connection, name))
            )
        )

    def forget(self, owner: str, collection: str | None = None) -> int:
        """Remove all documents of an owner, in one collection or in all; how many there were."""
        if owner == EVERYBODY:
            raise UsageError(text("Forgetting needs an owner; remove the collection to remove what all may read"))

        def forget(connection: sqlite3.Connection) -> int:
            number = None if collection is None else shelves.collection_number(connection, collection)
            rows = connection.execute(
                "SELECT id FROM documents WHERE owner = ?1 AND (?2 IS NULL OR collection = ?2)", (owner, number)
            ).fetchall()
            return remove_documents(connection, [row[0] for row in rows])

        return self._removed(self._database.write(forget))

    def _removed(self, count: int) -> int:
        """Removed documents are found no more, and leave nothing in the files."""
        if count:
            self._care.catch_up()
            self._care.clean()
        return count

    def settled(self, patience: float) -> bool:
        """Wait for what goes on in the background, `patience` seconds at most; whether nothing is left to do.

        It is: documents that are divided anew, and an index that is built.
        """
        return self._runs.settled(patience) and self._care.settled(patience)

    def close(self) -> None:
        """Give back what is held."""
        if self._closed:
            return
        self._closed = True
        with contextlib.ExitStack() as last:
            # Whatever fails on the way (a full disk), the folder is given back.
            last.callback(self._database.close)
            last.callback(self._shrink)
            last.callback(self._care.close)
            last.callback(self._runs.close)
            self._care.finish(_FINISHES)

    def _shrink(self) -> None:
        try:
            self._database.shrink()
        except AnsamblError as error:
            # The next closing does it.
            log.warning("knowledge_not_shrunk", reason=str(error))


def _analysis(limits: PassageLimits) -> str:
    """How passages and terms are made: another value makes them anew."""
    return f"{terms_version()} {limits.tokens}/{limits.whole}/{limits.overlap}/{limits.context}"
