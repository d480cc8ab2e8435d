"""Log files as streams: newest lines, what is added, where a lost stream goes on, rotation and emptying."""

from __future__ import annotations

import asyncio
import json

import pytest

from ansambl.app.admin import log_following
from ansambl.app.admin.log_following import LogFollower, newest_lines


class Reader:
    def __init__(self, path, lines=5, after=None, keep_alive=60.0):
        self.stream = LogFollower(path, poll=0.005, keep_alive=keep_alive).stream(lines, after)
        self.events, self.buffer = [], b""

    async def lines(self, count):
        async with asyncio.timeout(5):
            while len(self.seen()) < count:
                await self.more()
        return self.seen()

    async def more(self):
        for block in (await anext(self.stream)).decode().split("\n\n"):
            if block and not block.startswith(":"):
                fields = dict(line.split(": ", 1) for line in block.split("\n"))
                self.events.append((fields.get("id"), fields["event"], json.loads(fields["data"])))

    def seen(self):
        return [data["line"] for _, kind, data in self.events if kind == "line"]

    async def close(self):
        await self.stream.aclose()


def add(path, words):
    with path.open("a", encoding="utf-8") as file:
        file.write(words)


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "engine.log"
    path.write_text("".join(f"line {number}\n" for number in range(10)))
    return path


def test_the_newest_lines_of_a_file(log, tmp_path):
    assert newest_lines(log, 3) == ["line 7", "line 8", "line 9"]
    assert newest_lines(log, 100) == [f"line {number}" for number in range(10)]
    assert newest_lines(tmp_path / "none", 3) == []
    add(log, "half")
    assert newest_lines(log, 1) == ["line 9"]


async def test_a_line_longer_than_all_that_is_looked_at_is_shown_by_its_end(log):
    """An engine that writes a megabyte in one line: its log seemed to be empty, and its page waited for ever."""
    add(log, "x" * 1_200_000 + " the end\n")
    assert [one[-9:] for one in newest_lines(log, 500)] == ["x the end"]
    first = Reader(log, 500)
    (line,) = await first.lines(1)
    assert line.endswith("x the end")
    assert len(line) <= 4000
    seen = first.events[0][0]
    add(log, "after it\n")
    assert (await first.lines(2))[1:] == ["after it"]
    await first.close()
    again = Reader(log, 500, after=seen)
    assert await again.lines(1) == ["after it"]
    await again.close()


async def test_the_newest_lines_come_first_then_what_is_added_as_whole_lines(log):
    reader = Reader(log, 2)
    assert await reader.lines(2) == ["line 8", "line 9"]
    add(log, "ten\nele")
    await reader.lines(3)
    add(log, "ven\nпривет\n")
    assert await reader.lines(5) == ["line 8", "line 9", "ten", "eleven", "привет"]
    await reader.close()


async def test_a_lost_stream_goes_on_behind_the_line_that_was_read_last(log):
    first = Reader(log, 10)
    await first.lines(10)
    seen = first.events[3][0]
    await first.close()
    add(log, "new\n")
    second = Reader(log, 1, after=seen)
    assert await second.lines(7) == [*(f"line {number}" for number in range(4, 10)), "new"]
    await second.close()


@pytest.mark.parametrize("after", ["", "zz", "1-1", "0-99999999", "-", "f" * 90])
async def test_an_id_of_another_file_begins_with_the_newest_lines(log, after):
    reader = Reader(log, 1, after=after)
    assert await reader.lines(1) == ["line 9"]
    await reader.close()


async def test_a_file_that_is_rotated_is_read_to_its_end_and_then_the_new_one(log):
    reader = Reader(log, 1)
    await reader.lines(1)
    add(log, "last of the old one\n")
    log.rename(log.with_suffix(".1"))
    log.write_text("first of the new one\n")
    assert await reader.lines(3) == ["line 9", "last of the old one", "first of the new one"]
    await reader.close()


async def test_a_file_that_is_emptied_begins_anew_and_the_gap_is_told(log):
    reader = Reader(log, 1)
    await reader.lines(1)
    log.write_text("anew\n")
    assert await reader.lines(2) == ["line 9", "anew"]
    assert [kind for _, kind, _ in reader.events] == ["line", "gap", "line"]
    await reader.close()


async def test_a_file_that_comes_later_is_waited_for(tmp_path):
    path = tmp_path / "later.log"
    reader = Reader(path, keep_alive=0.01)
    waiting = asyncio.create_task(reader.lines(1))
    await asyncio.sleep(0.02)
    path.write_text("here\n")
    assert await waiting == ["here"]
    await reader.close()


async def test_who_is_far_behind_is_told_what_it_misses(log, monkeypatch):
    monkeypatch.setattr(log_following, "_MOST_BEHIND", 200)
    monkeypatch.setattr(log_following, "_STEP", 100)
    reader = Reader(log, 1)
    await reader.lines(1)
    add(log, "".join(f"more {number}\n" for number in range(100)))
    found = await reader.lines(2)
    assert ("gap", True) in [(kind, data.get("bytes", 0) > 0) for _, kind, data in reader.events if kind == "gap"]
    assert found[-1].startswith(("more", "ore", "re", "e", " "))
    while reader.seen()[-1] != "more 99":
        await reader.lines(len(reader.seen()) + 1)
    assert len(reader.seen()) < 30
    await reader.close()


async def test_a_line_without_an_end_costs_no_memory(log, monkeypatch):
    monkeypatch.setattr(log_following, "_STEP", 1000)
    reader = Reader(log, 1)
    await reader.lines(1)
    add(log, "x" * 5000)
    found = await reader.lines(3)
    assert {*found[1]} == {"x"}
    await reader.close()


async def test_secrets_are_masked(log):
    add(log, "sent Authorization: Bearer abcdefgh12345678\n")
    assert "abcdefgh12345678" not in newest_lines(log, 1)[0]
    reader = Reader(log, 1)
    assert "abcdefgh12345678" not in (await reader.lines(1))[0]
    await reader.close()


async def test_a_silent_log_shows_that_its_stream_is_alive(log):
    reader = Reader(log, 1, keep_alive=0.01)
    await reader.lines(1)
    assert await asyncio.wait_for(anext(reader.stream), 5) == b": keep-alive\n\n"
    await reader.close()
