"""What an engine holds by device: what is told of it, to whom, and when."""

from types import SimpleNamespace

import pytest
from recorded_listener import RecordedListener

from ansambl.domain.units import Bytes
from ansambl.foundation.clock import VirtualClock
from ansambl.runtime.engine.holding import GPUS_EVERY, Holding, changed, divided
from ansambl.runtime.engine.load_facts import LoadFacts

MIB = 2**20


class Stage:
    """An engine whose memory is what the test says."""

    def __init__(self, gpus=(), on_gpus=None, resident=100 * MIB):
        self.clock, self.listener = VirtualClock(), RecordedListener()
        self.resident, self.on_gpus, self.asked = resident, on_gpus, 0
        self.holding = Holding("m", self.gpu_memory, self.clock)
        self.holding.listener = self.listener
        process = SimpleNamespace(memory=lambda: self.resident, identity=SimpleNamespace(pid=7))
        self.run = SimpleNamespace(process=process, placement=SimpleNamespace(gpus=gpus))
        self.facts = LoadFacts()

    def gpu_memory(self, pid):
        assert pid == 7
        self.asked += 1
        return self.on_gpus


async def test_only_what_changed_enough_is_told():
    stage = Stage()
    await stage.holding.ready(stage.run, stage.facts, 2.5)
    stage.resident = 101 * MIB
    await stage.holding.look(stage.run, stage.facts)
    stage.resident = 110 * MIB
    await stage.holding.look(stage.run, stage.facts)
    await stage.holding.look(stage.run, stage.facts)
    stage.resident = 90 * MIB
    await stage.holding.look(stage.run, stage.facts)
    assert stage.listener.told == [
        ("ready", {"ram": 100 * MIB}, 2.5), ("grew", {"ram": 110 * MIB}), ("grew", {"ram": 90 * MIB}),
    ]  # fmt: skip
    assert stage.holding.resident == 90 * MIB


async def test_small_steps_add_up():
    stage = Stage()
    await stage.holding.ready(stage.run, stage.facts, None)
    for step in range(1, 6):
        stage.resident = (100 + step) * MIB
        await stage.holding.look(stage.run, stage.facts)
    assert stage.listener.told[1:] == [("grew", {"ram": 104 * MIB})]


async def test_a_cache_that_is_still_empty_counts_while_the_engine_is_awake():
    stage = Stage(resident=10 * MIB)
    stage.facts.devices = {"CPU": {"weights": 30 * MIB, "kv_cache": 50 * MIB}}
    await stage.holding.ready(stage.run, stage.facts, 1.0)
    await stage.holding.asleep(stage.run, 1)
    stage.holding.ended()
    assert stage.listener.told == [
        ("ready", {"ram": 80 * MIB}, 1.0), ("asleep", 1, {"ram": 10 * MIB}), ("ended", False),
    ]  # fmt: skip


async def test_what_the_driver_tells_is_divided_as_the_log_told():
    stage = Stage(gpus=(1, 3), on_gpus=Bytes(1000 * MIB))
    stage.facts.devices = {"CUDA0": {"weights": 300 * MIB}, "CUDA1": {"weights": 100 * MIB}, "CPU": {"weights": MIB}}
    await stage.holding.ready(stage.run, stage.facts, 1.0)
    assert stage.listener.told == [("ready", {"ram": 100 * MIB, "gpu1": 750 * MIB, "gpu3": 250 * MIB}, 1.0)]


async def test_what_lies_on_a_gpu_without_memory_of_its_own_lies_in_ram():
    stage = Stage(gpus=(0,), on_gpus=Bytes(1000 * MIB))
    stage.holding = Holding("m", stage.gpu_memory, stage.clock, lambda index: "ram" if index == 0 else "?")
    stage.holding.listener = stage.listener
    await stage.holding.ready(stage.run, stage.facts, 1.0)
    assert stage.listener.told == [("ready", {"ram": 1100 * MIB}, 1.0)]


async def test_pages_of_weights_that_were_written_anew_do_not_count_twice():
    stage = Stage(resident=100 * MIB)
    stage.facts.devices = {"CPU_Mapped": {"weights": 45 * MIB}, "CPU_REPACK": {"weights": 30 * MIB}}
    await stage.holding.ready(stage.run, stage.facts, 1.0)
    # After the system took them back, what the log told still counts.
    stage.resident = 20 * MIB
    await stage.holding.look(stage.run, stage.facts)
    assert stage.listener.told == [("ready", {"ram": 70 * MIB}, 1.0), ("grew", {"ram": 45 * MIB})]


async def test_a_driver_that_tells_nothing_leaves_the_forecast_alone():
    stage = Stage(gpus=(0,))
    await stage.holding.ready(stage.run, stage.facts, 1.0)
    await stage.holding.look(stage.run, stage.facts)
    assert stage.listener.told == [("ready", None, 1.0)]


async def test_a_driver_is_asked_seldom():
    stage = Stage(gpus=(0,), on_gpus=Bytes(1000 * MIB))
    await stage.holding.ready(stage.run, stage.facts, 1.0)
    for _ in range(5):
        await stage.holding.look(stage.run, stage.facts)
    assert stage.asked == 1
    stage.on_gpus = Bytes(1200 * MIB)
    await stage.clock.advance(GPUS_EVERY)
    await stage.holding.look(stage.run, stage.facts)
    assert stage.listener.told[-1] == ("grew", {"ram": 100 * MIB, "gpu0": 1200 * MIB})


async def test_an_engine_that_just_ended_tells_nothing():
    stage = Stage()
    await stage.holding.ready(stage.run, stage.facts, 1.0)
    stage.resident = None
    await stage.holding.look(stage.run, stage.facts)
    stage.holding.ended(out_of_memory=True)
    assert stage.listener.told[1:] == [("ended", True)]


@pytest.mark.parametrize("told", [[0, 0, 0], [1, 2, 4], [5, 0, 0]])
def test_nothing_is_lost_when_bytes_are_divided(told):
    parts = divided(Bytes(1001), [Bytes(one) for one in told])
    assert sum(parts) == 1001
    assert min(parts) >= 0


def test_a_device_that_comes_to_be_used_is_a_change():
    assert changed({"ram": Bytes(5)}, {"ram": Bytes(5), "gpu0": Bytes(1)})
    assert not changed({"ram": Bytes(100)}, {"ram": Bytes(102)})
