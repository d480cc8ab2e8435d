"""The small parts of ``ansambl knowledge``: days, spans of time, marked words, bars."""

from __future__ import annotations

import sys
from itertools import count

import pytest

from ansambl.cli.knowledge_adding import moment_of
from ansambl.cli.knowledge_progress import IngestBar, spoken_time
from ansambl.cli.knowledge_tables import highlighted
from ansambl.cli.plain_console import PlainConsole
from ansambl.domain.errors import UsageError

EVIL = "\x1b]0;title\x07\x1b[31mred\u202eback\x9b"


@pytest.mark.parametrize(("wanted", "after"), [("2025-08-07", False), ("07.08.2025", False), ("2025-08-06", True)])
def test_a_day_begins_and_ends_at_midnight(wanted, after):
    assert moment_of(wanted, after=after) == moment_of("2025-08-07")


@pytest.mark.parametrize("wanted", ["", "2025-13-01", "9999-12-31", "0001-01-01x", "x" * 100])
def test_what_is_no_day_is_refused(wanted):
    with pytest.raises(UsageError, match="no day"):
        moment_of(wanted, after=True)


def test_words_of_the_question_are_shown_in_their_other_forms():
    found = highlighted("Резные листья клёна, а не клен. Also the maples.", "клены maple")
    assert [found.plain[one.start : one.end] for one in found.spans] == ["клёна", "клен", "maples"]


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "1 s"), (89, "89 s"), (5400, "90 min"), (46_800, "13 h")])
def test_a_span_of_time_is_spoken_in_one_unit(seconds, words):
    assert spoken_time(seconds) == words


def test_progress_without_a_terminal_is_a_line_now_and_then(capsys):
    out, times = PlainConsole(file=sys.stdout, width=200), count(0, 0.125)
    with IngestBar(out, lambda: next(times)) as bar:
        for done in range(100):
            bar.show({"stage": "reading", "done": done, "total": 100, "unit": "documents", "rate": 12.0, "left": 300.0,
                      "current": "a.txt", "note": ""})  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "Reading: 39/100, 12.0 a second, 5 min left", "Reading: 79/100, 12.0 a second, 5 min left",
    ]  # fmt: skip


def test_progress_on_a_terminal_shows_no_commands_of_a_name(capsys):
    out = PlainConsole(file=sys.stdout, width=200, force_terminal=True)
    with IngestBar(out) as bar:
        bar.show({"stage": "reading", "done": 7, "total": 10, "unit": "documents", "rate": 12.0, "left": 3.0,
                  "current": f"{EVIL}.txt", "note": ""})  # fmt: skip
    printed = capsys.readouterr().out
    assert "7/10" in printed
    assert "\x1b]0" not in printed
    assert "\u202e" not in printed
