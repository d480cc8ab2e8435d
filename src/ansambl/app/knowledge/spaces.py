"""Which spaces of vectors were seen, with their dimensions; and how a checkpoint is known again wherever it lies."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path

from ansambl.domain.errors import EngineError
from ansambl.domain.text import text
from ansambl.foundation.paths import PRIVATE_FOLDER, write_atomically

_SAMPLE = 1 << 20
_LARGEST_BOOK = 1 << 20
_SHOWN_DIGEST = 12


class SpaceBook:
    """The dimensions of spaces by their names, in a small file. It may be deleted at any time; calls may overlap."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._known: dict[str, int] | None = None

    def dimension(self, name: str) -> int | None:
        """The dimension of a space; None where it was never seen."""
        with self._lock:
            return self._all().get(name)

    def check(self, name: str, dimension: int) -> None:
        """Note a dimension that was seen.

        Raises:
            EngineError: it was another one before: another model answers under this name.
        """
        with self._lock:
            known = self._all()
            before = known.get(name)
            if before == dimension:
                return
            if before is not None:
                raise EngineError(
                    text("The model of vectors '{model}' gives vectors of {now} numbers, and gave {before} before: "
                         "another model answers under its name. Give it another name.",
                         model=name, now=dimension, before=before)
                )  # fmt: skip
            known[name] = dimension
            self._file.parent.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
            write_atomically(self._file, json.dumps(known, indent=1, sort_keys=True).encode())

    def _all(self) -> dict[str, int]:
        if self._known is None:
            try:
                found = json.loads(self._file.read_bytes()[:_LARGEST_BOOK])
            except (OSError, ValueError):
                found = {}
            pairs = found.items() if isinstance(found, dict) else ()
            self._known = {name: one for name, one in pairs if isinstance(one, int) and one > 0}
        return self._known


def content_digest(path: Path) -> str:
    """Some letters that stay the same when a checkpoint is copied or renamed, and differ for another one.

    Sizes, and the beginning, the middle and the end of each file of weights: to read all of it would take minutes.

    Raises:
        OSError: it cannot be read.
    """
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors")) or sorted(path.glob("*.gguf"))
    digest = hashlib.sha256()
    for one in files:
        size = one.stat().st_size
        digest.update(f"{size};".encode())
        with one.open("rb") as opened:
            for start in sorted({0, max(0, size // 2 - _SAMPLE // 2), max(0, size - _SAMPLE)}):
                opened.seek(start)
                digest.update(opened.read(_SAMPLE))
    return digest.hexdigest()[:_SHOWN_DIGEST]
