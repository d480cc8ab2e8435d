"""Measurements of engines in Ansambl's database: written off the request path, bounded, and read by forecasts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from ansambl.domain.measurement import Measurement, MeasurementKey, Speeds
from ansambl.domain.units import Bytes
from ansambl.foundation.sqlite import Database

KEPT_PER_KEY = 5
"""The newest measurements of one key that stay: the same start again says little that is new."""
KEPT = 1000
"""Measurements that stay in all."""

_KEY = ("machine", "engine", "version", "build", "checkpoint", "context", "parallel", "kv_type", "settings", "gpus")
_SPEEDS = ("decoded_tokens", "decode_seconds", "prefilled_tokens", "prefill_seconds", "samples")
_COLUMNS = (
    *_KEY, "time", "reference", "size", "quantization", "repo", "architecture", "memory", "resident", "gpu_memory",
    "load_seconds", "kv_tokens", "peak", *_SPEEDS,
)  # fmt: skip
_SAME = " AND ".join(f"{name} = ?" for name in _KEY)
_INSERT = f"INSERT INTO measurements ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608 - columns are ours
_BOUND_KEY = (
    f"DELETE FROM measurements WHERE {_SAME} AND id NOT IN "  # noqa: S608 - columns are ours
    f"(SELECT id FROM measurements WHERE {_SAME} ORDER BY id DESC LIMIT {KEPT_PER_KEY})"
)
_BOUND = f"DELETE FROM measurements WHERE id <= (SELECT id FROM measurements ORDER BY id DESC LIMIT 1 OFFSET {KEPT})"  # noqa: S608 - a number
_ADD_SPEEDS = (
    f"UPDATE measurements SET {', '.join(f'{name} = {name} + ?' for name in _SPEEDS)}, "  # noqa: S608 - columns are ours
    f"peak = max(coalesce(peak, 0), ?) WHERE id = (SELECT max(id) FROM measurements WHERE {_SAME})"
)


class MeasurementStore:
    """Writes measurements. Nothing waits for it: what it is given is written later, in order."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, make: Callable[[], Measurement | None]) -> None:
        """Keep what a start took; of one key the newest `KEPT_PER_KEY` stay, of all the newest `KEPT`.

        `make` is called in the thread that writes, so it may look at the machine; None is nothing to keep.
        """

        def work(connection: sqlite3.Connection) -> None:
            found = make()
            if found is None:
                return
            key = _key_values(found.key)
            connection.execute(_INSERT, _row(found))
            connection.execute(_BOUND_KEY, (*key, *key))
            connection.execute(_BOUND)

        self._database.submit(work)

    def add_speeds(self, make: Callable[[], MeasurementKey | None], speeds: Speeds) -> None:
        """Add to the newest measurement of a key; nothing happens where there is none. `make` as for `add`."""
        values = (*(getattr(speeds, name) for name in _SPEEDS), speeds.peak or 0)

        def work(connection: sqlite3.Connection) -> None:
            key = make()
            if key is not None:
                connection.execute(_ADD_SPEEDS, (*values, *_key_values(key)))

        self._database.submit(work)


def read_measurements(
    database: Path, *, machine: str, checkpoints: Sequence[str] = (), engines: Sequence[str] = ()
) -> tuple[Measurement, ...]:
    """The stored measurements of a machine, the newest first; of these checkpoints or engines alone where any is named.

    Reads beside a running Ansambl and changes nothing. There are none where there is no database, where one cannot be
    read (``ansambl doctor`` tells), or where an older Ansambl wrote it. Blocks.
    """
    if not database.is_file():
        return ()
    conditions, values = ["machine = ?"], [machine]
    for column, wanted in (("checkpoint", checkpoints), ("engine", engines)):
        if wanted:
            conditions.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += wanted
    query = f"SELECT * FROM measurements WHERE {' AND '.join(conditions)} ORDER BY id DESC"  # noqa: S608 - columns are ours
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as connection:
            connection.row_factory = sqlite3.Row
            rows = connection.execute(query, values).fetchall()
    except sqlite3.Error:
        return ()
    return tuple(found for row in rows if (found := _measurement(row)) is not None)


def _key_values(key: MeasurementKey) -> tuple[object, ...]:
    return (
        key.machine, key.engine, key.version, key.build, key.checkpoint, key.context, key.parallel, key.kv_type,
        _json(key.settings), _json(list(key.gpus)),
    )  # fmt: skip


def _row(one: Measurement) -> tuple[object, ...]:
    return (
        *_key_values(one.key), one.time, one.reference, one.size, one.quantization, one.repo, one.architecture,
        _json(one.memory), one.resident, one.gpu_memory, one.load_seconds, one.kv_tokens, one.speeds.peak,
        *(getattr(one.speeds, name) for name in _SPEEDS),
    )  # fmt: skip


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _measurement(row: sqlite3.Row) -> Measurement | None:
    """A stored row; None for one that is not written as this version writes them."""
    try:
        memory = {
            str(device): {str(part): Bytes(int(size)) for part, size in parts.items()}
            for device, parts in json.loads(row["memory"]).items()
        }
        key = MeasurementKey(
            row["machine"], row["engine"], row["version"], row["build"], row["checkpoint"], row["context"],
            row["parallel"], row["kv_type"], _words(json.loads(row["settings"])), tuple(json.loads(row["gpus"])),
        )  # fmt: skip
    except (ValueError, AttributeError, TypeError):
        return None
    return Measurement(
        key=key, reference=row["reference"], size=Bytes(row["size"]), time=row["time"],
        quantization=row["quantization"], repo=row["repo"], architecture=row["architecture"], memory=memory,
        resident=row["resident"], gpu_memory=row["gpu_memory"], load_seconds=row["load_seconds"],
        kv_tokens=row["kv_tokens"],
        speeds=Speeds(**{name: row[name] for name in (*_SPEEDS, "peak")}),
    )  # fmt: skip


def _words(table: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in table.items()}
