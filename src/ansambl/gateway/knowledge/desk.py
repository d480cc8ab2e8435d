"""Searches and reads on behalf of callers: what their keys may read, in threads of its own, within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ansambl.domain.access import Caller
from ansambl.domain.errors import NotFoundError, UnavailableError
from ansambl.domain.knowledge import Document, Filters, Found, Hit, Passage
from ansambl.domain.text import text
from ansambl.gateway.knowledge.asked import ReadDocument, ReadPassage, Search, moment, passage_of
from ansambl.knowledge.contract import Knowledge
from ansambl.roles.collection_rights import allowed, readable
from ansambl.roles.knowledge.block import described
from ansambl.roles.knowledge.records import Piece, passage_id
from ansambl.roles.records import RoleCatalog

TIME_LIMIT = 30.0
"""Seconds for one call, its wait for a thread included."""
THREADS = 4

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Part:
    """Some text of a document: characters `start` to `end` of `whole` ones."""

    document: Document
    text: str
    start: int
    end: int
    whole: int


@dataclass(frozen=True, slots=True)
class Read:
    """A passage with those around it; `number` is that of the one that was asked for."""

    document: Document
    passages: tuple[Passage, ...]
    number: int


class KnowledgeDesk:
    """`knowledge` gives what there is now, None while there is none; `catalog` what keys may use."""

    def __init__(self, knowledge: Callable[[], Knowledge | None], catalog: Callable[[], RoleCatalog]) -> None:
        self._knowledge = knowledge
        self._catalog = catalog
        self._threads: ThreadPoolExecutor | None = None

    async def search(self, caller: Caller, asked: Search) -> Found:
        """What a caller may find.

        Raises:
            AnsamblError: it cannot be searched, or not in time.
        """
        wanted = allowed(caller, self._catalog(), asked.collections)
        languages = None if asked.language is None else (asked.language.strip().casefold(),)
        filters = Filters(
            collections=wanted, languages=languages, since=moment("since", asked.since),
            until=moment("until", asked.until), owners=caller.document_owners,
        )  # fmt: skip
        return await self._do(
            Found(), lambda known: _search(known, asked.query, filters, asked.limit, words_only=asked.words_only)
        )

    async def collections(self, caller: Caller) -> list[tuple[str, str]]:
        """The collections that a caller may read, by name, with their descriptions."""
        may = readable(caller, self._catalog())
        nothing: list[tuple[str, str]] = []
        return await self._do(
            nothing,
            lambda known: [
                (one.name, one.description) for one in known.collections() if may is None or one.name in may
            ],
        )

    async def document(self, caller: Caller, asked: ReadDocument) -> Part:
        """Some text of a document.

        Raises:
            NotFoundError: it is not there, or not for this caller, which is the same.
        """

        def work(known: Knowledge) -> Part:
            document, whole = self._checked(caller, known, asked.id)
            end = min(len(whole), asked.start + asked.length)
            return Part(document, whole[asked.start : end], min(asked.start, end), end, len(whole))

        return await self._do_or_none(work, asked.id)

    async def passage(self, caller: Caller, asked: ReadPassage) -> Read:
        """A passage with those around it.

        Raises:
            RequestError: it is no id of a passage.
            NotFoundError: as `document`.
        """
        wanted, number = passage_of(asked.id)

        def work(known: Knowledge) -> Read:
            document, _ = self._checked(caller, known, wanted)
            near = [one for one in known.passages(wanted) if abs(one.number - number) <= asked.around]
            if all(one.number != number for one in near):
                raise _absent(asked.id)
            return Read(document, tuple(near), number)

        return await self._do_or_none(work, asked.id)

    def _checked(self, caller: Caller, known: Knowledge, wanted: int) -> tuple[Document, str]:
        may = readable(caller, self._catalog())
        try:
            document, whole = known.document(wanted)
        except (NotFoundError, OverflowError):
            # In our words, which are the same for what this caller may not read.
            raise _absent(wanted) from None
        if (may is not None and document.collection not in may) or document.owner not in caller.document_owners:
            raise _absent(wanted)
        return document, whole

    async def _do_or_none(self, work: Callable[[Knowledge], _Result], wanted: object) -> _Result:
        found = await self._do(None, work)
        if found is None:
            raise _absent(wanted)
        return found

    async def _do(self, otherwise: _Result, work: Callable[[Knowledge], _Result]) -> _Result:
        known = self._knowledge()
        if known is None:
            return otherwise
        if self._threads is None:
            # Of its own: many searches must not take the threads that answers of models need.
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="knowledge-desk")
        try:
            async with asyncio.timeout(TIME_LIMIT):
                return await asyncio.get_running_loop().run_in_executor(self._threads, work, known)
        except TimeoutError:
            raise UnavailableError(
                text("The documents could not be searched within {seconds} s; ask again in a moment.",
                     seconds=round(TIME_LIMIT))
            ) from None  # fmt: skip

    def close(self) -> None:
        """Begin nothing any more."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)


def _search(known: Knowledge, query: str, filters: Filters, limit: int, *, words_only: bool) -> Found:
    if filters.collections is not None:
        there = {one.name for one in known.collections()}
        wanted = tuple(one for one in filters.collections if one in there)
        if not wanted:
            return Found()
    return known.search(query, filters, limit=limit, vectors=not words_only)


def _absent(wanted: object) -> NotFoundError:
    return NotFoundError(text("There is no document or passage '{id}' that this key may read.", id=str(wanted)[:100]))


def sound(words: str) -> str:
    """Words that JSON can hold: a name of a file may have bytes that are no Unicode."""
    return words.encode("utf-8", "replace").decode("utf-8")


def citation_of(document: Document, passage: Passage, score: float = 0.0) -> str:
    """How a passage is cited: ``handbook.pdf, page 3``, or ``ChatGPT, 07.08.2025 …`` for words of a model."""
    return sound(described(Piece(document, passage, passage.text, passage.tokens, score)))


def hit_json(hit: Hit, shown: Callable[[str], str], told: Callable[[str], str] = sound) -> dict[str, Any]:
    """A hit for clients; `shown` is how its text is given away, `told` its names and titles."""
    return {
        "id": passage_id(hit.document.id, hit.passage.number),
        "document_id": hit.document.id,
        "citation": citation_of(hit.document, hit.passage, hit.score),
        "score": round(hit.score, 4),
        "text": shown(hit.passage.text),
        **about_json(hit.document, hit.passage, told),
    }


def about_json(
    document: Document, passage: Passage | None = None, told: Callable[[str], str] = sound
) -> dict[str, Any]:  # fmt: skip
    """Where a document, or a passage of it, is from. No place: that may be a path of this machine.

    `told` is how names and titles are given away: they come from the document as its text does.
    """
    time = document.time if passage is None or passage.time is None else passage.time
    found: dict[str, Any] = {
        "document": told(document.title),
        "collection": document.collection,
        "kind": document.kind.value,
        "source": document.source,
        "time": time,
        "author": told((passage.author if passage is not None else None) or ", ".join(document.authors)) or None,
        "language": document.language,
    }
    if passage is not None:
        found |= {
            "heading": told(" > ".join(passage.headings)) or None,
            "page": passage.page,
            "role": passage.role,
            "language": passage.language or document.language,
        }
    return found
