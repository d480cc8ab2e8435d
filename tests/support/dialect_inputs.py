"""Streams of deltas and their events, for the tests of the translated dialects."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from ansambl.dialects.openai_chat import Answer, Delta, Usage
from ansambl.dialects.translation import Frame

FRAME = Frame("abc123", 1_700_000_000, "coder")

_WORDS = st.text(max_size=5)


@st.composite
def deltas(draw: st.DrawFn) -> list[Delta]:
    """A stream as an engine may send it: words in any order, and calls one after another in parts."""
    found: list[Delta] = []
    calls = 0
    for _ in range(draw(st.integers(0, 6))):
        kind = draw(st.sampled_from(["reasoning", "content", "both", "call", "nothing"]))
        if kind == "call":
            first = {"index": calls, "id": f"c{calls}", "function": {"name": "f", "arguments": draw(_WORDS)}}
            found.append(Delta(tool_calls=(first,)))
            found += [
                Delta(tool_calls=({"index": calls, "function": {"arguments": part}},))
                for part in draw(st.lists(_WORDS, max_size=2))
            ]
            calls += 1
        elif kind == "both":
            found.append(Delta(reasoning=draw(_WORDS), content=draw(_WORDS)))
        elif kind != "nothing":
            found.append(Delta(**{kind: draw(_WORDS)}))
        else:
            found.append(Delta())
    if draw(st.booleans()):
        found.append(Delta(finish_reason=draw(st.sampled_from(["stop", "length", "tool_calls"]))))
        found.append(Delta(usage=Usage(7, 3, 2)))
    return found


def grown(parts: list[Delta]) -> Answer:
    """What such a stream says, gathered without regard to order."""
    answer = Answer()
    calls: dict[int, dict[str, Any]] = {}
    for one in parts:
        answer.content += one.content
        answer.reasoning += one.reasoning
        for part in one.tool_calls:
            call = calls.setdefault(part["index"], {"id": "", "type": "function",
                                                    "function": {"name": "f", "arguments": ""}})  # fmt: skip
            call["id"] = part.get("id") or call["id"]
            call["function"]["arguments"] += part["function"]["arguments"]
    answer.tool_calls = list(calls.values())
    return answer


def json_values(*words: str, names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """Small JSON values of any shape, of words and names that a dialect knows."""
    return st.recursive(
        st.none() | st.booleans() | st.integers(-1, 2) | st.sampled_from(words),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(names), inner, max_size=5),
        max_leaves=12,
    )


def message_like(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with a role and some content."""
    content = st.lists(values, max_size=3) | st.text(max_size=3)
    return st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant", "system"]), "content": content})


def mixed_calls() -> list[Delta]:
    """A part of the first call after the second has begun."""
    first = {"index": 0, "id": "a", "function": {"name": "f", "arguments": "{"}}
    second = {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{"}}
    return [Delta(tool_calls=(first,)), Delta(tool_calls=(second,)),
            Delta(tool_calls=({"index": 0, "function": {"arguments": "}"}},))]  # fmt: skip


def stream_events(stream: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The events of a stream by name."""
    found = []
    for event in stream.decode().removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found
