"""Progress is told a few times a second, with a rate of what really was done."""

from __future__ import annotations

from ansambl.foundation.clock import VirtualClock
from ansambl.knowledge.contract import Progress
from ansambl.knowledge.ingest.embedding import seconds_for
from ansambl.knowledge.ingest.progress import Telling


class Hand(VirtualClock):
    def move(self, seconds: float) -> None:
        self._now += seconds


def test_the_rate_is_known_beforehand_and_then_measured() -> None:
    told: list[Progress] = []
    clock = Hand()
    telling = Telling(told.append, "embedding", "passages", 100, clock.monotonic, 2.0)
    telling.tell(now=True)
    assert (told[0].rate, told[0].left) == (2.0, 50.0)
    clock.move(10.0)
    telling.step(40)
    assert (told[1].done, told[1].rate, told[1].left) == (40, 4.0, 15.0)
    telling.step(30, worked=False)
    assert len(told) == 2
    clock.move(0.3)
    telling.step(0, note="refused")
    assert (told[-1].done, told[-1].note) == (70, "refused")
    # What cost nothing does not flatter the rate.
    assert told[-1].rate is not None
    assert 3.8 < told[-1].rate < 4.0
    telling.step(500)
    telling.tell(now=True)
    assert told[-1].done == 100


def test_without_a_total_nothing_is_said_of_the_time_left() -> None:
    told: list[Progress] = []
    clock = Hand()
    telling = Telling(told.append, "reading", "documents", None, clock.monotonic)
    clock.move(1.0)
    telling.step(5, current="a")
    assert (told[0].total, told[0].left, told[0].rate, told[0].current) == (None, None, 5.0, "a")
    Telling(None, "reading", "documents", None, clock.monotonic).step()


def test_an_estimate_needs_a_rate() -> None:
    assert seconds_for(4_000, 2.2) == 1819
    assert seconds_for(4_000, None) is None
    assert seconds_for(0, 2.0) == 0
