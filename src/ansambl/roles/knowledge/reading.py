"""Searching before an answer: off the event loop, within a time, once for all roles of a request that read the same."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ansambl.dialects.openai_chat import ChatRequest, Message
from ansambl.domain.errors import AnsamblError, RequestError
from ansambl.domain.knowledge import EVERYBODY, Filters, Found
from ansambl.domain.languages import language_of_text
from ansambl.domain.role import ModelName, Rewrite, Role
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.contract import Knowledge
from ansambl.roles.knowledge.block import nothing_block, passages_block
from ansambl.roles.knowledge.choosing import choose, estimated_tokens
from ansambl.roles.knowledge.query import LONGEST_QUERY, leans_back, newest_question, query_of, telling_words
from ansambl.roles.knowledge.records import Given, How, LeftOut, Piece, Query, Room, Source
from ansambl.roles.records import NO_OPTIONS, RequestOptions

_log = get_logger(__name__)

TIME_LIMIT = 5.0
"""Seconds that a search may take before the role answers without it. A search takes some hundredths of one; the model
of vectors, where it has to be waited for, is what takes longer."""

REWRITING_LIMIT = 4.0
"""Seconds for a model to rewrite a question, after which its words are taken."""

MOST_TOKENS, PART = 4_000, 4
"""What is given at most: so many tokens, and one part in so many of what a request of the role may fill."""

UNKNOWN_CONTEXT = 8_192
"""What a context is taken for that nobody knows, in tokens."""

_CANDIDATES = 24
_THREADS = 4
_ANSWER_ROOM = 256
_CHARACTERS_PER_TOKEN = 3

Rewriter = Callable[[Role, Query], Awaitable[str | None]]
"""Asks a role's model to write a follow-up as a question of its own; None where it cannot now."""


class KnowledgeReader:
    """All knowledge, as roles read it. `knowledge` is asked for anew each time: a reload may bring another one."""

    def __init__(
        self, knowledge: Callable[[], Knowledge | None], *, time_limit: float = TIME_LIMIT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self.knowledge = knowledge
        self.clock = clock
        self._time_limit = time_limit
        # Of this process alone: a mark of an earlier one, read out of a conversation, means nothing now.
        self.secret = secrets.token_bytes(16)
        self._threads: ThreadPoolExecutor | None = None

    async def search(self, query: str, filters: Filters) -> tuple[Found, int]:
        """Search, in a thread, and tell how many passages there are. A collection that is not there holds nothing.

        Raises:
            TimeoutError: it took longer than the time limit. The thread goes on, and its answer is thrown away.
            AnsamblError: it cannot be searched.
        """
        known = self.knowledge()
        if known is None:
            return Found(), 0
        if self._threads is None:
            # Of its own: searches that hang must not take the threads that others need.
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="knowledge-search")
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._time_limit):
            return await loop.run_in_executor(self._threads, _search, known, query, filters)

    def close(self) -> None:
        """Begin no more searches."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _search(known: Knowledge, query: str, filters: Filters) -> tuple[Found, int]:
    there = {one.name: one.passages for one in known.collections()}
    wanted = tuple(one for one in filters.collections or () if one in there)
    if not wanted:
        return Found(), 0
    found = known.search(query, replace(filters, collections=wanted), limit=_CANDIDATES)
    return found, sum(there[one] for one in wanted)


@dataclass(slots=True)
class Gathering:
    """What is searched for one request: each set of collections once, whoever asks for it.

    `earlier` is what stood in the newest message before a tool was called, which is not searched for again. Numbers
    are given once for the whole request, so that what members of an ensemble cite is what the last one cites.
    """

    reader: KnowledgeReader
    request: ChatRequest
    key: str
    options: RequestOptions = NO_OPTIONS
    rewriter: Rewriter | None = None
    earlier: Callable[[Role], Given | None] = lambda _: None
    sources: list[Source] = field(default_factory=list)
    given: list[Given] = field(default_factory=list)
    _tasks: dict[object, asyncio.Task[Given]] = field(default_factory=dict)
    _messages: list[Message] | None = None

    def collections_of(self, role: Role) -> tuple[str, ...]:
        """What the role reads for this request: its collections, or those of them that the request names."""
        wanted = self.options.knowledge
        if wanted is False:
            return ()
        if isinstance(wanted, tuple):
            return tuple(one for one in role.collections if one in wanted)
        return role.collections

    async def for_role(self, role: Role, model: ModelName) -> Given | None:
        """What is given to the role; None where it reads nothing, or nobody asks anything.

        Raises:
            RequestError: the messages are not messages.
        """
        if not role.collections:
            return None
        collections = self.collections_of(role)
        if not collections:
            return None
        if self._messages is None:
            self._messages = self.request.messages()
        question = newest_question(self._messages)
        if not question:
            return None
        earlier = self.earlier(role)
        if earlier is not None:
            self._take(earlier)
            return earlier
        room = room_for(role, model, self._messages)
        wanted = (frozenset(collections), room, role.rewrite, role.rewrite is Rewrite.MODEL and model.name)
        task = self._tasks.get(wanted)
        if task is None:
            task = self._tasks[wanted] = asyncio.create_task(self._search(role, collections, room, question))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # Whoever leaves takes the search with him, unless another member waits for it, too.
            if not task.done() and len(self._tasks) == 1:
                task.cancel()
            raise

    def close(self) -> None:
        """Nobody waits any more."""
        for task in self._tasks.values():
            task.cancel()

    def _take(self, given: Given) -> None:
        known = {one.number for one in self.sources}
        self.sources += [one for one in given.sources if one.number not in known]
        self.given.append(given)

    async def _search(self, role: Role, collections: tuple[str, ...], room: Room, question: str) -> Given:
        begun = self.reader.clock()
        language = language_of_text(question[:LONGEST_QUERY])
        query = query_of(self._messages or (), rewrites=role.rewrite is not Rewrite.OFF)
        if role.rewrite is Rewrite.MODEL and self.rewriter is not None and leans_back(question):
            query = await self._rewritten(role, query)
        filters = Filters(collections=collections, owners=(self.key, EVERYBODY))
        failure: Text | None = None
        found, searched = Found(), 0
        try:
            # A greeting asks for nothing, and some passage is always the nearest.
            if telling_words(query.text):
                found, searched = await self.reader.search(query.text, filters)
        except TimeoutError:
            failure = text("the search took too long")
        except AnsamblError as error:
            failure = error.message
        except Exception as error:  # noqa: BLE001 - an answer without passages is worth more than none
            _log.warning("knowledge_search_failed", role=role.name, error=repr(error), exc_info=True)
            failure = text("the search failed")
        choice = choose(found, query.text, language, room, searched)
        sources = tuple(self._numbered(one) for one in choice.pieces)
        block = (
            passages_block(sources, language, self.reader.secret)
            if sources
            else nothing_block(language, failed=failure is not None)
        )
        if failure is not None:
            _log.info("knowledge_not_searched", role=role.name, reason=str(failure))
        given = Given(
            block, query, collections, sources, _shown(choice.left_out), failure, estimated_tokens(block),
            self.reader.clock() - begun, found.vectors, found.pending,
        )  # fmt: skip
        self._take(given)
        return given

    async def _rewritten(self, role: Role, query: Query) -> Query:
        if self.rewriter is None:
            return query
        try:
            async with asyncio.timeout(REWRITING_LIMIT):
                said = await self.rewriter(role, query)
        except (TimeoutError, AnsamblError):
            return query
        written = " ".join((said or "").split())[:LONGEST_QUERY]
        return Query(written, How.MODEL) if written else query

    def _numbered(self, piece: Piece) -> Source:
        for one in self.sources:
            if one.piece.document.id == piece.document.id and one.piece.text == piece.text:
                return one
        source = Source(len(self.sources) + 1, piece)
        self.sources.append(source)
        return source


def check_chosen(options: RequestOptions, readable: Iterable[str], name: str) -> None:
    """Refuse a request that names a collection which `name` does not read, of which `readable` are all.

    Raises:
        RequestError: it does.
    """
    if not isinstance(options.knowledge, tuple):
        return
    known = sorted(set(readable))
    for one in options.knowledge:
        if one not in known:
            raise RequestError(
                text(
                    "'{name}' does not read the collection '{collection}'; it reads: {known}.",
                    name=name,
                    collection=one,
                    known=", ".join(known) or text("none"),
                ),
                param="ansambl.knowledge",
            )


def room_for(role: Role, model: ModelName, messages: Sequence[Message]) -> Room:
    """How much a role may be given for a conversation: a part of its context, as far as the conversation leaves it."""
    context = int((model.context or UNKNOWN_CONTEXT) * role.context_share)
    part = int(context * role.knowledge_share) if role.knowledge_share is not None else context // PART
    said = sum(len(str(one.get("content") or "")) for one in messages) // _CHARACTERS_PER_TOKEN
    left = context - said - len(role.instruction) // _CHARACTERS_PER_TOKEN - _ANSWER_ROOM
    most = part if role.knowledge_share is not None else min(part, MOST_TOKENS)
    # Rounded, so that a role whose instruction is longer by a word gets the same bytes.
    return Room(max(0, min(most, left // 64 * 64)), role.passages)


def _shown(left_out: Sequence[LeftOut]) -> tuple[LeftOut, ...]:
    return tuple(left_out[:_CANDIDATES])
