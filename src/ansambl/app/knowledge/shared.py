"""One knowledge for all who use it in a process: opened by the first call, replaced between calls, closed once."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ansambl.domain.errors import UnavailableError
from ansambl.domain.knowledge import NO_FILTERS, Collection, Document, Filters, Found, Passage
from ansambl.domain.past_conversation import PastConversation
from ansambl.domain.text import text
from ansambl.knowledge.contract import Estimate, Knowledge, Report, State, Stopped, Watch

CLOSING_PATIENCE = 8.0
"""Seconds that calls get to end when Ansambl stops, of the 20 that it has in all."""


@dataclass(frozen=True, slots=True)
class Opened:
    """An open knowledge, and what is to be closed after it: models that were started for it, also later."""

    knowledge: Knowledge
    close_after: Sequence[Callable[[], object]] = ()

    def close(self) -> None:
        """Close all of it."""
        try:
            self.knowledge.close()
        finally:
            for one in self.close_after:
                one()


class SharedKnowledge:
    """Fulfils `ansambl.knowledge.contract.Knowledge`. It stays the same object over a reload.

    `open_it` opens what is really used; `folder` is where it lives. Calls block: never make one on the event loop.
    """

    def __init__(self, open_it: Callable[[], Opened], folder: Path) -> None:
        self._open = open_it
        self._folder = folder
        self._changed = threading.Condition()
        self._opened: Opened | None = None
        self._outdated = False
        self._leaving = False
        self._closed = False
        self._inside = 0

    @property
    def exists(self) -> bool:
        """Whether there may be knowledge: something was added once. Opens nothing, and may be asked on the loop."""
        return self._opened is not None or self._folder.is_dir()

    def use(self, open_it: Callable[[], Opened]) -> None:
        """Open it in another way from the first call on after all that go on now have ended.

        Embedding that goes on ends early, since what it makes may not be wanted any more. Returns at once.
        """
        with self._changed:
            self._open = open_it
            self._outdated = self._opened is not None

    @contextlib.contextmanager
    def _held(self) -> Iterator[Knowledge]:
        with self._changed:
            if self._closed:
                raise UnavailableError(text("Ansambl is stopping."), retry_after=None)
            if self._outdated and not self._inside:
                self._outdated = False
                opened, self._opened = self._opened, None
                if opened is not None:
                    opened.close()
            if self._opened is None:
                self._opened = self._open()
            found = self._opened.knowledge
            self._inside += 1
        try:
            yield found
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    def _ends(self, stopped: Stopped | None, *, embedding: bool = False) -> Stopped:
        def ends() -> bool:
            early = self._leaving or (embedding and self._outdated)
            return early or (stopped is not None and stopped())

        return ends

    def leave_early(self) -> None:
        """Let long work end at the next place where it can."""
        self._leaving = True

    def close(self) -> None:
        """End long work, wait a moment for what goes on, and give back what is held. A second time does nothing."""
        self.leave_early()
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0, CLOSING_PATIENCE)
            opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    # --- the contract -------------------------------------------------------------------------------------------------

    def collections(self) -> list[Collection]:
        """As `Knowledge.collections`."""
        with self._held() as knowledge:
            return knowledge.collections()

    def create(self, name: str, description: str = "") -> Collection:
        """As `Knowledge.create`."""
        with self._held() as knowledge:
            return knowledge.create(name, description)

    def state(self) -> State:
        """As `Knowledge.state`."""
        with self._held() as knowledge:
            return knowledge.state()

    def documents(
        self, collection: str | None = None, *, after: int = 0, limit: int = 100, text: str = "",
        owner: str | None = None,
    ) -> list[Document]:  # fmt: skip
        """As `Knowledge.documents`."""
        with self._held() as knowledge:
            return knowledge.documents(collection, after=after, limit=limit, text=text, owner=owner)

    def document(self, wanted: int) -> tuple[Document, str]:
        """As `Knowledge.document`."""
        with self._held() as knowledge:
            return knowledge.document(wanted)

    def passages(self, document: int) -> list[Passage]:
        """As `Knowledge.passages`."""
        with self._held() as knowledge:
            return knowledge.passages(document)

    def conversation(self, wanted: str, owners: Sequence[str] | None = None) -> PastConversation:
        """As `Knowledge.conversation`."""
        with self._held() as knowledge:
            return knowledge.conversation(wanted, owners)

    def add(
        self, place: str, collection: str, *, watch: Watch | None = None, stopped: Stopped | None = None,
        embed: bool = True, keep_in_step: bool = False, include: Sequence[str] = (), exclude: Sequence[str] = (),
        known_as: str = "", roots: Sequence[str] = (), again: bool = True,
    ) -> Report:  # fmt: skip
        """As `Knowledge.add`."""
        with self._held() as knowledge:
            return knowledge.add(
                place, collection, watch=watch, stopped=self._ends(stopped), embed=embed, keep_in_step=keep_in_step,
                include=include, exclude=exclude, known_as=known_as, roots=roots, again=again,
            )  # fmt: skip

    def leave(self, folder: str, collection: str | None = None) -> bool:
        """As `Knowledge.leave`."""
        with self._held() as knowledge:
            return knowledge.leave(folder, collection)

    def import_chats(
        self, path: str, collection: str, *, watch: Watch | None = None, stopped: Stopped | None = None,
        embed: bool = True, roots: Sequence[str] = (), day_first: bool | None = None,
    ) -> Report:  # fmt: skip
        """As `Knowledge.import_chats`."""
        with self._held() as knowledge:
            return knowledge.import_chats(
                path, collection, watch=watch, stopped=self._ends(stopped), embed=embed, roots=roots,
                day_first=day_first,
            )  # fmt: skip

    def remember(self, conversation: PastConversation, collection: str, owner: str) -> int:
        """As `Knowledge.remember`."""
        with self._held() as knowledge:
            return knowledge.remember(conversation, collection, owner)

    def embed(self, *, watch: Watch | None = None, stopped: Stopped | None = None) -> Report:
        """As `Knowledge.embed`."""
        with self._held() as knowledge:
            return knowledge.embed(watch=watch, stopped=self._ends(stopped, embedding=True))

    def estimate(self) -> Estimate:
        """As `Knowledge.estimate`."""
        with self._held() as knowledge:
            return knowledge.estimate()

    def search(self, query: str, filters: Filters = NO_FILTERS, *, limit: int = 10, vectors: bool = True) -> Found:
        """As `Knowledge.search`."""
        with self._held() as knowledge:
            return knowledge.search(query, filters, limit=limit, vectors=vectors)

    def remove_document(self, wanted: int) -> None:
        """As `Knowledge.remove_document`."""
        with self._held() as knowledge:
            knowledge.remove_document(wanted)

    def remove_collection(self, name: str) -> None:
        """As `Knowledge.remove_collection`."""
        with self._held() as knowledge:
            knowledge.remove_collection(name)

    def forget(self, owner: str, collection: str | None = None) -> int:
        """As `Knowledge.forget`."""
        with self._held() as knowledge:
            return knowledge.forget(owner, collection)
