"""The index beside the store: opened, brought up to the store's revision, built anew, changed for another space."""

from __future__ import annotations

import contextlib
import re
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansambl.domain.errors import AnsamblError
from ansambl.foundation.logging import get_logger
from ansambl.foundation.paths import PRIVATE_FOLDER
from ansambl.knowledge.embedding import VectorSpace
from ansambl.knowledge.index.contract import Index, IndexPlace
from ansambl.knowledge.store.changes import changes_after, drop_tombstones, entries
from ansambl.knowledge.store.database import KnowledgeDatabase
from ansambl.knowledge.store.facts import fact, note, revision
from ansambl.knowledge.store.spaces import drop_old_spaces, number_of, space_of

log = get_logger(__name__)

Opener = Callable[[IndexPlace], Index]

_ATTEMPTS = 3
_AT_ONCE = 2_000
"""So many changes are caught up while knowledge is opened; more of them in the background."""

_FEW = 5_000
"""Passages: the index of a smaller store is built anew in moments."""

_CLEANED_LATER = 300.0

_PAUSE = 30.0
"""Seconds until the background tries again what failed."""

_OURS = re.compile(r"\d+-\d+-[0-9a-f]+")


class OpenIndex:
    """An index that is open: `number` and `space` of its vectors, the `generation` of its folder."""

    def __init__(self, index: Index, number: int, space: VectorSpace | None, generation: int, folder: Path) -> None:
        self.index = index
        self.number = number
        self.space = space
        self.generation = generation
        self.folder = folder
        self.feeding = threading.Lock()
        self.applied: int | None = None
        self.users = 0


class IndexCare:
    """Keeps one index that serves, and builds another one aside where that is due. From any thread.

    Which one serves is a fact of the store and changes in one transaction, so that a crash at any moment leaves one of
    the two: what was built aside goes on where its last commit was.
    """

    def __init__(
        self, database: KnowledgeDatabase, folder: Path, opener: Opener, *, address: str = "",
        can_ask: Callable[[VectorSpace], bool],
    ) -> None:  # fmt: skip
        """Open the index that serves. `can_ask` tells whether questions in the space of that one can be embedded.

        Raises:
            AnsamblError: the index cannot be opened.
        """
        self._database, self._folder, self._opener, self._address = database, folder, opener, address
        self._can_ask = can_ask
        self._changed = threading.Condition()
        self._aim: int | None = None
        self._due = self._busy = self._closed = False
        self._built: OpenIndex | None = None
        self._failure: AnsamblError | None = None
        for one in (folder.parent, folder):
            if one.is_file():
                one.unlink()
            one.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)
        with database.snapshot() as connection:
            self._store = fact(connection, "store")
            number, generation = int(fact(connection, "serving")), int(fact(connection, "generation"))
            building = fact(connection, "building")
            behind = revision(connection)
            self._unclean = self._shrink = fact(connection, "unclean") == "1"
            self._clean_at = float("-inf")
        # What was being built when text was deleted may hold it.
        self._sweep({self._name(number, generation)} | (set() if self._unclean else {building}))
        self._clean_generation = generation + 1
        self._serving = self._open(number, generation)
        self._serving.applied = self._serving.index.state().applied
        self._worker = threading.Thread(target=self._work, name="knowledge-index", daemon=True)
        if behind - self._serving.applied <= _AT_ONCE:
            try:
                self._feed(self._serving)
            except AnsamblError as error:
                # A full disk must not keep anybody from removing what fills it; the background tries again.
                log.warning("index_not_fed", reason=str(error))
        self._due = True
        self._worker.start()

    # -- opening

    def _name(self, number: int, generation: int) -> str:
        return f"{number}-{generation}-{self._store}"

    def _sweep(self, keep: set[str]) -> None:
        """Remove folders of indexes that nobody will open again: a crash came between a change and its cleaning."""
        for one in self._folder.iterdir():
            if one.is_dir() and _OURS.fullmatch(one.name) and one.name not in keep:
                shutil.rmtree(one, ignore_errors=True)

    def _open(self, number: int, generation: int) -> OpenIndex:
        with self._database.snapshot() as connection:
            space = space_of(connection, number)
        name = self._name(number, generation)
        folder = self._folder / name
        place = IndexPlace(str(folder), space, self._address, f"ansambl_{name}".replace("-", "_"))
        return OpenIndex(self._opener(place), number, space, generation, folder)

    # -- what searches and writers use

    @contextmanager
    def using(self) -> Iterator[OpenIndex]:
        """The index that serves; it stays open for as long as this is held."""
        with self._changed:
            one = self._serving
            one.users += 1
        try:
            yield one
        finally:
            with self._changed:
                one.users -= 1
                self._changed.notify_all()

    def catch_up(self) -> None:
        """Bring the serving index to the newest revision; returns when it is there.

        Raises:
            AnsamblError: the index cannot do it; it will be tried again.
        """
        with self.using() as one:
            self._feed(one)
        self.soon()

    def soon(self) -> None:
        """Let the background look at what has changed."""
        with self._changed:
            self._due = True
            self._changed.notify_all()

    def aim(self, space: VectorSpace) -> int:
        """Searches are to use this space as soon as that is better than what they use; its number."""

        def register(connection: sqlite3.Connection) -> int:
            number = number_of(connection, space)
            drop_old_spaces(connection, number)
            return number

        with self._database.snapshot() as connection:
            row = connection.execute(
                "SELECT id FROM spaces WHERE model = ? AND dimension = ?", (space.model, space.dimension)
            ).fetchone()
        number = int(row[0]) if row is not None else self._database.write(register)
        with self._changed:
            if self._aim == number:
                return number
            self._aim = number
            other = self._serving.number != number
        self.soon()
        if other and not self._holds_passages():
            # Nothing to find yet: what is taken in next goes into the index that stays.
            with self._changed:
                self._changed.wait_for(
                    lambda: self._serving.number == number or self._failure is not None or self._closed, _PAUSE
                )
        return number

    def _holds_passages(self) -> bool:
        return bool(self._database.read("SELECT EXISTS (SELECT 1 FROM passages)")[0][0])

    @property
    def aimed(self) -> int:
        """The number of the space that is wanted; of the one that serves while nobody has said."""
        with self._changed:
            return self._serving.number if self._aim is None else self._aim

    def clean(self) -> None:
        """Deleted text must leave the files of the index: it is built anew, and the old files are removed.

        That reads the whole store, so a large one waits until nothing was deleted for a while.
        """
        with self._changed:
            self._database.write(lambda connection: note(connection, "unclean", 1))
            self._unclean = self._shrink = True
            # One that is being built may have seen it already.
            newest = self._serving if self._built is None else self._built
            self._clean_generation = newest.generation + 1
            self._clean_at = time.monotonic() + (0.0 if self._holds_few() else _CLEANED_LATER)
        self.soon()

    def finish(self, patience: float) -> None:
        """Before closing: do what is left where that is short; in a larger store it goes on at the next opening."""
        if self._holds_few():
            with self._changed:
                self._clean_at = float("-inf")
                self._due = True
                self._changed.notify_all()
            self.settled(patience)

    def _holds_few(self) -> bool:
        query = "SELECT count(*) FROM (SELECT 1 FROM passages LIMIT ?)"
        return bool(self._database.read(query, (_FEW + 1,))[0][0] <= _FEW)

    def settled(self, patience: float) -> bool:
        """Wait until nothing is left to do in the background, at most `patience` seconds; whether that was reached."""
        with self._changed:
            self._changed.wait_for(lambda: self._idle() or self._waits_after_failure(), patience)
            return self._idle() and self._failure is None

    def _waits_after_failure(self) -> bool:
        return self._failure is not None and not (self._due or self._busy)

    def _idle(self) -> bool:
        """Nothing is being done; an index that waits for vectors waits for somebody who embeds."""
        return not (self._due or self._busy or (self._unclean and time.monotonic() >= self._clean_at))

    # -- the background

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._due or self._closed, self._pause())
                if self._closed:
                    return
                self._due, self._busy = False, True
                self._failure = None
            try:
                self._look()
            except AnsamblError as error:
                log.warning("index_care_failed", reason=str(error))
                with self._changed:
                    self._failure = error
            except Exception:
                log.exception("index_care_failed")
            with self._changed:
                self._busy = False
                self._changed.notify_all()

    def _pause(self) -> float | None:
        """Seconds until there is something to do without being told; None where there is nothing."""
        if self._failure is not None:
            return _PAUSE
        return max(0.0, self._clean_at - time.monotonic()) + 0.01 if self._unclean else None

    def _look(self) -> None:
        with self.using() as serving:
            self._feed(serving)
        if self._shrink:
            self._shrink = False
            self._database.shrink()
        wanted = self._wanted()
        built = self._built
        if built is not None and (wanted is None or (built.number, built.generation) != wanted):
            self._discard(built)
            built = None
        if wanted is None:
            return
        if built is None:
            number, generation = wanted
            self._database.write(lambda connection: note(connection, "building", self._name(number, generation)))
            built = self._open(number, generation)
            with self._changed:
                self._built = built
        self._feed(built)
        if not self._closed and (built.number == self._serving.number or self._better(built)):
            self._switch(built)

    def _wanted(self) -> tuple[int, int] | None:
        """The space and the generation of the index that is to be built aside."""
        with self._changed:
            aim = self._serving.number if self._aim is None else self._aim
            if self._unclean and time.monotonic() >= self._clean_at:
                return aim, self._clean_generation
            return (aim, self._serving.generation) if aim != self._serving.number else None

    def _better(self, built: OpenIndex) -> bool:
        """Whether an index of another space is to serve: at once where the former model cannot be asked any more."""
        former = self._serving.space
        if former is None or not self._can_ask(former):
            return True
        with self._database.snapshot() as connection:
            return not connection.execute(
                "SELECT coalesce((SELECT sum(passages) FROM documents), 0) > "
                "coalesce((SELECT sum(passages) FROM embedded WHERE space = ?), 0)",
                (built.number,),
            ).fetchone()[0]

    def _switch(self, built: OpenIndex) -> None:
        def settle(connection: sqlite3.Connection) -> None:
            note(connection, "serving", built.number)
            note(connection, "generation", built.generation)
            note(connection, "building", "")
            if cleaned:
                note(connection, "unclean", 0)

        with self._changed:
            cleaned = self._unclean and built.generation >= self._clean_generation
            self._database.write(settle)
            former, self._serving = self._serving, built
            self._built = None
            if cleaned:
                self._unclean = False
            self._changed.notify_all()
        log.info("index_changed", space=str(built.space), generation=built.generation)
        self._discard(former)
        with self.using() as one:
            self._feed(one)

    def _discard(self, former: OpenIndex) -> None:
        with self._changed:
            self._changed.wait_for(lambda: former.users == 0, _PAUSE)
            if self._built is former:
                self._built = None
        with former.feeding:
            if self._address:
                # Its data lies on a server; locally the folder is removed.
                with contextlib.suppress(AnsamblError):
                    former.index.clear()
            former.index.close()
        shutil.rmtree(former.folder, ignore_errors=True)

    # -- feeding

    def _feed(self, one: OpenIndex) -> None:
        """Bring an index to the newest revision, step by step; what is lost on the way is told again."""
        with one.feeding:
            for attempt in range(_ATTEMPTS):
                try:
                    self._feed_once(one)
                except AnsamblError:
                    # What was put and not committed may be gone: its last commit counts.
                    one.applied = None
                    if attempt == _ATTEMPTS - 1 or self._closed:
                        raise
                else:
                    return

    def _feed_once(self, one: OpenIndex) -> None:
        self._check(one)
        complete: set[int] = set()
        while not self._closed:
            assert one.applied is not None  # noqa: S101 - _check has set it
            with self._database.snapshot() as connection:
                step = changes_after(connection, one.applied, one.number)
                if step.until <= one.applied:
                    break
                if step.gone:
                    one.index.remove(step.gone)
                for some in entries(connection, [number for number in step.put if number not in complete], one.number):
                    one.index.put(some)
                    complete.update(entry.id for entry in some if entry.vector is not None)
            one.index.commit(step.until)
            one.applied = step.until
        self._forget_deletions(one)

    def _check(self, one: OpenIndex) -> None:
        """Make it begin anew where it cannot catch up: it is of another past, or has missed deletions."""
        with self._database.snapshot() as connection:
            newest, floor = revision(connection), int(fact(connection, "floor"))
        if one.applied is not None and floor <= one.applied <= newest:
            return
        state = one.index.state()
        one.applied = state.applied
        if state.applied > newest or (state.applied < floor and state.entries):
            one.index.clear()
            one.applied = 0

    def _forget_deletions(self, one: OpenIndex) -> None:
        with self._changed:
            alone = self._built is None and one is self._serving
        if alone and one.applied and self._database.read("SELECT EXISTS (SELECT 1 FROM tombstones)")[0][0]:
            applied = one.applied
            self._database.write(lambda connection: drop_tombstones(connection, applied))

    def close(self) -> None:
        """End the background, and close the indexes."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._worker.join()
        for one in (self._serving, self._built):
            if one is not None:
                with one.feeding:
                    one.index.close()
