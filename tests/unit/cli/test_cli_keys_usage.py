"""``ansambl keys usage``: what was asked with each key, from the database alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansambl.app.data_folder import MIGRATIONS
from ansambl.cli.main import main
from ansambl.foundation.clock import RealClock
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.runtime.usage import UsageBook


@pytest.mark.usefixtures("own_folder")
def test_usage_of_keys_is_told_for_people_and_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "usage"]) == 0
    assert "Nothing was asked" in capsys.readouterr().out
    (tmp_path / "data").mkdir()
    database = Database(tmp_path / "data" / "ansambl.db", load_migrations(MIGRATIONS))
    book = UsageBook(database, RealClock())
    one = book.of_key("k23456789a", "big")
    one.requests, one.output_tokens = 3, 77
    book.write()
    database.close()
    assert main(["keys", "usage", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["usage"]
    del row["day"]
    assert row == {
        "key": "k23456789a", "model": "big", "requests": 3, "failed": 0, "prompt_tokens": 0, "cached_tokens": 0,
        "output_tokens": 77, "queued_seconds": 0.0, "first_token_seconds": 0.0, "first_tokens": 0, "swaps": 0,
    }  # fmt: skip
    assert main(["keys", "usage", "--days", "1"]) == 0
    shown = capsys.readouterr().out
    assert "k23456789a" in shown
    assert "77" in shown
