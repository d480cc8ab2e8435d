"""When the graph of an index is built anew, and by whom: beside the index, while it goes on answering and taking in.

A copy of the shard is optimised by a process of its own; what was written meanwhile is copied after it; then the copy
takes the shard's place. Nothing is lost if any of that is cut short: the shard in use is always whole.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansambl.foundation.logging import get_logger
from ansambl.knowledge.index import qdrant_points as points

if TYPE_CHECKING:
    import qdrant_edge as edge

log = get_logger(__name__)

FROM_VECTORS = 50_000
"""Up to so many vectors every one is compared: exactly, and in a few milliseconds."""

LEAST_CHANGES, MOST_CHANGES, SHARE = 20_000, 60_000, 0.2
"""Changes since the last time after which it is worth while: a share of all, within these bounds."""

QUIET, PATIENCE = 3.0, 300.0
"""Seconds without a write before it begins, so that one long ingest is optimised once; but it waits no longer than
PATIENCE."""

_ROUND = 256
"""Points copied after at once: a search waits for one such round at most."""

_MOST_FAILURES = 3
"""After so many it is not tried again until the index is opened anew."""

_LAST_ROUND = 1024
"""With so few left the rest is copied while writes wait."""


def worth_while(vectors: int, changes: int) -> bool:
    """Whether so many changes since the graph was built make it due again."""
    if vectors < FROM_VECTORS:
        return False
    return changes >= min(max(LEAST_CHANGES, SHARE * vectors), MOST_CHANGES)


class Holder:
    """A shard that may be replaced while others search it: it is closed when the last of them is done."""

    def __init__(self, shard: edge.EdgeShard, folder: Path) -> None:
        self.shard, self.folder = shard, folder
        self._lock = threading.Lock()
        self._users = 0
        self._retired = False

    def enter(self) -> bool:
        """Keep it open until `leave`; False where it was replaced already."""
        with self._lock:
            if not self._retired:
                self._users += 1
            return not self._retired

    def leave(self) -> None:
        """Done with it."""
        with self._lock:
            self._users -= 1
            last = self._retired and not self._users
        if last:
            self._end()

    def retire(self) -> None:
        """Close it and remove its folder, now or when nobody uses it any more."""
        with self._lock:
            now = not self._users and not self._retired
            self._retired = True
        if now:
            self._end()

    def _end(self) -> None:
        with suppress(Exception):
            self.shard.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def shard_of(holder: Callable[[], Holder]) -> Iterator[edge.EdgeShard]:
    """The shard in use, open for as long as this lasts."""
    while not (held := holder()).enter():
        # It was replaced between the two looks.
        continue
    try:
        yield held.shard
    finally:
        held.leave()


class Optimiser:
    """Optimises one index at a time, in a thread. The index tells it every change, and is given the new shard."""

    def __init__(
        self, library: Any, write: threading.RLock, holder: Callable[[], Holder],
        take: Callable[[Holder], None], target: Callable[[], Path],
    ) -> None:  # fmt: skip
        """`write` is held by whoever writes; `take` puts a new shard in place, with `write` held."""
        self._library, self._write, self._holder, self._take, self._target = library, write, holder, take, target
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._changed: set[int] | None = None
        self._last_write = time.monotonic()
        self.done = self._failures = 0

    @property
    def running(self) -> bool:
        """Whether it is at work or waits for a quiet moment."""
        return self._thread is not None and self._thread.is_alive()

    def note(self, ids: Sequence[int]) -> None:
        """These were put or removed (`write` is held)."""
        self._last_write = time.monotonic()
        if self._changed is not None:
            self._changed.update(ids)

    def begin(self) -> None:
        """Start, unless it is at work."""
        if not self.running and not self._stopping.is_set() and self._failures < _MOST_FAILURES:
            self._thread = threading.Thread(target=self._work, name="optimise", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """End what it does; the copy is removed."""
        self._stopping.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def _work(self) -> None:
        begun = time.monotonic()
        while time.monotonic() - self._last_write < QUIET and time.monotonic() - begun < PATIENCE:
            if self._stopping.wait(0.1):
                return
        target = self._target()
        try:
            if self._optimised(target):
                self.done += 1
                self._failures = 0
                log.info("index_optimised", seconds=round(time.monotonic() - begun, 1))
                return
            self._failures += 1
        except Exception as error:  # noqa: BLE001 - native code and full disks; the index goes on as it is
            log.warning("index_not_optimised", reason=(str(error) or type(error).__name__).splitlines()[0])
            self._failures += 1
        finally:
            self._changed = None
        shutil.rmtree(target, ignore_errors=True)

    def _optimised(self, target: Path) -> bool:
        with self._write:
            former = self._holder()
            former.shard.flush()
            self._changed = set()
            shutil.copytree(former.folder, target)
        if not self._graph_built(target):
            return False
        made = Holder(self._library.EdgeShard.load(str(target)), target)
        try:
            while not self._stopping.is_set():
                with self._write:
                    changed, self._changed = self._changed or set(), set()
                    if len(changed) <= _LAST_ROUND and self._holder() is former:
                        self._follow(former.shard, made.shard, sorted(changed))
                        made.shard.flush()
                        self._take(made)
                        return True
                    if self._holder() is not former:
                        break
                self._follow(former.shard, made.shard, sorted(changed))
        except BaseException:
            made.retire()
            raise
        made.retire()
        return False

    def _graph_built(self, target: Path) -> bool:
        process = subprocess.Popen(
            [sys.executable, "-m", "ansambl.knowledge.index.qdrant_optimising", str(target)],
            stdin=subprocess.DEVNULL,
        )
        while process.poll() is None:
            if self._stopping.wait(0.1):
                process.kill()
                process.wait()
                return False
        if process.returncode != 0:
            log.warning("index_optimiser_ended", code=process.returncode)
        return process.returncode == 0

    def _follow(self, former: edge.EdgeShard, made: edge.EdgeShard, ids: list[int]) -> None:
        """Bring `ids` of the copy to what they are in the shard in use: changed, or gone."""
        library = self._library
        for start in range(0, len(ids), _ROUND):
            part = ids[start : start + _ROUND]
            records = former.retrieve(list(part), with_payload=True, with_vector=True)
            if records:
                made.update(library.UpdateOperation.upsert_points([
                    library.Point(one.id, _vectors(one.vector), one.payload or {}) for one in records
                ]))  # fmt: skip
            gone = sorted(set(part) - {int(one.id) for one in records})
            if gone:
                made.update(library.UpdateOperation.delete_points(list(gone)))


def _vectors(found: Any) -> dict[str, Any]:
    return {name: found[name] for name in (points.DENSE, points.TERMS) if name in (found or {})}
