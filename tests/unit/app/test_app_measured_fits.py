"""Which measurement speaks of a placement, and what it changes in a choice and in a plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansambl.app.measured_fits import MeasurementsHere, plan_with_measurements, with_measurements
from ansambl.app.measuring import measured, measurement_key
from ansambl.app.planning import find_candidates
from ansambl.domain.engine import EngineOptions, Installed
from ansambl.domain.footprint import FootprintBasis
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.instance import LoadMeasurement
from ansambl.domain.measurement import Measurement, MeasurementKey, Speeds
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.planning import Goal, Plan, PlannedPlacement, PlanOption
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.foundation.paths import DataPaths, default_data_folder
from ansambl.hardware.catalog import load_machine
from ansambl.planner.choosing import Choice
from ansambl.planner.fitting import Wish, place

CARD = Gpu(0, "nvidia", "NVIDIA GeForce RTX 4090", Bytes(24 * GIB), capability="8.9", driver="580.65.06")
HERE = Machine("here", "Linux", Cpu("a processor", "x86_64", 8, 16, 16, "x86-64-v4"),
               Memory(Bytes(64 * GIB), Bytes(60 * GIB)), (CARD,))  # fmt: skip
REPO = "Qwen/Qwen3-8B"


@pytest.fixture(scope="module")
def placement() -> PlannedPlacement:
    candidate = find_candidates(REPO, "Q4_K_M", DataPaths(default_data_folder()))[0]
    return place(candidate, "llama.cpp", load_machine("rtx-4090-64g"), Wish(8192))


def key(**fields: Any) -> MeasurementKey:
    known = MeasurementKey("here", "llama.cpp", "b11549", "cuda", "file:1", 8192, 1, "f16", {}, (str(CARD.name),))
    return replace(known, **fields)


def one(placement: PlannedPlacement, own: MeasurementKey | None = None, **fields: Any) -> Measurement:
    known: dict[str, Any] = {
        "reference": f"{REPO}:Q4_K_M", "size": placement.candidate.size, "time": 1.0, "quantization": "Q4_K_M",
        "repo": REPO, "memory": {"CUDA0": {"weights": Bytes(4500 * MIB), "kv_cache": Bytes(1100 * MIB)}}, **fields,
    }  # fmt: skip
    return Measurement(own or key(), **known)


def best(placement: PlannedPlacement, *found: Measurement, engine: str | None = None, **settings: Any) -> Any:
    return MeasurementsHere(HERE, found).best(placement, engine=engine, settings=settings)


def test_a_measurement_of_the_same_files_is_found_by_their_repository(placement: PlannedPlacement) -> None:
    assert best(placement, one(placement)) is not None
    assert best(placement, one(placement, repo="other/model")) is None
    assert best(placement, one(placement, quantization="Q8_0")) is None
    assert best(placement, one(placement, size=Bytes(placement.candidate.size * 2))) is None


@pytest.mark.parametrize(
    "other",
    [{"engine": "vllm"}, {"kv_type": "q8_0"}, {"gpus": ()}, {"gpus": (str(CARD.name), str(CARD.name))}],
)
def test_what_must_be_equal(placement: PlannedPlacement, other: dict[str, Any]) -> None:
    assert best(placement, one(placement, key(**other))) is None


def test_settings_that_were_left_open_are_as_they_were_measured(placement: PlannedPlacement) -> None:
    small = one(placement, key(settings={"n_ubatch": "64"}))
    assert best(placement, small) is not None
    assert best(placement, small, n_ubatch=64) is not None
    assert best(placement, small, n_ubatch=512) is None
    assert best(placement, small, engine_version="b11549") is not None
    assert best(placement, small, engine_version="b6000") is None


def test_an_engine_that_nobody_named_is_the_one_that_ran(placement: PlannedPlacement) -> None:
    bundled = one(placement, key(engine="llama.cpp-bundled"))
    assert best(placement, bundled) is not None
    assert best(placement, bundled, engine="llama.cpp") is None


def test_the_nearest_context_counts_and_the_newest_of_equals(placement: PlannedPlacement) -> None:
    far, near = one(placement, key(context=1024)), one(placement, key(context=4096))
    assert best(placement, far, near).key.context == 4096
    old, new = one(placement, time=1.0), one(placement, time=2.0)
    assert best(placement, near, old, new).time == 2.0


def test_work_of_earlier_starts_counts_too(placement: PlannedPlacement) -> None:
    earlier = one(placement, time=1.0, speeds=Speeds(100.0, 2.0, 0.0, 0.0, 3, Bytes(GIB)))
    later = one(placement, time=2.0, speeds=Speeds(peak=Bytes(MIB)))
    found = best(placement, later, earlier)
    assert (found.time, found.speeds.decode, found.speeds.samples, found.speeds.peak) == (2.0, 50.0, 3, GIB)


def test_a_choice_holds_what_was_measured(placement: PlannedPlacement) -> None:
    found = with_measurements(Choice(placement, ()), MeasurementsHere(HERE, (one(placement),)), engine=None,
                              settings={}).best  # fmt: skip
    assert found.footprint.basis is FootprintBasis.MEASURED
    gpu = found.footprint.devices[0]
    assert (gpu.weights.expected, gpu.kv_cache.high) == (4500 * MIB, 1100 * MIB)
    assert found.measured is not None


def test_what_does_not_fit_by_measurement_stands_behind_what_fits(placement: PlannedPlacement) -> None:
    huge = one(placement, memory={"CUDA0": {"weights": Bytes(30 * GIB)}})
    other = replace(placement, candidate=replace(placement.candidate, quantization="Q3_K_M"))
    found = with_measurements(Choice(placement, (other,)), MeasurementsHere(HERE, (huge,)), engine=None, settings={})
    assert found.best.candidate.quantization == "Q3_K_M"
    assert not found.others[0].fits


def test_a_plan_gets_measured_speeds_and_says_where_more_was_taken(placement: PlannedPlacement) -> None:
    assert placement.speed.decode is not None
    fast = placement.speed.decode.expected * 2
    ran = one(placement, speeds=Speeds(fast * 10, 10.0, 0.0, 0.0, 1), memory={"CUDA0": {"weights": Bytes(20 * GIB)}})
    option = PlanOption("o", text("one"), (placement,), {})
    plan = Plan((placement.machine,), Goal.DEPTH, (option,), "o")
    found = plan_with_measurements(plan, MeasurementsHere(HERE, (ran,))).options[0]
    speed = found.placements[0].speed.decode
    assert speed is not None
    assert speed.expected == pytest.approx(fast, rel=0.01)
    assert found.placements[0].footprint == placement.footprint
    assert [one.code for one in found.speaks_against] == ["measured-more"]


def test_a_load_becomes_a_measurement_that_is_found_again() -> None:
    checkpoint = Checkpoint("m.gguf", "/models/m.gguf", "gguf", Bytes(100), "file:1", quantization="Q4_K_M")
    placed = Placement(
        "m", "llama.cpp", checkpoint, context=4096, parallel=2, gpus=(0,), vendor="nvidia", kv_type="auto",
        settings={"n_cpu_moe": 4, "kv_unified": False}, options=EngineOptions(arguments=("-ub", "128")),
        installed=Installed("b11549", build="cuda"),
    )  # fmt: skip
    load = LoadMeasurement(placed, {"weights": Bytes(5)}, 4096, None, Bytes(7), Bytes(9), 1.5,
                           {"CUDA0": {"weights": Bytes(5)}})  # fmt: skip
    found = measured(load, HERE, 3.0)
    assert found is not None
    assert found.key == measurement_key(placed, HERE)
    assert found.key.settings == {"kv_unified": "off", "n_cpu_moe": "4", "n_ubatch": "128"}
    assert (found.key.kv_type, found.key.gpus, found.key.build) == ("f16", (CARD.name,), "cuda")
    assert (found.memory, found.resident, found.gpu_memory) == ({"CUDA0": {"weights": 5}}, 7, 9)
    assert measured(replace(load, placement=replace(placed, checkpoint=None)), HERE, 3.0) is None
    silent = replace(load, memory={}, devices={}, resident=None, gpu_memory=None)
    assert measured(silent, HERE, 3.0) is None
    assert measured(replace(silent, answered=True), HERE, 3.0) is None


def test_what_a_log_does_not_divide_is_kept_after_the_first_answer() -> None:
    checkpoint = Checkpoint("m", "/models/m", "safetensors", Bytes(100), "file:1", quantization="BF16")
    placed = Placement("m", "transformers", checkpoint, context=4096, parallel=1, installed=Installed("5.19.0"))
    ready = LoadMeasurement(placed, {}, None, None, Bytes(7), None, 1.5)
    assert measured(ready, HERE, 3.0) is None
    found = measured(replace(ready, resident=Bytes(9), answered=True), HERE, 3.0)
    assert found is not None
    assert (found.resident, found.memory, found.speeds.peak) == (9, {}, 9)
