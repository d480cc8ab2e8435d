"""Runs: one ingest after another, and embedding beside them; the index hears of both while they go on."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.past_conversation import PastConversation
from ansambl.domain.text import text
from ansambl.foundation.clock import Clock
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.contract import Refused, Report, Stopped, Watch
from ansambl.knowledge.embedding import Embedder
from ansambl.knowledge.importing import kept
from ansambl.knowledge.importing.material import material_of
from ansambl.knowledge.ingest.embedding import Embedding
from ansambl.knowledge.ingest.folders import Walk, take_folder
from ansambl.knowledge.ingest.index_care import IndexCare
from ansambl.knowledge.ingest.progress import Telling
from ansambl.knowledge.ingest.redividing import Redividing
from ansambl.knowledge.ingest.taking import Reading, Taking
from ansambl.knowledge.passages.dividing import embedded_text
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS
from ansambl.knowledge.reading.roots import is_inside, path_of, place_of, resolved_roots
from ansambl.knowledge.reading.web import is_address
from ansambl.knowledge.store import collections as shelves
from ansambl.knowledge.store.database import KnowledgeDatabase

log = get_logger(__name__)

_FLUSH = 1.0
"""Seconds between two times that the index hears of what was taken in."""

_SETTLES = 5.0

Pages = Callable[[Taking, str], None]
"""Takes in the page of an address."""


class Runs:
    """What takes in and embeds, for one store."""

    def __init__(
        self, database: KnowledgeDatabase, care: IndexCare, reading: Reading, *, walk: Walk, pages: Pages,
        embedder: Embedder | None, analysis: str, clock: Clock, largest: int = DEFAULT_LIMITS.max_file,
        private: Sequence[str] = (), uploads: str = "",
    ) -> None:  # fmt: skip
        """`analysis` says how passages and terms are made, `largest` how many bytes a file may have.

        Nothing is read of `private` folders, but for what lies in `uploads`.
        """
        self._largest, self._private, self._uploads = largest, tuple(private), uploads
        self._database, self._care, self._reading = database, care, reading
        self._walk, self._pages, self._embedder = walk, pages, embedder
        self._analysis, self._clock = analysis, clock
        self._ingesting, self._embedding = threading.Lock(), threading.Lock()
        self._flushed = float("-inf")
        self._closed = False
        self._anew = Redividing(database, reading, analysis, embedded_text, self._flush)
        self._dividing: threading.Thread | None = None
        if self._anew.pending():
            self._dividing = threading.Thread(target=self._divide_anew, name="knowledge-dividing", daemon=True)
            self._dividing.start()

    def _divide_anew(self) -> None:
        try:
            log.info("divided_anew", documents=self._anew.run(lambda: self._closed))
            self._care.catch_up()
        except AnsamblError as error:
            # The next start goes on with it.
            log.warning("not_divided_anew", reason=str(error))

    def settled(self, patience: float) -> bool:
        """Wait until documents of an earlier way are made anew; whether they are."""
        if self._dividing is not None:
            self._dividing.join(patience)
        return not self._anew.pending()

    # -- what is taken in

    def add(
        self, place: str, collection: str, *, watch: Watch | None, stopped: Stopped | None, embed: bool,
        keep_in_step: bool, include: Sequence[str], exclude: Sequence[str], known_as: str, roots: Sequence[str],
        again: bool,
    ) -> Report:  # fmt: skip
        """A file, a folder or a page. `again` reads what was refused before."""
        if is_address(place):
            return self._run(
                collection, "documents", watch, stopped, lambda taking, _: self._pages(taking, place), embed=embed
            )
        path = existing(place)
        self._check_not_ours(path)
        where = place_of(path)
        allowed = within(path, roots)
        if not path.is_dir():
            return self._run(
                collection, "documents", watch, stopped,
                lambda taking, _: taking.file(where, known_as=known_as, roots=allowed, again=again), embed=embed,
            )  # fmt: skip

        # What is read of a folder lies in it, also where one of its folders becomes a link while it is walked.
        def take(taking: Taking, number: int) -> None:
            patterns = tuple(include), tuple(exclude)
            if keep_in_step:
                self._database.write(lambda connection: shelves.keep_folder(connection, number, where, *patterns))
            elif patterns == ((), ()):
                patterns = self._patterns(where, number)
            take_folder(
                taking, self._database, number, where, walk=self._walk, include=patterns[0], exclude=patterns[1],
                roots=allowed or (str(path),), again=again,
            )  # fmt: skip

        return self._run(collection, "documents", watch, stopped, take, embed=embed)

    def _check_not_ours(self, path: Path) -> None:
        real = str(path)
        if is_inside(real, self._private) and not (self._uploads and is_inside(real, (self._uploads,))):
            raise UsageError(
                text("{place} is in Ansambl's own data folder, where keys and tokens lie; nothing of it is read",
                     place=place_of(path))
            )  # fmt: skip

    def _patterns(self, folder: str, number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Those that the folder is kept in step with."""
        with self._database.snapshot() as connection:
            for one in shelves.folders_of(connection):
                if (one.path, one.number) == (folder, number):
                    return one.include, one.exclude
        return (), ()

    def import_chats(
        self, path: str, collection: str, *, watch: Watch | None, stopped: Stopped | None, embed: bool,
        roots: Sequence[str], day_first: bool | None,
    ) -> Report:  # fmt: skip
        """An export of conversations."""
        real = existing(path)
        where = place_of(real)
        self._check_not_ours(real)
        allowed = within(real, roots) or ((str(real),) if real.is_dir() else ())

        def take(taking: Taking, _: int) -> None:
            taking.conversations(self._reading.chats(where, day_first=day_first, roots=allowed), where)

        return self._run(collection, "conversations", watch, stopped, take, embed=embed)

    def remember(self, conversation: PastConversation, collection: str, owner: str) -> int:
        """One conversation; the number of its document."""
        found: list[int | None] = []
        prepared = replace(
            self._reading.divided(material_of(conversation)), digest=kept.digest(conversation),
            conversation=conversation,
        )  # fmt: skip
        report = self._run(
            collection, "conversations", None, None,
            lambda taking, _: found.append(taking.conversations([prepared], "", owner)), embed=False,
        )  # fmt: skip
        if not found or found[0] is None:
            reason = report.refused[0].reason if report.refused else text("it was stopped")
            raise UsageError(text("The conversation cannot be kept: {reason}", reason=reason))
        return found[0]

    def _run(
        self, collection: str, unit: str, watch: Watch | None, stopped: Stopped | None,
        take: Callable[[Taking, int], object], *, embed: bool,
    ) -> Report:  # fmt: skip
        """One ingest: it waits for the one before, and the index hears of it while it goes on."""
        began = self._clock.monotonic()
        with self._turn(self._ingesting, stopped) as mine:
            if not mine:
                return Report()
            now = self._clock.now()

            def begin(connection: sqlite3.Connection) -> tuple[int, bool]:
                made = not shelves.has_collection(connection, collection)
                return shelves.ensure_collection(connection, collection, "", now), made

            number, made = self._database.write(begin)
            if self._embedder is not None:
                # Where it cannot be reached, words alone until it is.
                with contextlib.suppress(AnsamblError):
                    self._care.aim(self._embedder.space())
            telling = Telling(watch, "reading", unit, None, self._clock.monotonic)
            taking = Taking(
                self._database, self._reading, number, analysis=self._analysis, embedded_text=embedded_text,
                now=self._clock.now, stopped=stopped, telling=telling, flush=self._flush,
                largest=self._largest,
            )  # fmt: skip
            try:
                with self._index_follows():
                    take(taking, number)
                    telling.tell(now=True)
            finally:
                if made:
                    # A page that does not answer must not leave a collection of nothing.
                    with contextlib.suppress(AnsamblError):
                        self._database.write(lambda connection: shelves.drop_if_empty(connection, number))
        report = taking.tally.report(self._clock.monotonic() - began)
        if not embed or self._embedder is None or (stopped is not None and stopped()):
            return report
        try:
            done = self.embed(watch=watch, stopped=stopped)
        except AnsamblError as error:
            reason = text("no vectors yet, so it is found by words alone: {reason}", reason=error.message)
            done = Report(refused=(Refused(collection, reason),))
        return replace(
            report, embedded=done.embedded, refused=(*report.refused, *done.refused),
            seconds=self._clock.monotonic() - began,
        )  # fmt: skip

    def _flush(self) -> None:
        """Let the index hear of what was kept, beside the work: its own process takes it in meanwhile."""
        now = self._clock.monotonic()
        if now - self._flushed >= _FLUSH:
            self._flushed = now
            self._care.soon()

    @contextmanager
    def _index_follows(self) -> Iterator[None]:
        """What was kept is found when this ends, also where the work failed; that failure is the one that is told."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(AnsamblError):
                self._care.catch_up()
            raise
        self._care.catch_up()

    @contextmanager
    def _turn(self, lock: threading.Lock, stopped: Stopped | None) -> Iterator[bool]:
        """Wait for one's turn, unless it is stopped before."""
        while not lock.acquire(timeout=0.2):
            if self._closed or (stopped is not None and stopped()):
                yield False
                return
        try:
            yield not self._closed
        finally:
            lock.release()

    # -- vectors

    def embed(self, *, watch: Watch | None, stopped: Stopped | None) -> Report:
        """Vectors for all that has none. Not under the turn of an ingest: it may take hours.

        Raises:
            AnsamblError: the model cannot be asked now; what was done stays.
        """
        if self._embedder is None:
            return Report()
        began = self._clock.monotonic()
        space = self._embedder.space()
        number = self._care.aim(space)
        with self._turn(self._embedding, stopped) as mine:
            if not mine:
                return Report()
            with self._database.snapshot() as connection:
                pending = sum(one.passages - one.embedded for one in shelves.collections_of(connection, number))
            telling = Telling(watch, "embedding", "passages", pending, self._clock.monotonic, self._embedder.rate())
            telling.tell(now=True)
            run = Embedding(
                self._database, self._embedder, number, space, embedded_text=embedded_text, telling=telling,
                stopped=lambda: self._closed or (stopped is not None and stopped()), kept=self._flush,
            )  # fmt: skip
            with self._index_follows():
                run.run()
                telling.tell(now=True)
            # An index of this space may have been built aside: where that is short, it serves when this returns.
            self._care.settled(_SETTLES)
        return Report(
            embedded=run.done.passages, refused=tuple(run.done.refused), seconds=self._clock.monotonic() - began
        )

    def close(self) -> None:
        """End what goes on at its next step, and wait for it."""
        self._closed = True
        self._reading.close()
        if self._dividing is not None:
            self._dividing.join()
        with self._ingesting, self._embedding:
            pass


def within(path: Path, roots: Sequence[str]) -> tuple[str, ...]:
    """The resolved `roots`, where they are given.

    Raises:
        UsageError: `path` is outside of them.
    """
    allowed = resolved_roots(roots)
    if allowed and not is_inside(str(path), allowed):
        message = text("{place} is outside of the folders that may be read; add its folder to [knowledge] roots",
                       place=place_of(path))  # fmt: skip
        raise UsageError(message)
    return allowed


def existing(place: str) -> Path:
    """The real path of something that a user named.

    Raises:
        UsageError: it is not there.
    """
    path = path_of(place)
    try:
        if path.exists():
            return Path(os.path.realpath(path))
    except (OSError, ValueError) as error:
        raise UsageError(text("{place} cannot be used: {reason}", place=place[:200], reason=str(error)[:150])) from None
    raise UsageError(text("{place} does not exist, or cannot be reached", place=place))
