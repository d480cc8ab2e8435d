"""Sizes of checkpoints that are estimates: every engine carries them, and what fits is judged on the high end."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.domain.footprint import Range, WeightBytes
from ansambl.domain.units import GIB
from ansambl.planner.memory import MemoryInputs, forecast
from support.memory_cases import load, machine

SIZE = 16 * GIB
SHAPE = load()[1]["Llama-3.1-8B"]


def inputs(gpus=(24,), ram=64, **ends):
    table = {"gpus": [{"name": "gpu", "memory": size * GIB} for size in gpus], "ram": ram * GIB}
    return MemoryInputs(SHAPE, WeightBytes(SIZE, "a model card", **ends), machine(table), 4096)


def weights(footprint):
    return Range.total(device.weights for device in footprint.devices)


@pytest.mark.parametrize("engine", ["llama.cpp", "vllm"])
def test_the_spread_of_the_size_is_carried_into_the_weights(engine):
    exact, estimated = (forecast(engine, inputs(**ends)) for ends in ({}, {"low": 12 * GIB, "high": 20 * GIB}))
    assert weights(estimated).low == pytest.approx(weights(exact).low * 12 / 16, abs=4)
    assert weights(estimated).expected == weights(exact).expected
    assert weights(estimated).high == pytest.approx(weights(exact).high * 20 / 16, abs=4)
    codes = {reason.code: reason for reason in estimated.reasons}
    assert codes["estimated-size"].source == "a model card"
    assert "12.0 GiB to 20.0 GiB" in codes["estimated-size"].text.render()
    assert "estimated-size" not in {reason.code for reason in exact.reasons}


@pytest.mark.parametrize("engine", ["llama.cpp", "vllm"])
def test_fits_is_judged_on_the_high_end(engine):
    exact = inputs()
    assert forecast(engine, exact).fits
    assert not forecast(engine, replace(exact, weights=WeightBytes(SIZE, "card", high=26 * GIB))).fits


def test_a_part_of_the_layers_in_ram_is_spread_too():
    some = replace(inputs(gpus=(12,), low=12 * GIB, high=20 * GIB), settings={"n_gpu_layers": 17})
    gpu, ram = forecast("llama.cpp", some).devices
    assert gpu.weights.high > 1.2 * gpu.weights.expected
    assert ram.weights.high > 1.2 * ram.weights.expected
