"""The fast way through a stream finds what the careful one finds, whatever the events are."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects import openai_chat as chat

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**70) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def perhaps(usual):
    """Mostly what engines send; sometimes anything."""
    return st.one_of(usual, usual, usual, ANYTHING)


def objects(**fields):
    return st.fixed_dictionaries({}, optional={name: perhaps(value) for name, value in fields.items()})


WORDS = st.none() | st.text(max_size=4)
COUNTS = st.integers(-1, 9)
CALLS = objects(id=st.text(max_size=3), index=st.integers(0, 2), function=objects(name=WORDS, arguments=WORDS))
DELTAS = objects(content=WORDS, reasoning=WORDS, reasoning_content=WORDS, tool_calls=st.lists(CALLS, max_size=2))
CHOICES = objects(delta=DELTAS, finish_reason=st.none() | st.sampled_from(["", "stop", "length"]), index=COUNTS)
EVENTS = perhaps(
    objects(
        choices=st.lists(CHOICES, max_size=2),
        usage=st.none() | objects(prompt_tokens=COUNTS, completion_tokens=COUNTS),
        timings=objects(prompt_n=COUNTS, predicted_n=COUNTS, cache_n=COUNTS),
        error=st.none(),
        model=st.text(max_size=3),
    )
)


def gathered_one_by_one(stream):
    """What the events of a stream add up to, by the reader of single events."""
    whole, timed, calls = chat.Answer(), None, {}
    for data in chat.stream_data(stream.split(b"\n")):
        if (delta := chat.read_event(data)) is None:
            continue
        whole.content += delta.content
        whole.reasoning += delta.reasoning
        whole.finish_reason = delta.finish_reason or whole.finish_reason
        whole.usage = delta.usage or whole.usage
        whole.error = delta.error or whole.error
        timed = delta.timed or timed
        for part in delta.tool_calls:
            index = part.get("index")
            call = calls.setdefault(
                index if isinstance(index, int) else len(calls), {"id": None, "type": "function", "function": {}}
            )
            call["id"] = part.get("id") or call["id"]
            if isinstance(function := part.get("function"), dict):
                for name in ("name", "arguments"):
                    piece = function.get(name)
                    call["function"].setdefault(name, "")
                    call["function"][name] += piece if isinstance(piece, str) else ""
    whole.tool_calls = [calls[index] for index in sorted(calls)]
    whole.usage = whole.usage or timed
    return whole


@settings(max_examples=150)
@given(st.lists(EVENTS, max_size=5))
def test_gathering_finds_what_single_events_say(events):
    stream = b"".join(f"data: {json.dumps(one)}\n\n".encode() for one in events)
    assert chat.read_stream(stream) == gathered_one_by_one(stream)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=20), max_size=4), st.text(max_size=5))
def test_garbage_between_events_takes_nothing_from_them(garbage, words):
    event = chat.event({"choices": [{"delta": {"content": words}, "finish_reason": "stop"}]})
    stream = b"".join(b"data: " + one + b"\n\n" for one in garbage)
    found = chat.read_stream(stream + event)
    assert found.content.endswith(words)
    assert found.finish_reason == "stop"


def test_many_small_pieces_make_one_text():
    events = [
        {"choices": [{"delta": {"content": "ab", "tool_calls": [{"index": 0, "function": {"arguments": "{}"}}]}}]}
    ]
    answer = chat.read_stream(b"".join(map(chat.event, events * 5000)))
    assert answer.content == "ab" * 5000
    assert answer.tool_calls == [{"id": None, "type": "function", "function": {"name": "", "arguments": "{}" * 5000}}]
