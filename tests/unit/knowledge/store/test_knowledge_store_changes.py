"""An index that hears of changes step by step ends where one does that hears of everything at once."""

from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.knowledge.store import changes
from ansambl.knowledge.store.changes import changes_after


def fresh() -> sqlite3.Connection:
    one = sqlite3.connect(":memory:")
    one.executescript(
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);"
        "INSERT INTO facts VALUES ('revision', '0');"
        "CREATE TABLE passages (id INTEGER PRIMARY KEY, revision INTEGER);"
        "CREATE TABLE tombstones (passage INTEGER PRIMARY KEY, revision INTEGER);"
        "CREATE TABLE vectors_1 (passage INTEGER PRIMARY KEY, revision INTEGER);"
    )
    return one


@given(st.lists(st.tuples(st.sampled_from("pvt"), st.integers(1, 8)), max_size=40))
@settings(max_examples=60)
def test_steps_hold_whole_revisions_and_everything(rows: list[tuple[str, int]]) -> None:
    connection = fresh()
    tables = {"p": "passages", "v": "vectors_1", "t": "tombstones"}
    for number, (kind, revision) in enumerate(rows, 1):
        connection.execute(f"INSERT INTO {tables[kind]} VALUES (?, ?)", (number, revision))  # noqa: S608
    newest = max((revision for _, revision in rows), default=0)
    connection.execute("UPDATE facts SET value = ? WHERE name = 'revision'", (newest,))
    step = changes.STEP
    changes.STEP = 3
    try:
        applied, put, gone = 0, set[int](), set[int]()
        while (found := changes_after(connection, applied, 1)).until > applied:
            told = {number for number, (_, revision) in enumerate(rows, 1) if applied < revision <= found.until}
            assert {*found.put, *found.gone} == told
            put |= set(found.put)
            gone |= set(found.gone)
            applied = found.until
    finally:
        changes.STEP = step
        connection.close()
    assert applied == newest
    assert gone == {number for number, (kind, _) in enumerate(rows, 1) if kind == "t"}
    assert put == {number for number, (kind, _) in enumerate(rows, 1) if kind != "t"}
