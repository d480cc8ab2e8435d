"""The relay of events: nothing is lost, nothing is changed, and no half event is passed on."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.gateway.streaming import EventRelay

LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n")).map(str.encode)


@st.composite
def streams(draw):
    end = draw(st.sampled_from([b"\n", b"\r\n"]))
    events = draw(st.lists(st.lists(LINE.map(lambda line: b"data: " + line), min_size=1, max_size=3), max_size=8))
    stream = b"".join(end.join(event) + end + end for event in events)
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=12).map(sorted))
    edges = [0, *cuts, len(stream)]
    return end, [stream[a:b] for a, b in itertools.pairwise(edges)]


@given(streams(), st.binary(max_size=20), st.booleans())
def test_all_bytes_pass_unchanged_and_only_whole_events_pass_before_the_end(cut_stream, tail, keep_all):
    end, chunks = cut_stream
    relay, passed = EventRelay(keep_all=keep_all), b""
    for chunk in chunks:
        passed += relay.feed(chunk)
        assert passed == b"" or passed.endswith(end + end)
        assert relay.kept == passed
    whole = b"".join(chunks)
    assert passed == whole, "a whole event is never held back"
    passed += relay.feed(tail) + relay.finish()
    assert passed == whole + tail
    assert relay.kept == passed
    assert relay.finish() == b""


@given(st.lists(st.binary(max_size=30)))
def test_any_bytes_pass_unchanged(chunks):
    relay = EventRelay()
    assert b"".join(map(relay.feed, chunks)) + relay.finish() == b"".join(chunks)


@pytest.mark.parametrize(
    "half", [b"data: {", b"data: {}\n", b"data: {}\r\n", b"data: {}\r\n\r", b"event: a\ndata: b\n"]
)
def test_half_an_event_is_held_when_the_engine_dies(half):
    relay = EventRelay(keep_all=True)
    assert relay.feed(b"data: 1\n\n" + half) == b"data: 1\n\n"
    assert relay.kept == b"data: 1\n\n"


@pytest.mark.timeout(30)
def test_an_event_that_grows_without_end_is_passed_on_in_bounded_memory_and_time():
    relay, passed = EventRelay(), 0
    for _ in range(512):
        passed += len(relay.feed(b"x" * 8192))
        assert len(relay._held) <= 2**20
        assert relay._size <= 2**20 + 8192
    assert passed >= 3 * 2**20
    assert len(relay.kept) == relay._size


def test_without_keeping_all_the_tail_with_the_usage_is_kept():
    relay = EventRelay()
    for number in range(10_000):
        relay.feed(b"data: %d\n\n" % number)
        assert relay._size <= 2 * 4096
    relay.feed(b"data: usage\n\n")
    assert relay.kept.endswith(b"data: 9999\n\ndata: usage\n\n")
    assert not relay.complete


def test_a_stream_too_long_to_keep_says_so():
    relay = EventRelay(keep_all=True)
    event = b"x" * (2**20 - 2) + b"\n\n"
    for _ in range(8):
        relay.feed(event)
    assert relay.complete
    for _ in range(8):
        assert relay.feed(event) == event
    assert not relay.complete
    assert len(relay.kept) <= 9 * 2**20
