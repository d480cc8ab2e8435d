"""The index in our own processes: Qdrant's storage and search as a library. Nothing else imports it.

The library is a beta (pinned to 0.9.0) and not ours to trust with a process: `opening` runs it in one of its own. What
is put is found at once. What is committed is in the library's log of writes and survives the end of the process. A
flush holds Python's lock (0.1 to 0.4 s at 100,000 passages, and no search is answered), so it waits for a quiet moment;
after the end of the whole machine the revision of the last flush counts. A folder that it cannot read is set aside.
Vectors are compared one by one until `qdrant_aside` has built a graph.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from ansambl.domain.knowledge import Filters
from ansambl.domain.text import text
from ansambl.foundation.paths import PRIVATE_FOLDER, write_atomically
from ansambl.knowledge.embedding import Vectors, VectorSpace
from ansambl.knowledge.index import qdrant_points as points
from ansambl.knowledge.index.checking import (
    asked_terms,
    bounded,
    check_entries,
    check_vector,
    finds_nothing,
)
from ansambl.knowledge.index.contract import Entry, IndexPlace, IndexState, Ranked
from ansambl.knowledge.index.errors import IndexFailedError, missing
from ansambl.knowledge.index.folders import FolderLock, bytes_of, set_all_aside
from ansambl.knowledge.index.qdrant_aside import Holder, Optimiser, shard_of, worth_while

if TYPE_CHECKING:
    import qdrant_edge as edge

_NOTE, _SHARD = "applied.json", "shard-"
_EF = 256
"""Candidates that a walk through the graph keeps; not measured at this value. Over 100,000 hashed vectors, on which a
graph finds less than on vectors of a model, the library's own choice gave a recall@10 of 0.84, and 512 gave 0.93 for
four times the time of a search."""
_LAYOUT = 2
"""Counts up when points are written differently, so that an older index is built anew."""


_QUIET, _MOST_UNFLUSHED = 2.0, 20_000
"""Seconds without a write before a flush, and how many changes at most wait for one."""


def _boot() -> str:
    """This start of the machine; "" where the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


class _Note(msgspec.Struct):
    """What the library does not keep for us."""

    applied: int = 0
    model: str = ""
    dimension: int = 0
    layout: int = _LAYOUT
    shard: str = ""
    changes: int = 0
    flushed: int = 0
    boot: str = ""


class QdrantEdgeIndex:
    """See the module. One writer at a time; any number of threads search."""

    def __init__(self, place: IndexPlace) -> None:
        """Open the index in ``place.folder``, or make it.

        Raises:
            NotSupportedError: the library is not installed.
            IndexInUseError: another process has it.
            IndexDamagedError: its files cannot be used; they were set aside, and opening again makes an empty one.
        """
        try:
            import qdrant_edge
        except ImportError as error:
            raise missing("qdrant-edge-py", "knowledge", error) from error
        self._edge = qdrant_edge
        self._folder = Path(place.folder)
        self._space = place.space
        self._write = threading.RLock()
        self._lock = FolderLock(self._folder)
        try:
            self._holder = self._open()
        except BaseException:
            self._lock.release()
            raise
        self._unflushed, self._last_write = 0, time.monotonic()
        self._closing = threading.Event()
        self._flusher = threading.Thread(target=self._flush_when_quiet, name="flush", daemon=True)
        self._flusher.start()
        self._optimiser = Optimiser(
            qdrant_edge, self._write, lambda: self._holder, self._take_optimised, self._next_shard
        )

    def _open(self) -> Holder:
        note = self._folder / _NOTE
        if not note.exists():
            # Without its note a shard was never completed.
            return self._create()
        try:
            self._note = msgspec.json.decode(note.read_bytes(), type=_Note)
        except (msgspec.MsgspecError, OSError) as error:
            raise set_all_aside(self._folder, str(error)) from error
        found = VectorSpace(self._note.model, self._note.dimension) if self._note.dimension else None
        if self._note.layout != _LAYOUT or (self._space is not None and self._space != found):
            raise set_all_aside(self._folder, f"it holds vectors of {found}, and {self._space} is wanted")
        self._space = found
        if self._note.boot != _boot():
            # What was not flushed may have been lost with the machine; the store has it.
            self._note.applied = self._note.flushed
        shard = self._folder / self._note.shard
        self._remove_shards(but=shard)
        try:
            return Holder(self._edge.EdgeShard.load(str(shard)), shard)
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic of the library is no Exception
            raise set_all_aside(self._folder, _first_line(error)) from error

    def _remove_shards(self, but: Path | None = None) -> None:
        for other in self._folder.glob(f"{_SHARD}*"):
            if other != but:
                shutil.rmtree(other, ignore_errors=True)

    def _next_shard(self) -> Path:
        numbers = [int(one.name.removeprefix(_SHARD)) for one in self._folder.glob(f"{_SHARD}[0-9]*")]
        return self._folder / f"{_SHARD}{max(numbers, default=0) + 1}"

    def _create(self) -> Holder:
        library, shard = self._edge, self._next_shard()
        shard.mkdir(mode=PRIVATE_FOLDER, parents=True)
        dense = {}
        if self._space is not None:
            dense[points.DENSE] = library.EdgeVectorParams(size=self._space.dimension, distance=library.Distance.Cosine)
        made = library.EdgeShard.create(
            str(shard),
            library.EdgeConfig(
                vectors=dense,
                sparse_vectors={points.TERMS: library.EdgeSparseVectorParams(modifier=library.Modifier.Idf)},
                hnsw_config=library.HnswIndexConfig(
                    m=16,
                    ef_construct=100,
                    full_scan_threshold=10_000,
                    # Half of the machine, and nicely: the rest answers.
                    max_indexing_threads=max(1, (os.cpu_count() or 2) // 2),
                ),
            ),
        )
        update = library.UpdateOperation
        for name in points.KEYWORDS:
            made.update(update.create_field_index(name, library.PayloadSchemaType.Keyword))
        made.update(update.create_field_index("document", library.PayloadSchemaType.Integer))
        made.update(update.create_field_index("time", library.PayloadSchemaType.Float))
        made.flush()
        space = self._space
        self._note = _Note(
            0, space.model if space else "", space.dimension if space else 0, shard=shard.name, boot=_boot()
        )
        self._write_note()
        return Holder(made, shard)

    def _take_optimised(self, made: Holder) -> None:
        """Use another shard with the same contents from now on."""
        self._note.shard, self._note.changes, self._unflushed = made.folder.name, 0, 0
        self._note.flushed = self._note.applied
        self._write_note()
        former, self._holder = self._holder, made
        former.retire()

    def _write_note(self) -> None:
        write_atomically(self._folder / _NOTE, msgspec.json.encode(self._note))

    # -- writing

    def put(self, entries: Sequence[Entry]) -> None:
        """Add or replace; found at once."""
        check_entries(entries, self._space)
        if not entries:
            return
        library = self._edge
        made = []
        for one in {entry.id: entry for entry in entries}.values():
            vectors: dict[str, Any] = {points.TERMS: library.SparseVector(*points.sparse(one.terms))}
            if one.vector is not None:
                vectors[points.DENSE] = one.vector
            made.append(library.Point(one.id, vectors, points.payload(one)))
        with self._write, _failing():
            self._holder.shard.update(library.UpdateOperation.upsert_points(made))
            self._changed([one.id for one in entries])

    def remove(self, ids: Sequence[int]) -> None:
        """Remove; unknown ids are ignored."""
        wanted: list[int | UUID | str] = [one for one in dict.fromkeys(ids) if 0 <= one < 2**63]
        with self._write, _failing():
            if wanted:
                self._holder.shard.update(self._edge.UpdateOperation.delete_points(wanted))
                self._changed([int(one) for one in wanted if isinstance(one, int)])

    def _flush(self) -> None:
        self._holder.shard.flush()
        self._note.flushed, self._unflushed = self._note.applied, 0

    def _flush_when_quiet(self) -> None:
        while not self._closing.wait(_QUIET / 2):
            if not self._unflushed or time.monotonic() - self._last_write < _QUIET:
                continue
            with self._write, contextlib.suppress(Exception):
                # A full disk, say: a later flush, or the next opening, finds it.
                self._flush()
                self._write_note()

    def _changed(self, ids: list[int]) -> None:
        self._note.changes += len(ids)
        self._unflushed += len(ids)
        self._last_write = time.monotonic()
        self._optimiser.note(ids)

    def commit(self, applied: int) -> None:
        """Flush, then note the revision."""
        with self._write, _failing():
            self._note.applied, self._note.boot = applied, _boot()
            if not self._note.boot or self._unflushed >= _MOST_UNFLUSHED:
                self._flush()
            self._write_note()
            if worth_while(self._holder.shard.count(self._edge.CountRequest(exact=False)), self._note.changes):
                self._optimiser.begin()

    def clear(self) -> None:
        """Empty, at revision 0, durably."""
        with self._write, _failing():
            former = self._holder
            self._holder, self._unflushed = self._create(), 0
            former.retire()

    # -- searching

    def _filter(self, filters: Filters) -> edge.Filter | None:
        library = self._edge
        must: list[Any] = []
        for name, wanted in points.wanted_sets(filters):
            must.append(library.FieldCondition(name, match=library.MatchAny(wanted)))
        if filters.since is not None or filters.until is not None:
            within = library.RangeFloat(gte=filters.since, lt=filters.until)
            must.append(library.FieldCondition("time", range=within))
        return library.Filter(must=must) if must else None

    def by_vector(self, vector: Vectors, filters: Filters, limit: int) -> list[Ranked]:
        """The nearest by cosine: exactly, while the library has built no graph."""
        check_vector(vector, self._space)
        limit = bounded(limit)
        if not limit or finds_nothing(filters) or not vector.any():
            return []
        # It takes an array as it is, which its stubs do not say: half a millisecond less than a list.
        query: Any = vector
        return self._nearest(self._edge.Query.Nearest(query, using=points.DENSE), filters, limit)

    def by_terms(self, terms: Mapping[str, float], filters: Filters, limit: int) -> list[Ranked]:
        """BM25: the entry's part was written with it, the rarity of terms is the library's."""
        asked, limit = asked_terms(terms), bounded(limit)
        if not asked or not limit or finds_nothing(filters):
            return []
        query = self._edge.SparseVector(*points.sparse_query(asked))
        return self._nearest(self._edge.Query.Nearest(query, using=points.TERMS), filters, limit)

    def _nearest(self, query: edge.Query, filters: Filters, limit: int) -> list[Ranked]:
        library = self._edge
        request = library.QueryRequest(
            limit=limit, query=query, filter=self._filter(filters), params=library.SearchParams(hnsw_ef=_EF)
        )
        with _failing(), shard_of(lambda: self._holder) as shard:
            found = shard.query(request)
        ranked = [Ranked(int(one.id), float(one.score)) for one in found]
        ranked.sort(key=lambda one: (-one.score, one.id))
        return ranked

    def state(self) -> IndexState:
        """Counted now; `applied` is that of the last commit."""
        library = self._edge
        with _failing(), shard_of(lambda: self._holder) as shard:
            entries = shard.count(library.CountRequest(exact=True))
            vectors = 0
            if self._space is not None:
                having = library.Filter(must=[library.HasVectorCondition(points.DENSE)])
                vectors = shard.count(library.CountRequest(exact=True, filter=having))
        facts = {
            "kind": "qdrant-edge", "folder": str(self._folder), "disk_bytes": str(bytes_of(self._folder)),
            "optimised": str(self._optimiser.done), "optimising": str(self._optimiser.running).lower(),
        }  # fmt: skip
        return IndexState(entries, vectors, self._note.applied, facts)

    def close(self) -> None:
        """Give back what it holds."""
        self._closing.set()
        self._optimiser.close()
        self._flusher.join()
        with self._write:
            with contextlib.suppress(Exception):
                if self._unflushed:
                    self._flush()
                    self._write_note()
                self._holder.shard.close()
            self._lock.release()


@contextlib.contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise IndexFailedError(text("the index could not do it: {reason}", reason=_first_line(error))) from error


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
