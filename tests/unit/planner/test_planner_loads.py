"""What an option's placements take of a device together."""

from dataclasses import replace

from ansambl.app.planning import candidates_of
from ansambl.domain.device import DeviceKind
from ansambl.domain.planning import PlanOption, Residency
from ansambl.domain.text import text
from ansambl.hardware.catalog import load_machine
from ansambl.model_catalog.catalog import find_model
from ansambl.planner.fitting import Wish, place
from ansambl.planner.loads import device_loads

MACHINE = load_machine("rtx-pro-6000-128g")


def placed(name, residency=Residency.RESIDENT):
    candidate = next(one for one in candidates_of(find_model(name)) if one.format == "gguf")
    placement = place(candidate, "llama.cpp", MACHINE, Wish(8192), id=name)
    return replace(placement, residency=residency)


def option(*placements):
    return PlanOption("one", text("One"), placements, {})


def test_resident_placements_add_up():
    first, second = placed("llama-3.1-8b-instruct"), placed("gpt-oss-20b")
    gpu, ram = device_loads(option(first, second))
    assert (gpu.kind, ram.kind) == (DeviceKind.GPU, DeviceKind.RAM)
    wanted = [one.footprint.devices[0].needed for one in (first, second)]
    assert gpu.needed.high == sum(one.high for one in wanted)
    assert [one.placement for one in gpu.shares] == ["llama-3.1-8b-instruct", "gpt-oss-20b"]
    assert gpu.fits


def test_of_those_that_take_turns_the_greatest_counts():
    base = placed("llama-3.1-8b-instruct")
    turns = [placed("gpt-oss-20b", Residency.SWAPPED), placed("gpt-oss-120b", Residency.SWAPPED)]
    gpu = device_loads(option(base, *turns))[0]
    needed = [one.footprint.devices[0].needed.high for one in (base, *turns)]
    assert gpu.needed.high == needed[0] + max(needed[1:])
    assert [one.placement for one in gpu.drawn] == ["llama-3.1-8b-instruct", "gpt-oss-120b"]
