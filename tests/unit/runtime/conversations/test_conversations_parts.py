"""Marks, fingerprints, identities, and what is worth keeping."""

import dataclasses
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.domain.engine import EngineOptions, Installed
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.scheduling import LOCAL_KEY
from ansambl.domain.units import Bytes
from ansambl.engines.shared.llama_slots import mixes_slots
from ansambl.runtime.conversations.fingerprints import STEP, Fingerprints, covered
from ansambl.runtime.conversations.identity import state_identity
from ansambl.runtime.conversations.worth import HALF_LIFE, Saved, is_worth_restoring, make_room
from ansambl.runtime.marks import is_marked, is_plain, lora_mark, owner_mark, read_marks, with_adapter_tail
from ansambl.runtime.slots import common_length

PLACEMENT = Placement(
    "m", "llama.cpp", Checkpoint("r", "/m.gguf", "gguf", Bytes(1), "sha256:1"), 4096, 2,
    installed=Installed("b1", build="cpu"),
)  # fmt: skip


@given(key=st.text(max_size=8), lora=st.none() | st.text(max_size=8), rest=st.sampled_from([b"", b"[{}]", b'"x"\0\1']))
def test_a_hint_is_taken_apart_as_it_was_put_together(key, lora, rest):
    owner, adapter = owner_mark(key), b"" if lora is None else lora_mark(lora)
    assert read_marks(owner + adapter + rest) == (owner, adapter, rest)
    assert is_marked(owner + adapter + rest) is (lora is not None)


def test_hints_of_two_keys_have_no_beginning_in_common():
    marks = [b"", owner_mark("a"), owner_mark("b"), lora_mark("a"), lora_mark("b")]
    for one, other in itertools.permutations(marks, 2):
        assert common_length(one + b"[1]", other + b"[1]") <= 1
    # With one key the plain model and an adapter have the key in common, and nothing of what was asked.
    owner = owner_mark("a")
    assert common_length(owner + b"[1]", owner + lora_mark("a") + b"[1]") == len(owner)
    assert owner_mark(LOCAL_KEY) == b""
    assert b"secret-key" not in owner_mark("secret-key")


@given(
    shared=st.integers(0, 4 * STEP), more=st.lists(st.integers(0, 3 * STEP), min_size=2, max_size=2),
    keys=st.sampled_from([(b"k", b"k"), (b"k", b"l")]),
)  # fmt: skip
@settings(max_examples=60)
def test_fingerprints_tell_the_common_beginning_in_whole_steps(shared, more, keys):
    first, second = b"a" * shared + b"b" * more[0], b"a" * shared + b"c" * more[1]
    whole = Fingerprints(second, keys[1]).whole()
    found = Fingerprints(first, keys[0]).common(whole)
    assert covered(whole) == len(second) // STEP * STEP
    assert found == (min(len(first), len(second), shared) // STEP * STEP if keys[0] == keys[1] else 0)


@pytest.mark.parametrize("owner", [b"", owner_mark("a")])
def test_what_an_adapter_read_is_not_plain_wherever_it_read_it(owner):
    hint = owner + b"[1]"
    assert is_plain(hint)
    assert not is_plain(owner + lora_mark("l") + b"[1]")
    tail = with_adapter_tail(hint)
    assert not is_plain(tail)
    # What the plain model read of it may still be used again, and saying it twice changes nothing.
    assert common_length(tail, hint + b"[2]") == len(hint)
    assert with_adapter_tail(tail) == tail


def test_a_fingerprint_grows_with_its_prompt_and_holds_none_of_its_text():
    prompt = b"the quick brown fox " * 100
    whole = Fingerprints(prompt, b"k").whole()
    assert Fingerprints(prompt + b"x" * STEP, b"k").whole().startswith(whole)
    assert len(whole) < len(prompt) / 20
    assert b"quick" not in whole


@pytest.mark.parametrize(
    "changed",
    [
        {"kv_type": "q8_0"}, {"parallel": 3}, {"engine": "llama.cpp-bundled"}, {"mmproj": "/p"}, {"draft": "/d"},
        {"settings": {"flash_attn": "off"}}, {"options": EngineOptions(arguments=("--rope-scale", "2"))},
        {"installed": Installed("b2", build="cpu")}, {"installed": Installed("b1", build="cuda")},
        {"checkpoint": dataclasses.replace(PLACEMENT.checkpoint, identity="sha256:2")},
    ],
)  # fmt: skip
def test_a_state_belongs_to_all_that_it_depends_on(changed):
    assert state_identity(dataclasses.replace(PLACEMENT, **changed)) not in {None, state_identity(PLACEMENT)}


@pytest.mark.parametrize("same", [{"context": 8192}, {"model": "other"}, {"settings": {"n_batch": 64}}, {"threads": 1}])
def test_a_state_fits_whatever_does_not_change_it(same):
    assert state_identity(dataclasses.replace(PLACEMENT, **same)) == state_identity(PLACEMENT)


@pytest.mark.parametrize("unknown", [{"installed": None}, {"checkpoint": None}])
def test_what_is_unknown_has_no_states(unknown):
    assert state_identity(dataclasses.replace(PLACEMENT, **unknown)) is None


@pytest.mark.parametrize(
    ("arguments", "caches", "mixes"),
    [
        ((), True, True), ((), False, False), (("--cache-ram", "0"), True, False), (("-cram", "64"), False, True),
        (("--cache-ram=0",), True, False), (("--cache-ram", "0", "-cram=8"), False, True),
        (("--cache-ram",), False, True),
    ],
)  # fmt: skip
def test_whether_a_llama_server_mixes_its_slots(arguments, caches, mixes):
    assert mixes_slots(arguments, caches=caches) is mixes


def saved(name, size=100, seconds=1.0, used=0.0, length=1000):
    return Saved(name, "", "i", "m", 10, size, seconds, used, used, b"", length, b"")


def test_the_least_valuable_goes_first():
    kept = [saved("old", used=-3 * HALF_LIFE), saved("quick", seconds=0.1), saved("dear", seconds=5.0)]
    assert [one.name for one in make_room(kept, saved("new"), 300, 0.0)] == ["quick"]
    assert [one.name for one in make_room(kept, saved("new"), 200, 0.0)] == ["quick", "old"]
    assert make_room(kept, saved("new"), 400, 0.0) == []
    # Not in place of a more valuable one, and not when it is larger than all.
    assert make_room(kept, saved("new"), 100, 0.0) is None
    assert make_room([], saved("new"), 99, 0.0) is None
    assert [one.name for one in make_room(kept, saved("new"), 300, 0.0, spare={"quick"})] == ["old"]
    assert saved("one").worth(HALF_LIFE) == pytest.approx(saved("one").worth(0.0) / 2)


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 10), st.floats(-1e6, 0)), max_size=12),
    st.integers(0, 200), st.integers(1, 60),
)  # fmt: skip
@settings(max_examples=80)
def test_what_stays_fits_the_budget(sizes, budget, size):
    kept = [saved(str(number), *one) for number, one in enumerate(sizes)]
    new = saved("new", size)
    going = make_room(kept, new, budget, 0.0)
    if going is None:
        cheaper = [one for one in kept if one.worth(0.0) <= new.worth(0.0)]
        assert size > budget or sum(one.size for one in kept if one not in cheaper) + size > budget
    else:
        assert sum(one.size for one in kept if one not in going) + size <= budget
        assert all(one.worth(0.0) <= new.worth(0.0) for one in going)


def test_a_state_is_restored_when_that_is_quicker_than_reading():
    # 10 s of reading against 100 MB of copying.
    assert is_worth_restoring(saved("one", 10**8, 10.0), 1000, 0)
    # A tenth of it is 1 s; a hundredth is not worth it, and neither is what the slot holds already.
    assert is_worth_restoring(saved("one", 10**8, 10.0), 100, 0)
    assert not is_worth_restoring(saved("one", 10**8, 10.0), 10, 0)
    assert not is_worth_restoring(saved("one", 10**8, 10.0), 1000, 990)
