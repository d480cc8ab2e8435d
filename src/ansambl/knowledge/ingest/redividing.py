"""Documents that were divided or analysed in a way that is no longer ours: made anew from their stored texts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace

from ansambl.domain.errors import AnsamblError
from ansambl.domain.knowledge import Material, Passage
from ansambl.foundation.logging import get_logger
from ansambl.knowledge.contract import Stopped
from ansambl.knowledge.importing import kept
from ansambl.knowledge.ingest.taking import Reading
from ansambl.knowledge.reading.content import UnreadableError
from ansambl.knowledge.store.database import KnowledgeDatabase
from ansambl.knowledge.store.finding import document_row
from ansambl.knowledge.store.packing import unpack_document
from ansambl.knowledge.store.records import NewDocument
from ansambl.knowledge.store.texts import text_of
from ansambl.knowledge.store.writing import put_document

log = get_logger(__name__)


class Redividing:
    """Makes documents anew one by one; the old passages serve until then."""

    def __init__(
        self, database: KnowledgeDatabase, reading: Reading, analysis: str,
        embedded_text: Callable[[Passage], str], kept_one: Callable[[], None],
    ) -> None:  # fmt: skip
        """`analysis` is how documents are to be made; `kept_one` is called after each."""
        self._database, self._reading, self._analysis = database, reading, analysis
        self._embedded_text, self._kept_one = embedded_text, kept_one

    def pending(self) -> int:
        """How many documents are to be made anew."""
        rows = self._database.read("SELECT count(*) FROM documents WHERE analysis <> ?", (self._analysis,))
        return int(rows[0][0])

    def run(self, stopped: Stopped) -> int:
        """Make all of them anew; how many there were.

        Raises:
            AnsamblError: the store cannot be written.
        """
        done, after = 0, 0
        while not stopped():
            rows = self._database.read(
                "SELECT id FROM documents WHERE analysis <> ? AND id > ? ORDER BY id LIMIT 1", (self._analysis, after)
            )
            if not rows:
                break
            after = rows[0][0]
            try:
                self._one(after)
            except (ValueError, UnreadableError) as error:
                log.warning("document_not_divided_anew", document=after, reason=str(error))
                continue
            done += 1
            self._kept_one()
        return done

    def _one(self, document: int) -> None:
        with self._database.snapshot() as connection:
            try:
                known = document_row(connection, 0, document)
            except AnsamblError:
                return
            row = connection.execute(
                "SELECT d.collection, d.origin, d.place, d.record, d.digest, b.bytes FROM documents d "
                "LEFT JOIN conversations b ON b.document = d.id WHERE d.id = ?",
                (document,),
            ).fetchone()
            text = text_of(connection, document)
        material = Material(
            known.kind, known.place, known.title, text, known.form, unpack_document(row["record"]).marks, known.time,
            known.language, known.authors, known.source, known.facts, known.warnings,
        )  # fmt: skip
        talk = None if row["bytes"] is None else kept.decode(row["bytes"])
        prepared = replace(self._reading.divided(material), digest=row["digest"], conversation=talk)
        new = NewDocument(
            row["collection"], prepared, self._analysis, row["place"], row["origin"], known.owner, row["bytes"]
        )

        def keep(connection: sqlite3.Connection) -> None:
            still = connection.execute("SELECT digest FROM documents WHERE id = ?", (document,)).fetchone()
            # It may have been read again meanwhile, or removed.
            if still is not None and still[0] == row["digest"]:
                put_document(connection, new, known.added, self._embedded_text)

        self._database.write(keep)
