"""Taking things in: a file, a folder, a page, an export. One transaction a document; unchanged files cost a look."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.knowledge import EVERYBODY, Material, Passage
from ansambl.domain.text import Text, text
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.contract import Refused, Report, Stopped
from ansambl.knowledge.importing import kept
from ansambl.knowledge.ingest.progress import Telling
from ansambl.knowledge.prepared import Prepared
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.reading.limits import DEFAULT_LIMITS
from ansambl.knowledge.reading.options import DEFAULT_OPTIONS, ReadingOptions
from ansambl.knowledge.reading.pinning import pinned
from ansambl.knowledge.reading.read import too_large
from ansambl.knowledge.reading.roots import path_of
from ansambl.knowledge.store.database import KnowledgeDatabase
from ansambl.knowledge.store.files import (
    KeptFile,
    Signature,
    documents_of_file,
    file_at,
    files_of_digest,
    move_file,
    put_file,
    remove_file,
    signature_of,
)
from ansambl.knowledge.store.packing import storable
from ansambl.knowledge.store.records import Kept, NewDocument
from ansambl.knowledge.store.writing import put_document, remove_documents

log = get_logger(__name__)

_PIECE = 1 << 20


class Reading(Protocol):
    """What reads: `reading.confined.Confined`. Its answers come one by one, from a child process."""

    def documents(self, place: str, options: ReadingOptions = DEFAULT_OPTIONS) -> Iterator[Prepared | Refused]:
        """The documents of a file."""
        ...

    def chats(
        self, path: str, *, day_first: bool | None = None, roots: Sequence[str] = ()
    ) -> Iterator[Prepared | Refused]:  # fmt: skip
        """The conversations of an export."""
        ...

    def divided(self, material: Material) -> Prepared:
        """A material that was read before, divided and analysed."""
        ...

    def close(self) -> None:
        """End what it started."""
        ...


@dataclass(slots=True)
class Tally:
    """A report that is being made."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    passages: int = 0
    refused: list[Refused] = field(default_factory=list)
    repairs: int = 0
    turns: int = 0
    since: float | None = None
    until: float | None = None
    notes: list[Refused] = field(default_factory=list)

    def count(self, what: Kept) -> None:
        """One document was kept."""
        self.added += what.changed and not what.before
        self.updated += what.changed and what.before
        self.unchanged += not what.changed
        self.passages += what.passages

    def report(self, seconds: float) -> Report:
        """The report."""
        return Report(
            self.added, self.updated, self.unchanged, self.removed, self.passages, 0, tuple(self.refused), self.repairs,
            self.turns, self.since, self.until, seconds, tuple(self.notes),
        )  # fmt: skip


class Taking:
    """One run into one collection (`collection` is its number)."""

    def __init__(
        self, database: KnowledgeDatabase, reading: Reading, collection: int, *, analysis: str,
        embedded_text: Callable[[Passage], str], now: Callable[[], float], stopped: Stopped | None,
        telling: Telling, flush: Callable[[], None], largest: int = DEFAULT_LIMITS.max_file,
    ) -> None:  # fmt: skip
        """`flush` is called after each document: whoever feeds the index decides when.

        `largest` is how many bytes a file may have.
        """
        self._largest = largest
        self._database, self._reading, self._collection, self._analysis = database, reading, collection, analysis
        self._embedded_text, self._now, self._stopped, self.telling = embedded_text, now, stopped, telling
        self._flush = flush
        self.tally = Tally()

    def stopped(self) -> bool:
        """Whether to end now."""
        return self._stopped is not None and self._stopped()

    def refuse(self, refused: Refused) -> None:
        """One more thing that was not taken in."""
        if refused.note:
            self.tally.notes.append(refused)
            return
        self.tally.refused.append(refused)
        self.telling.tell(current=refused.place, note=str(refused.reason))

    # -- files

    def file(self, path: str, *, known_as: str = "", roots: Sequence[str] = (), again: bool = True) -> None:
        """Take in a file; `path` is as `reading.roots.place_of` writes it, and `known_as` takes its place.

        `again` reads one that was refused before.
        """
        place = known_as or path
        real = path_of(path)
        try:
            signature = signature_of(real)
            with self._database.snapshot() as connection:
                earlier = file_at(connection, self._collection, place)
            if earlier is not None and self._is_unchanged(earlier, signature, again=again):
                return
            digest = digest_of(real, roots, self._largest)
            if earlier is not None and earlier.digest == digest and not (again and earlier.refused):
                self._note(place, signature, digest, earlier.refused)
                self._unchanged(place)
                return
        except OSError as error:
            self.refuse(Refused(place, unreadable(error)))
            return
        except UnreadableError as error:
            self.refuse(Refused(place, error.message))
            return
        if earlier is None and not known_as:
            self._moved(path, digest)
        self._read(path, place, signature, digest, ReadingOptions(roots=tuple(roots)))

    def _is_unchanged(self, earlier: KeptFile, signature: Signature, *, again: bool) -> bool:
        if earlier.signature != signature or (earlier.refused and again):
            return False
        self.tally.refused.extend(earlier.refused)
        self._unchanged(earlier.place)
        return True

    def _unchanged(self, place: str) -> None:
        with self._database.snapshot() as connection:
            self.tally.unchanged += len(documents_of_file(connection, self._collection, place))

    def _note(self, place: str, signature: Signature, digest: str, refused: Sequence[Refused]) -> None:
        self._database.write(
            lambda connection: put_file(connection, self._collection, place, signature, digest, refused)
        )

    def _moved(self, path: str, digest: str) -> None:
        """A file that is new here and known elsewhere, where it is no more, was renamed: its documents go along.

        It is read all the same: its name may be its title, which stands in every passage's context. Passages that are
        equal keep their numbers and vectors.
        """
        with self._database.snapshot() as connection:
            others = files_of_digest(connection, self._collection, digest)
        for one in others:
            former = path_of(one.place)
            # Where the folder itself is not there, a disk may be missing, and this is a copy.
            if former.is_absolute() and not os.path.lexists(former) and former.parent.is_dir():
                self._database.write(partial(move_file, collection=self._collection, old=one.place, new=path))
                return

    def _read(self, path: str, place: str, signature: Signature, digest: str, options: ReadingOptions) -> None:
        if place != path:
            # ``upload:notes.pdf`` is shown as ``notes.pdf``.
            options = replace(options, path=path, name=Path(place).name.rpartition(":")[2])
        refused: list[Refused] = []
        seen: set[int] = set()
        for one in self._reading.documents(place, options):
            if isinstance(one, Refused):
                refused.append(one)
                self.refuse(one)
                continue
            found = self.put(one, one.material.place, place)
            if found is not None:
                seen.add(found.id)
            self.telling.tell(current=one.material.place)
            if self.stopped():
                # What was kept stays; the file is not noted, so that the rest comes with the next run.
                return
        try:
            changed = signature_of(path_of(path)) != signature
        except OSError:
            changed = True
        if changed:
            self.refuse(Refused(place, text("it changed while it was read; it is read again with the next run")))
            return
        self._complete(place, signature, digest, refused, seen)

    def _complete(
        self, place: str, signature: Signature, digest: str, refused: Sequence[Refused], seen: set[int]
    ) -> None:
        """The file was read to its end: documents that it does not give any more go, unless parts were refused."""

        def settle(connection: sqlite3.Connection) -> int:
            gone = []
            if not refused:
                gone = [one for one in documents_of_file(connection, self._collection, place) if one not in seen]
            put_file(connection, self._collection, place, signature, digest, refused)
            return remove_documents(connection, gone)

        self.tally.removed += self._database.write(settle)
        self._flush()

    # -- pages and conversations

    def page(self, place: str, options: ReadingOptions) -> None:
        """Take in a page that was fetched: `place` is its address, `options.path` where its bytes lie."""
        seen: set[int] = set()
        refused = False
        for one in self._reading.documents(place, options):
            if isinstance(one, Refused):
                refused = True
                self.refuse(one)
                continue
            found = self.put(one, one.material.place, place)
            if found is not None:
                seen.add(found.id)
        if not refused:
            self.remove_others(place, seen)

    def remove_others(self, origin: str, seen: set[int]) -> None:
        """Remove what came from there earlier and does not any more."""
        self.tally.removed += self._database.write(
            lambda connection: remove_documents(
                connection, [one for one in documents_of_file(connection, self._collection, origin) if one not in seen]
            )
        )
        self._flush()

    def conversations(self, answers: Iterable[Prepared | Refused], origin: str, owner: str = EVERYBODY) -> int | None:
        """Take in conversations; the number of the last one's document. An older state never undoes a newer one."""
        last = None
        for one in answers:
            if isinstance(one, Refused):
                self.refuse(one)
                continue
            self._count_turns(one)
            found = self.put(one, one.material.place, origin, owner, keep_newer=True)
            last = found.id if found is not None else last
            self.telling.step(current=one.material.title, worked=found is not None and found.changed)
            if self.stopped():
                break
        return last

    def _count_turns(self, prepared: Prepared) -> None:
        talk = prepared.conversation
        if talk is None:
            return
        tally = self.tally
        tally.repairs += sum(talk.repairs.values())
        tally.turns += len(talk.turns)
        times = [turn.time for turn in talk.turns if turn.time is not None]
        if times:
            tally.since = min(times) if tally.since is None else min(tally.since, *times)
            tally.until = max(times) if tally.until is None else max(tally.until, *times)

    # -- keeping

    def put(
        self, prepared: Prepared, place: str, origin: str, owner: str = EVERYBODY, *, keep_newer: bool = False
    ) -> Kept | None:
        """Keep a document in one transaction; None where its record cannot be kept, which is then refused."""
        talk = prepared.conversation
        encoded = None if talk is None else kept.encode(talk)
        new_in = (self._collection,)
        new = NewDocument(self._collection, prepared, self._analysis, place, origin, owner, encoded)

        def keep(connection: sqlite3.Connection) -> Kept:
            if not connection.execute("SELECT EXISTS (SELECT 1 FROM collections WHERE id = ?)", new_in).fetchone()[0]:
                raise UsageError(text("The collection was removed while something was added to it."))
            if keep_newer and talk is not None:
                row = connection.execute(
                    "SELECT d.id, b.bytes FROM documents d JOIN conversations b ON b.document = d.id "
                    "WHERE d.collection = ? AND d.owner = ? AND d.place = ?",
                    (self._collection, owner, storable(place)),
                ).fetchone()
                if row is not None and not kept.supersedes(talk, kept.decode(row["bytes"])):
                    return Kept(row["id"], before=True, changed=False, passages=0)
            return put_document(connection, new, self._now(), self._embedded_text)

        try:
            done = self._database.write(keep)
        except AnsamblError:
            raise
        except (ValueError, OverflowError) as error:
            log.warning("document_not_kept", place=storable(place), reason=str(error))
            self.refuse(Refused(place, text("it cannot be kept: {reason}", reason=str(error)[:150])))
            return None
        self.tally.count(done)
        if done.changed:
            self._flush()
        return done

    def remove_files(self, files: Sequence[KeptFile]) -> None:
        """Files that are gone, with their documents."""
        for one in files:

            def gone(connection: sqlite3.Connection, one: KeptFile = one) -> int:
                removed = remove_documents(connection, documents_of_file(connection, self._collection, one.place))
                remove_file(connection, self._collection, one.place)
                return removed

            self.tally.removed += self._database.write(gone)
        if files:
            self._flush()


def digest_of(path: Path, roots: Sequence[str], largest: int) -> str:
    """The hash of a file's bytes; other threads go on while it is computed.

    Raises:
        UnreadableError: it is a pipe or a device, which may never end; it is outside of `roots`; it has more than
            `largest` bytes.
        OSError: it cannot be read.
    """
    found = hashlib.sha256()
    with pinned(path, roots) as file:
        if file.size > largest:
            raise UnreadableError(too_large(file.size, largest))
        left = file.size
        # No further than it was long: what somebody goes on writing to is told by its signature.
        while left > 0 and (piece := os.read(file.descriptor, min(_PIECE, left))):
            found.update(piece)
            left -= len(piece)
    return found.hexdigest()


def unreadable(error: OSError) -> Text:
    """Why a file cannot be read, in words."""
    return text("it cannot be read: {reason}", reason=error.strerror or str(error))
