"""Measurements are kept, bounded, read beside a running Ansambl, and found by what must be equal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ansambl.app.data_folder import MIGRATIONS
from ansambl.domain.engine import LogFacts
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.instance import LoadMeasurement
from ansambl.domain.measurement import (
    Measurement,
    MeasurementKey,
    Speeds,
    is_gpu_buffer,
    machine_key,
    setting_words,
)
from ansambl.domain.plan import Placement
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.runtime import measurements
from ansambl.runtime.engine.load_facts import LoadFacts, LoadTelling
from ansambl.runtime.measurements import KEPT_PER_KEY, MeasurementStore, read_measurements

KEY = MeasurementKey(
    machine="here", engine="llama.cpp-bundled", version="2026.10.11549", build="cpu", checkpoint="sha256:1",
    context=4096, parallel=2, kv_type="f16", settings={"n_ubatch": "64"}, gpus=(),
)  # fmt: skip
ONE = Measurement(
    key=KEY, reference="embedded", size=Bytes(98_362_432), time=1.0, quantization="Q4_1", architecture="llama",
    memory={"CPU_Mapped": {"weights": Bytes(90 * MIB)}, "CPU": {"kv_cache": Bytes(45 * MIB), "compute": Bytes(MIB)}},
    resident=Bytes(200 * MIB), load_seconds=1.5,
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ansambl.db"


def opened(file: Path) -> Database:
    return Database(file, load_migrations(MIGRATIONS))


def kept(file: Path, *found: Measurement) -> None:
    database = opened(file)
    store = MeasurementStore(database)
    for one in found:
        store.add(lambda one=one: one)
    database.close()


def test_what_is_kept_comes_back_whole(file: Path) -> None:
    kept(file, ONE)
    assert read_measurements(file, machine="here") == (ONE,)


def test_it_is_read_while_another_process_writes(file: Path) -> None:
    database = opened(file)
    store = MeasurementStore(database)
    store.add(lambda: ONE)
    # What was submitted is written in order, so this waits for it.
    database._executor.submit(int).result()
    assert [one.key for one in read_measurements(file, machine="here")] == [KEY]
    database.close()


def test_another_machine_checkpoint_or_engine_is_not_found(file: Path) -> None:
    kept(file, ONE)
    assert read_measurements(file, machine="there") == ()
    assert read_measurements(file, machine="here", checkpoints=("sha256:2",)) == ()
    assert read_measurements(file, machine="here", engines=("vllm",)) == ()
    assert len(read_measurements(file, machine="here", checkpoints=("sha256:1",), engines=(KEY.engine, "vllm"))) == 1


def test_only_the_newest_of_a_key_stay(file: Path) -> None:
    other = replace(ONE, key=replace(KEY, context=8192))
    kept(file, other, *(replace(ONE, time=float(number)) for number in range(KEPT_PER_KEY + 3)))
    found = read_measurements(file, machine="here")
    own = [one.time for one in found if one.key == KEY]
    assert own == [float(number) for number in range(KEPT_PER_KEY + 2, 2, -1)]
    assert [one.key.context for one in found if one.key != KEY] == [8192]


def test_the_history_is_bounded_in_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "_BOUND", measurements._BOUND.replace(f"OFFSET {measurements.KEPT}", "OFFSET 4"))
    kept(file, *(replace(ONE, key=replace(KEY, context=number)) for number in range(1, 9)))
    assert [one.key.context for one in read_measurements(file, machine="here")] == [8, 7, 6, 5]


def test_speeds_are_added_to_the_newest_of_their_key(file: Path) -> None:
    database = opened(file)
    store = MeasurementStore(database)
    store.add(lambda: replace(ONE, time=1.0))
    store.add(lambda: replace(ONE, time=2.0))
    store.add_speeds(lambda: KEY, Speeds(100.0, 4.0, 1000.0, 2.0, 1, Bytes(300 * MIB)))
    store.add_speeds(lambda: KEY, Speeds(100.0, 6.0, 0.0, 0.0, 1, Bytes(250 * MIB)))
    store.add_speeds(lambda: replace(KEY, context=1), Speeds(1.0, 1.0, 1.0, 1.0, 1))
    database.close()
    newest, older = read_measurements(file, machine="here")
    assert (newest.time, newest.speeds.decode, newest.speeds.prefill) == (2.0, 20.0, 500.0)
    assert (newest.speeds.samples, newest.speeds.peak) == (2, 300 * MIB)
    assert (older.speeds.decode, older.speeds.samples) == (None, 0)


def test_a_mistake_while_one_is_made_costs_nothing_else(file: Path) -> None:
    database = opened(file)
    store = MeasurementStore(database)

    def broken() -> Measurement:
        message = "no machine"
        raise OSError(message)

    store.add(broken)
    store.add(lambda: ONE)
    database.close()
    assert len(read_measurements(file, machine="here")) == 1


def test_without_a_readable_database_there_are_none(file: Path) -> None:
    assert read_measurements(file, machine="here") == ()
    Database(file, load_migrations(MIGRATIONS)[:4]).close()
    assert read_measurements(file, machine="here") == ()
    file.write_bytes(b"no database at all" * 100)
    assert read_measurements(file, machine="here") == ()


def test_a_row_of_another_shape_is_left_out(file: Path) -> None:
    kept(file, ONE)
    database = opened(file)
    database.transaction(lambda connection: connection.execute("UPDATE measurements SET memory = '[1]'"))
    database.close()
    assert read_measurements(file, machine="here") == ()


def test_buffers_of_gpus() -> None:
    """Names of ggml's devices: pinned RAM of a GPU's driver is RAM."""
    assert [is_gpu_buffer(name) for name in ("CUDA0", "ROCm1", "Vulkan0", "MTL0")] == [True] * 4
    assert [is_gpu_buffer(name) for name in ("CPU", "CPU_Mapped", "CPU_REPACK", "CUDA_Host", "")] == [False] * 5
    mixed = replace(ONE, memory={"CUDA0": {"weights": Bytes(3)}, "CUDA_Host": {"weights": Bytes(4)}, "CPU": {}})
    assert (mixed.part("weights", on_gpu=True), mixed.part("weights", on_gpu=False)) == (3, 4)


def test_a_machine_is_known_by_what_decides() -> None:
    cpu = Cpu("A processor", "x86_64", 8, 16, 16, "x86-64-v4")
    card = Gpu(0, "nvidia", "RTX 4090", Bytes(24 * GIB))
    here = Machine("a", "Linux 6", cpu, Memory(Bytes(64 * GIB), Bytes(60 * GIB)), (card, replace(card, index=1)))
    same = replace(here, name="b", system="Linux 7", memory=Memory(Bytes(64 * GIB - 30 * MIB), Bytes(GIB)))
    assert machine_key(here) == machine_key(same)
    for other in (
        replace(here, gpus=(card,)), replace(here, cpu=replace(cpu, usable_cores=8)),
        replace(here, memory=Memory(Bytes(32 * GIB), Bytes(GIB))),
        replace(here, gpus=(card, replace(card, index=1, memory_total=Bytes(48 * GIB)))),
    ):  # fmt: skip
        assert machine_key(other) != machine_key(here)


def test_settings_compare_as_words() -> None:
    assert setting_words({"a": True, "b": "Off", "c": 64, "d": "FALSE"}) == {
        "a": "on", "b": "off", "c": "64", "d": "off"
    }  # fmt: skip


def test_what_a_log_tells_is_kept_by_device() -> None:
    lines = {
        "a": LogFacts(memory={"weights": Bytes(5)}, device="CUDA0"),
        "b": LogFacts(memory={"weights": Bytes(7)}, device="CPU"),
        "c": LogFacts(memory={"weights": Bytes(1)}, device="CPU"),
        "d": LogFacts(memory={"compute": Bytes(2)}),
    }
    facts = LoadFacts()
    facts.take(list(lines), lines.get)
    load = facts.measured(Placement("m", "x", None, 1, 1), resident=None, load_seconds=1.0)
    assert load.memory == {"weights": 13, "compute": 2}
    assert load.devices == {"CUDA0": {"weights": 5}, "CPU": {"weights": 8}, "": {"compute": 2}}


class Start:
    """A start of an engine, what is told of it, and what lies on GPUs."""

    def __init__(self, **parts: Bytes) -> None:
        self.told: list[LoadMeasurement] = []
        self.on_gpus = Bytes(0)
        self.telling = LoadTelling(self.told.append, lambda _: self.on_gpus)
        self.load = LoadMeasurement(Placement("m", "x", None, 1, 1), parts, None, None, Bytes(100), None, 1.5)

    async def look(self, resident: int, *, busy: bool = False) -> None:
        await self.telling.look(1, Bytes(resident), busy=busy)


@pytest.mark.asyncio
async def test_an_engine_whose_log_tells_no_parts_is_told_of_again_after_its_first_answer() -> None:
    start = Start()
    await start.telling.ready(1, start.load)
    start.on_gpus = Bytes(7)
    for _ in range(3):
        await start.look(110)
    start.telling.answered()
    await start.look(120, busy=True)
    await start.look(130)
    # That may have been looked at before the answer; this was not.
    await start.look(140)
    for _ in range(3):
        await start.look(150)
    assert [(one.resident, one.gpu_memory, one.answered) for one in start.told] == [(100, 0, False), (140, 7, True)]
    assert start.told[1].load_seconds == 1.5


@pytest.mark.asyncio
async def test_a_start_after_the_first_one_waits_for_its_own_answer() -> None:
    start = Start()
    await start.telling.ready(1, start.load)
    start.telling.answered()
    await start.telling.ready(1, start.load)
    for _ in range(3):
        await start.look(120)
    assert [one.answered for one in start.told] == [False, False]


@pytest.mark.asyncio
async def test_an_engine_whose_log_tells_parts_is_told_of_once() -> None:
    start = Start(weights=Bytes(90))
    await start.telling.ready(1, start.load)
    start.telling.answered()
    for _ in range(3):
        await start.look(120)
    assert [one.answered for one in start.told] == [False]
