"""Values of a file one by one: whole, cut anywhere, broken inside, too large."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.knowledge.importing import json_values as module
from ansambl.knowledge.importing.json_values import Broken, decoded, json_values

SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.sampled_from('ab"\\{}[],:я😀\n'), max_size=8)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('a"\\', max_size=2), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.just("k"), VALUES, min_size=1), max_size=4)


@settings(max_examples=40, deadline=None)
@given(OBJECTS, st.booleans(), st.booleans(), st.integers(1, 40), st.data())
def test_all_values_come_and_a_file_that_ends_too_early_gives_those_before(values, plain, listed, step, data):
    raw = (
        json.dumps(values, ensure_ascii=plain)
        if listed
        else "\n".join(json.dumps(one, ensure_ascii=plain) for one in values)
    ).encode()
    cut = data.draw(st.integers(0, len(raw)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_READ", step)
        assert list(json_values(io.BytesIO(raw))) == values
        found = list(json_values(io.BytesIO(raw[:cut])))
    whole = [one for one in found if not isinstance(one, Broken)]
    assert whole == values[: len(whole)]
    assert [one.ended for one in found if isinstance(one, Broken)] in ([], [True])


def test_one_that_is_broken_inside_does_not_end_the_file():
    found = list(json_values(io.BytesIO(b'[{"a": 1}, {"a": tru}, {"a": 3}]')))
    assert found[0] == {"a": 1}
    assert found[2] == {"a": 3}
    assert isinstance(found[1], Broken)
    assert found[1].number == 2
    assert not found[1].ended


def test_a_value_that_is_too_large_is_passed_over_and_never_held(monkeypatch):
    monkeypatch.setattr(module, "_READ", 1000)
    long = json.dumps({"a": "x" * 50_000})
    found = list(json_values(io.BytesIO(f'[{long}, {{"b": 1}}]'.encode()), largest=10_000))
    assert isinstance(found[0], Broken)
    assert found[1:] == [{"b": 1}]


def test_half_letters_and_bytes_that_are_no_utf8_are_marked():
    assert decoded(b'{"a": "x\\ud83d y"}')["a"].startswith("x")
    assert decoded(b'{"a": "\xff"}') == {"a": "\ufffd"}
    decoded(b'{"a": "x\\ud83d y"}')["a"].encode()
    with pytest.raises(ValueError, match="valid JSON"):
        decoded(b"{")


def test_deep_nesting_is_an_answer_and_no_crash():
    found = list(json_values(io.BytesIO(b"[" + b"[" * 200_000 + b"]" * 200_000 + b"]")))
    assert [type(one) for one in found] == [Broken]
