"""What is promised of the machine's memory: never more than there is, by device."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.runtime.scheduling.ledger import Ledger, lacking

_DEVICES = ("ram", "gpu0", "gpu1")
_MEMORY = st.dictionaries(st.sampled_from(_DEVICES), st.integers(0, 120), max_size=3)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.sampled_from("abcd"), _MEMORY),
        st.tuples(st.just("release"), st.sampled_from("abcd"), st.just({})),
        st.tuples(st.just("measure"), st.sampled_from("abcd"), _MEMORY),
        st.tuples(st.just("foreign"), st.just(""), _MEMORY),
    ),
    max_size=30,
)


@settings(max_examples=60)
@given(_STEPS)
def test_what_is_granted_never_exceeds_what_there_is(steps):
    """Whatever is reserved, measured and taken by others: what is granted fits at that moment."""
    totals, limits = {"ram": 100, "gpu0": 80, "gpu1": 60}, {"ram": 70}
    ledger, held, foreign = Ledger(totals, limits), {}, {}
    for kind, model, memory in steps:
        if kind == "reserve":
            others = {
                device: sum(one.get(device, 0) for name, one in held.items() if name != model) for device in _DEVICES
            }
            room = {
                device: min(limits.get(device, 999), totals[device] - foreign.get(device, 0)) - others[device]
                for device in _DEVICES
            }
            own = held.get(model, {})
            fits = all(size <= max(room[device], own.get(device, 0)) for device, size in memory.items())
            granted = ledger.reserve(model, memory)
            assert granted == fits
            if granted:
                held[model] = memory
        elif kind == "release":
            ledger.release(model)
            held.pop(model, None)
        elif kind == "measure":
            ledger.note(model, memory)
            held[model] = memory
        else:
            ledger.set_foreign(memory)
            foreign = memory
        for view in ledger.devices():
            assert view.reserved == sum(one.get(view.device, 0) for one in held.values())
            assert view.capacity == min(limits.get(view.device, 999), totals[view.device])


def test_a_measurement_beyond_the_forecast_blocks_what_comes_next_until_room_is_made():
    ledger = Ledger({"gpu0": 100})
    assert ledger.reserve("a", {"gpu0": 60})
    ledger.note("a", {"gpu0": 110})
    assert ledger.free() == {"gpu0": -10}
    assert not ledger.reserve("b", {"gpu0": 1})
    assert ledger.reserve("b", {}), "what needs nothing always fits"
    ledger.release("a")
    assert ledger.reserve("b", {"gpu0": 100})


def test_a_device_that_is_not_there_has_no_room():
    assert not Ledger({"ram": 100}).reserve("a", {"gpu0": 1})
    assert lacking({"gpu0": 7}, {"ram": 100}) == {"gpu0": 7}


def test_a_forecast_is_raised_after_an_out_of_memory():
    ledger = Ledger({"gpu0": 1000, "ram": 500})
    ledger.reserve("other", {"gpu0": 300})
    ledger.reserve("a", {"gpu0": 400, "ram": 100})
    raised = ledger.raised("a", {"gpu0": 400, "ram": 100})
    assert raised["gpu0"] == 700, "all that was free was not enough"
    assert raised["ram"] == 115, "it ran out of the GPU's memory, not of RAM"
    ledger.release("other")
    ledger.note("a", {"gpu0": 950})
    assert ledger.raised("a", {"gpu0": 950})["gpu0"] == 1000, "never beyond what there is"
