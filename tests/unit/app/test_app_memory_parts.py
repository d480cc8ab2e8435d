"""What reserved memory holds: the parts of a device add up to what is reserved there, whatever the forecast said."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.app.memory_parts import divided, parts_of
from ansambl.domain.device import DeviceKind
from ansambl.domain.footprint import DeviceFootprint, Footprint, Range
from ansambl.domain.units import Bytes

PARTS = {"weights": 60, "kv_cache": 20, "compute": 10, "overhead": 10}
AMOUNTS = st.integers(0, 2**40)


def exactly(size: int) -> Range:
    return Range.exactly(size)


def test_a_footprint_is_told_by_device_and_pages_that_go_back_are_not_weights() -> None:
    ram = DeviceFootprint(
        "RAM", DeviceKind.RAM, 0, Bytes(1000), Bytes(1000), weights=exactly(60), kv_cache=exactly(20),
        compute=Range(Bytes(5), Bytes(7), Bytes(9)), overhead=exactly(3), reclaimable=Bytes(50),
    )  # fmt: skip
    gpu = DeviceFootprint("card", DeviceKind.GPU, 0, Bytes(1000), Bytes(1000), weights=exactly(11))
    footprint = Footprint("llama.cpp", 512, 1, "f16", (gpu, ram))
    assert parts_of(footprint, ["gpu1", "ram"]) == {
        "gpu1": {"weights": 11, "kv_cache": 0, "compute": 0, "overhead": 0},
        "ram": {"weights": 10, "kv_cache": 20, "compute": 7, "overhead": 3},
    }
    # A GPU that works in the RAM is no device of its own.
    assert parts_of(footprint, ["ram", "ram"]) == {"ram": {"weights": 21, "kv_cache": 20, "compute": 7, "overhead": 3}}


def test_what_is_reserved_beyond_the_parts_is_overhead() -> None:
    assert divided({"ram": 130}, {"ram": PARTS}) == {"ram": {**PARTS, "overhead": 40}}


def test_where_less_is_held_the_weights_stay_and_the_others_shrink_alike() -> None:
    assert divided({"ram": 80}, {"ram": PARTS}) == {"ram": {"weights": 60, "kv_cache": 10, "compute": 5, "overhead": 5}}
    assert divided({"ram": 50}, {"ram": PARTS}) == {"ram": {"weights": 50}}


def test_a_device_whose_parts_nobody_knows_is_left_out() -> None:
    assert divided({"ram": 80, "gpu0": 0}, {"gpu0": PARTS}) == {}


def test_what_sleeps_holds_its_weights_or_what_its_process_takes() -> None:
    assert divided({"ram": 75, "gpu0": 5}, {"ram": PARTS, "gpu0": PARTS}, asleep=True) == {
        "ram": {"weights": 60, "overhead": 15}, "gpu0": {"overhead": 5},
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.fixed_dictionaries(dict.fromkeys(PARTS, AMOUNTS)), AMOUNTS, st.booleans())
def test_the_parts_add_up_to_what_is_reserved(parts: dict[str, int], reserved: int, asleep: bool) -> None:
    found = divided({"ram": reserved}, {"ram": parts}, asleep=asleep)
    assert sum(found.get("ram", {}).values()) == reserved
    assert all(one > 0 for one in found.get("ram", {}).values())
