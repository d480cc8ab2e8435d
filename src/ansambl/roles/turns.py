"""Which note stood at which turn: the API is stateless, so what a client cannot send back is remembered here.

A note that stood in the newest message must stand there again when that message is history, or the prompt changes in
the middle and everything after it is prefilled again. A turn is known by a hash over the API key, the head material
and all messages up to and including its answer, so a note returns only into the very conversation that it came from.
What is not known is left out; that costs one turn of prefill and nothing else. Passages of documents that stood in a
message are remembered under the same hash (`knowledge.remembered`).
"""

from __future__ import annotations

import asyncio
import datetime as dt
import sqlite3
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from ansambl.dialects.openai_chat import Answer, Message
from ansambl.domain.scheduling import LOCAL_KEY
from ansambl.foundation.clock import Clock, RealClock
from ansambl.foundation.logging import get_logger
from ansambl.foundation.sqlite import Database
from ansambl.roles import canonical
from ansambl.roles.knowledge.records import Given
from ansambl.roles.knowledge.remembered import RememberedPassages, Stood

_log = get_logger(__name__)

CAPACITY = 20_000
"""Turns that are kept in memory."""

ROWS = 200_000
"""Turns that are kept on disk, some 20 MB; the oldest go first."""

_GATHERS = 0.5
"""Seconds for which what is remembered gathers before it is written; a crash loses it, and costs a turn of prefill."""
_PRUNE_EVERY = 500
_ASKED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Note:
    """What a turn's prompt held beyond what the client sends: the note's text, and the name of its role.

    An empty text stands for no note. `trailing` is whether the note stood in a system message of its own after the
    user message. `day` is the day that the prompt said today is; None where it said none. `owner` is the id of the API
    key for which it is remembered.
    """

    role: str
    text: str
    trailing: bool = False
    day: dt.date | None = None
    owner: str = field(default=LOCAL_KEY, compare=False)


@dataclass(frozen=True, slots=True)
class Recalled:
    """What is known of a request's history.

    `notes` maps the index of a user message to the note that stood there, `end` is the chain after all messages:
    what `TurnMemory.remember` needs to know the answer by. `day` is the day of the first turn that is known, None when
    it has none. `owner` is the id of the API key that asks. `given` maps the index of a user message to the passages
    that stood in it.
    """

    end: bytes
    notes: dict[int, Note] = field(default_factory=dict)
    day: dt.date | None = None
    owner: str = LOCAL_KEY
    given: dict[int, Given] = field(default_factory=dict)

    @property
    def texts(self) -> dict[int, str]:
        """The texts of the notes inside user messages, as `prompt_layout.lay_out` takes them."""
        return {index: note.text for index, note in self.notes.items() if not note.trailing}

    @property
    def trailing(self) -> dict[int, str]:
        """The texts of the notes in system messages of their own, by the user message before them."""
        return {index: note.text for index, note in self.notes.items() if note.trailing}


class TurnMemory:
    """Remembers notes in memory and, when it has a database, beyond a restart.

    Reading asks memory first. SQLite is asked (once a request, for all that is missing) only when it holds turns that
    memory does not; writing to it never waits. One event loop may use an object of this class, no other thread.
    """

    def __init__(
        self,
        database: Database | None = None,
        *,
        clock: Clock | None = None,
        capacity: int = CAPACITY,
        rows: int = ROWS,
    ) -> None:
        self._database = database
        self._clock = clock or RealClock()
        self._capacity = capacity
        self._rows = rows
        self._turns: OrderedDict[bytes, Note] = OrderedDict()
        self._disk_holds_more = False
        self._written = 0
        self._unsaved: deque[tuple[bytes, Note, float]] = deque()
        self._saving = False
        self._passages = RememberedPassages()
        self._load()

    def __len__(self) -> int:
        return len(self._turns)

    def recall(self, key: str, head: str, messages: Sequence[Message]) -> Recalled:
        """Find the notes that stood in the history of a request.

        `key` is the id of the API key, `head` stands for everything outside the messages that changes the prompt's
        head. Of several answers to one user message (a tool loop) the latest known one decides.
        """
        wanted: list[tuple[bytes, int]] = []
        end = canonical.start(key, head)
        last_user: int | None = None
        for index, message in enumerate(messages):
            end = canonical.extend(end, message)
            role = message.get("role")
            if role == "user":
                last_user = index
            elif role == "assistant" and last_user is not None:
                wanted.append((end, last_user))
        known = self._find([digest for digest, _ in wanted])
        turns = [(index, known[digest]) for digest, index in wanted if digest in known]
        day = next((turn.day for _, turn in turns if turn.day is not None), None)
        given = self._passages.find(wanted) if len(self._passages) else {}
        return Recalled(end, {index: turn for index, turn in turns if turn.text}, day, key, given)

    def remember(
        self, recalled: Recalled, answer: Answer, note: Note | None, given: Given | None = None, *,
        drops_earlier: bool = False,
    ) -> None:  # fmt: skip
        """Keep that `note` and the passages `given` produced `answer` after the messages of `recalled`.

        `drops_earlier` tells that the passages of earlier turns were left out, and shall stay out.

        Nothing is kept of an answer that is empty or that an error broke off. A client that stopped the answer may
        send back what it has seen so far, so such an answer is kept.
        """
        message = canonical.as_message(answer)
        if message is None or answer.error is not None:
            return
        digest = canonical.extend(recalled.end, message)
        if given is not None or drops_earlier:
            self._passages.keep(digest, Stood(given, drops_earlier, recalled.owner))
        if note is None:
            return
        owned = note if note.owner == recalled.owner else replace(note, owner=recalled.owner)
        self._keep(digest, owned)
        self._save(digest, owned)

    def forget_key(self, key: str) -> None:
        """Forget all turns that are remembered for an API key. Returns at once; the database follows."""
        for digest in [one for one, note in self._turns.items() if note.owner == key]:
            del self._turns[digest]
        self._passages.forget_owner(key)
        if self._database is None:
            return

        def work(connection: sqlite3.Connection) -> None:
            # What was about to be written goes first, so that nothing of it comes afterwards.
            self._save_all(connection)
            connection.execute("DELETE FROM role_turns WHERE owner = ?", (key,))
            connection.execute("DELETE FROM role_notes WHERE id NOT IN (SELECT note FROM role_turns)")

        self._database.submit(work)

    def forget_documents(self, documents: Iterable[int]) -> None:
        """Forget where passages of these documents stood."""
        self._passages.forget_documents(documents)

    def _find(self, digests: list[bytes]) -> dict[bytes, Note]:
        found: dict[bytes, Note] = {}
        missing = []
        for digest in digests:
            note = self._turns.get(digest)
            if note is None:
                missing.append(digest)
            else:
                self._turns.move_to_end(digest)
                found[digest] = note
        if missing and self._disk_holds_more and self._database is not None:
            if self._unsaved:
                self._database.transaction(self._save_all)
            asked = missing[-_ASKED_AT_ONCE:]
            marks = ",".join("?" * len(asked))
            for digest, note in self._rows_of(self._database, f"WHERE digest IN ({marks})", asked):
                found[digest] = note
                self._keep(digest, note)
        return found

    def _keep(self, digest: bytes, note: Note) -> None:
        self._turns[digest] = note
        self._turns.move_to_end(digest)
        if len(self._turns) > self._capacity:
            self._turns.popitem(last=False)
            self._disk_holds_more = True

    def _load(self) -> None:
        if self._database is None:
            return
        newest = self._rows_of(self._database, "ORDER BY written DESC LIMIT ?", (self._capacity + 1,))
        self._disk_holds_more = len(newest) > self._capacity
        # One object per note: a handful of notes stand behind thousands of turns.
        shared: dict[tuple[str, Note], Note] = {}
        for digest, note in reversed(newest[: self._capacity]):
            self._turns[digest] = shared.setdefault((note.owner, note), note)

    @staticmethod
    def _rows_of(database: Database, condition: str, values: Sequence[object]) -> list[tuple[bytes, Note]]:
        query = (
            "SELECT digest, role, role_notes.note AS text, trailing, day, owner FROM role_turns"  # noqa: S608 - `condition` is ours, values are bound
            f" JOIN role_notes ON role_notes.id = role_turns.note {condition}"
        )
        return [
            (row["digest"], Note(row["role"], row["text"], bool(row["trailing"]), _day(row["day"]), row["owner"]))
            for row in database.read(query, values)
        ]

    def save(self) -> None:
        """Have what has gathered written now. Returns at once; the database's `close` waits for it."""
        if self._database is None or not self._unsaved:
            return
        try:
            self._database.submit(self._save_all)
        except RuntimeError:
            # The database closes before the last stream has ended; memory is enough until then.
            _log.info("role_turn_not_saved")

    def _save(self, digest: bytes, note: Note) -> None:
        if self._database is None:
            return
        self._unsaved.append((digest, note, self._clock.now()))
        if self._saving:
            return
        self._saving = True
        try:
            # A transaction for each answer would cost as much as all else that is done for a role.
            asyncio.get_running_loop().call_later(_GATHERS, self.save)
        except RuntimeError:
            self.save()

    def _save_all(self, connection: sqlite3.Connection) -> None:
        """Write what has gathered since the last time, in one transaction. Runs in the database's thread."""
        # Before the first is taken: one that is added from now on brings a write of its own.
        self._saving = False
        while self._unsaved:
            digest, note, written = self._unsaved.popleft()
            connection.execute(
                "INSERT INTO role_notes (role, note) VALUES (?, ?) ON CONFLICT DO NOTHING", (note.role, note.text)
            )
            connection.execute(
                "INSERT INTO role_turns (digest, note, written, trailing, day, owner)"
                " SELECT ?, id, ?, ?, ?, ? FROM role_notes WHERE role = ? AND note = ?"
                " ON CONFLICT (digest) DO UPDATE SET note = excluded.note, written = excluded.written,"
                " trailing = excluded.trailing, day = excluded.day",
                (
                    digest,
                    written,
                    note.trailing,
                    note.day.isoformat() if note.day else "",
                    note.owner,
                    note.role,
                    note.text,
                ),
            )
            self._written += 1
            if self._written % _PRUNE_EVERY == 1:
                _prune(connection, self._rows)


def _day(written: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(written)
    except ValueError:
        return None


def _prune(connection: sqlite3.Connection, rows: int) -> None:
    connection.execute(
        "DELETE FROM role_turns WHERE digest IN"
        " (SELECT digest FROM role_turns ORDER BY written DESC, digest LIMIT -1 OFFSET ?)",
        (rows,),
    )
    connection.execute("DELETE FROM role_notes WHERE id NOT IN (SELECT note FROM role_turns)")
