"""What the scheduler is told of an instance: its memory by device from the best source there is, and how it rests."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest

from ansambl.app import footprints
from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.footprints import Footprints, load_seconds, rules_of
from ansambl.app.measuring import measurement_key
from ansambl.app.model_memory import devices_of
from ansambl.domain.catalog import ModelKind
from ansambl.domain.device import DeviceKind
from ansambl.domain.errors import CheckpointError, UnknownNameError
from ansambl.domain.footprint import DeviceFootprint, Footprint, Range
from ansambl.domain.hardware import Cpu, Gpu, Machine, Memory
from ansambl.domain.measurement import Measurement, Speeds
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.text import text
from ansambl.domain.units import GIB, MIB, Bytes
from ansambl.runtime.events import EventLog

MACHINE = Machine(
    "t", "Linux", Cpu("x", "x86_64", 2, 2, 2, None), Memory(Bytes(64 * GIB), Bytes(64 * GIB)),
    gpus=tuple(Gpu(one, "nvidia", "card", Bytes(24 * GIB)) for one in range(2)),
)  # fmt: skip
FILES = Checkpoint("/m", "/m", "gguf", Bytes(4 * GIB), "identity", context=4096)
IN_RAM = Placement("m", "llama.cpp-bundled", FILES, 4096, 2)


def span(low, expected, high):
    return Range(*(Bytes(int(one * GIB)) for one in (low, expected, high)))


def ram(weights=4.0, cache=1.0, beside=(0, 1, 3), reclaimable=0.0):
    return DeviceFootprint(
        "RAM", DeviceKind.RAM, 0, Bytes(64 * GIB), Bytes(60 * GIB), weights=span(weights, weights, weights),
        kv_cache=span(cache, cache, cache), kv_needed=span(cache, cache, cache), overhead=span(*beside),
        reclaimable=Bytes(int(reclaimable * GIB)),
    )  # fmt: skip


def gpu(index, cache=8.0):
    return DeviceFootprint(
        "card", DeviceKind.GPU, index, Bytes(24 * GIB), Bytes(24 * GIB), weights=span(2, 2, 2),
        kv_cache=span(cache, cache, cache), kv_needed=span(1, 1, 1), overhead=span(1, 1, 1),
    )  # fmt: skip


@pytest.fixture
def facts(tmp_path, monkeypatch):
    def find(
        placed=IN_RAM, devices=None, *, measured=(), more="", budget="", model='checkpoint = "/m"', machine=MACHINE
    ):
        file = tmp_path / "ansambl.toml"
        file.write_text(f"[models.m]\n{model}\n{more}\n[budget]\n{budget}", encoding="utf-8")
        loaded = load_settings(file, environment={})
        found = devices and SimpleNamespace(footprint=Footprint(placed.engine, 4096, 2, "f16", tuple(devices)))
        monkeypatch.setattr(footprints, "forecast_placement", lambda *_: found)
        monkeypatch.setattr(footprints, "read_measurements", lambda *_, **__: tuple(measured))
        events = EventLog()
        source = Footprints(
            loaded, lambda _: placed, lambda: machine, lambda: devices_of(machine, loaded.settings.budget),
            tmp_path / "none.sqlite3", events,
        )  # fmt: skip
        source.log = events
        return asyncio.run(source.facts("m")), source

    return find


def measurement(placed=IN_RAM, **fields):
    values = {"resident": Bytes(6 * GIB), "load_seconds": 7.5, **fields}
    return Measurement(measurement_key(placed, MACHINE), "/m", placed.checkpoint.size, 1.0, **values)


def test_a_forecast_counts_with_half_of_its_margin(facts):
    # 4 + 1 of weights and cache, 1 expected beside them, and 3 at most.
    assert facts(devices=[ram()])[0].needs == {"ram": 7 * GIB}


def test_what_the_system_takes_back_from_the_weights_is_not_reserved(facts):
    assert facts(devices=[ram(weights=8.0, reclaimable=3.0)])[0].needs == {"ram": 8 * GIB}


def test_an_engine_that_fills_its_cache_holds_all_of_it_on_the_gpus_it_uses(facts):
    placed = replace(IN_RAM, engine="vllm", gpus=(1, 0), vendor="nvidia")
    needs = facts(placed, [gpu(0), gpu(1, cache=2.0), ram(0, 0, (1, 1, 1))])[0].needs
    assert needs == {"gpu1": 11 * GIB, "gpu0": 5 * GIB, "ram": 1 * GIB}


def test_a_measurement_of_the_very_same_run_comes_before_the_forecast(facts):
    told = {"": {"weights": Bytes(4 * GIB), "kv_cache": Bytes(GIB)}}
    needs = facts(devices=[ram()], measured=[measurement(memory=told)])[0].needs
    assert needs == {"ram": 6 * GIB}
    peak = measurement(memory=told, speeds=Speeds(peak=Bytes(9 * GIB)))
    assert facts(devices=[ram()], measured=[peak])[0].needs == {"ram": 9 * GIB}


def test_the_prompt_cache_that_grows_after_the_load_is_reserved_from_the_start(facts):
    placed = replace(IN_RAM, prompt_cache=Bytes(512 * MIB))
    told = {"": {"weights": Bytes(4 * GIB), "kv_cache": Bytes(GIB)}}
    assert facts(placed, [ram()], measured=[measurement(memory=told)])[0].needs == {"ram": 6 * GIB + 512 * MIB}


def test_a_measurement_of_another_context_is_not_of_the_same_run(facts):
    other = measurement(replace(IN_RAM, context=512))
    found = facts(devices=[ram()], measured=[other])[0]
    assert found.needs == {"ram": 7 * GIB}
    # How long it loaded is worth knowing all the same: the files are the same.
    assert found.load_seconds == 7.5


def test_without_rules_what_was_measured_counts_else_the_size_of_the_files(facts):
    placed = replace(IN_RAM, engine="mlx")
    assert facts(placed, measured=[measurement(placed)])[0].needs == {"ram": 6 * GIB}
    assert facts(placed)[0].needs == {"ram": round(4 * GIB * 1.2)}
    on_gpus = replace(placed, gpus=(0, 1), vendor="nvidia")
    assert facts(on_gpus)[0].needs == {"gpu0": round(4 * GIB * 1.2) // 2, "gpu1": round(4 * GIB * 1.2) // 2}


def test_what_the_memory_holds_is_kept_by_device(facts):
    placed = replace(IN_RAM, engine="vllm", gpus=(1,), vendor="nvidia")
    source = facts(placed, [gpu(0), ram(0, 0, (1, 1, 1))])[1]
    assert source.parts("m")["gpu1"] == {"weights": 2 * GIB, "kv_cache": 8 * GIB, "compute": 0, "overhead": GIB}
    assert source.parts("m")["ram"]["overhead"] == GIB
    assert source.parts("never asked about") == {}
    told = {"": {"weights": Bytes(3 * GIB), "kv_cache": Bytes(2 * GIB)}}
    measured = facts(devices=[ram()], measured=[measurement(memory=told)])[1].parts("m")["ram"]
    assert (measured["weights"], measured["kv_cache"], sum(measured.values())) == (3 * GIB, 2 * GIB, 6 * GIB)
    # Where only the size of the files is known, nobody knows what is what.
    assert facts(replace(IN_RAM, engine="mlx"))[1].parts("m") == {}


def test_of_a_command_nobody_knows_and_that_is_said_once(facts):
    placed = replace(IN_RAM, engine="command", checkpoint=None)
    found, source = facts(placed, model='command = "run-it {port}"')
    asyncio.run(source.facts("m"))
    assert found.needs == {}
    assert [one.kind for one in source.log.recent()] == ["unknown_memory"]


def test_a_model_whose_margin_alone_does_not_fit_a_budget_is_given_the_budget(facts):
    assert facts(devices=[ram()], budget='ram = "6.5GiB"')[0].needs == {"ram": round(6.5 * GIB)}


def test_a_model_that_is_larger_than_the_budget_says_what_it_needs(facts):
    assert facts(devices=[ram()], budget='ram = "5GiB"')[0].needs == {"ram": 7 * GIB}


def test_a_model_that_maps_more_than_the_ram_is_slow_and_still_runs(facts):
    small = replace(MACHINE, memory=Memory(Bytes(16 * GIB), Bytes(16 * GIB)))
    assert facts(devices=[ram(weights=40.0)], machine=small)[0].needs == {"ram": 16 * GIB}
    # What a cache takes is no page of a file.
    assert facts(devices=[ram(weights=40.0, cache=20.0)], machine=small)[0].needs == {"ram": 62 * GIB}


def test_what_was_measured_within_a_budget_goes_on_fitting_it(facts):
    told = {"": {"weights": Bytes(4 * GIB), "kv_cache": Bytes(GIB)}}
    peak = measurement(memory=told, speeds=Speeds(peak=Bytes(9 * GIB)))
    assert facts(devices=[ram()], measured=[peak], budget='ram = "7GiB"')[0].needs == {"ram": 7 * GIB}


def test_the_pinned_models_and_one_other_always_have_their_ram(facts):
    assert facts(devices=[ram()])[1].ram_for_one() == 7 * GIB
    assert facts(devices=[ram()], more="pinned = true")[1].ram_for_one() == 7 * GIB


def test_the_settings_of_the_model_are_told(facts):
    found = facts(devices=[ram()], more='warm = true\nttl = "5m"')[0]
    assert (found.warm, found.ttl, found.places, found.pinned, found.ours) == (True, 300.0, 2, False, True)
    pinned = facts(devices=[ram()], more='pinned = true\nttl = "5m"')[0]
    assert (pinned.pinned, pinned.ttl) == (True, None)


@pytest.mark.parametrize(
    ("kind", "chats"),
    [(None, True), (ModelKind.INSTRUCT, True), (ModelKind.REASONING, True), (ModelKind.EMBEDDING, False),
     (ModelKind.RERANKER, False), (ModelKind.SPEECH, False), (ModelKind.BASE, False)],
)  # fmt: skip
def test_only_models_that_answer_get_tasks(facts, kind, chats):
    assert facts(replace(IN_RAM, kind=kind), [ram()])[0].chats is chats


def test_an_attached_model_takes_no_memory_here_and_is_never_stopped(facts):
    found = facts(model='address = "http://127.0.0.1:9/v1"\nparallel = 5')[0]
    assert (found.ours, found.needs, found.places, found.chats) == (False, {}, 5, True)
    assert not facts(model='address = "http://127.0.0.1:9/v1"\nname = "nomic-embed-text"')[0].chats


def test_vllm_sleeps_at_two_levels_where_its_owner_allows_it(facts):
    placed = replace(IN_RAM, engine="vllm", gpus=(0,), vendor="nvidia", settings={"enable_sleep_mode": True})
    first, second = facts(placed, [gpu(0), ram(0, 0, (1, 1, 1))])[0].sleeps
    assert (first.level, second.level) == (1, 2)
    # The weights stay in RAM at the first level alone, and both leave the GPU but for a rest.
    assert first.holds["ram"] - second.holds["ram"] == FILES.size
    assert first.holds["gpu0"] == second.holds["gpu0"] < facts(placed, [gpu(0), ram()])[0].needs["gpu0"]
    assert first.wake_seconds < second.wake_seconds
    assert facts(replace(placed, settings={}), [gpu(0)])[0].sleeps == ()
    assert facts(devices=[ram()])[0].sleeps == ()


def test_a_load_that_was_never_measured_takes_as_long_as_its_files_are_read():
    assert load_seconds(IN_RAM, ()) == pytest.approx(2.0 + 4 * GIB / 1e9)
    assert load_seconds(replace(IN_RAM, engine="vllm"), ()) > load_seconds(IN_RAM, ())


def test_a_model_that_cannot_be_made_says_why(tmp_path):
    def missing(_):
        raise CheckpointError(text("no such file"))

    loaded = load_settings(None, {"models.m.checkpoint": "/m"}, environment={})
    source = Footprints(loaded, missing, lambda: MACHINE, lambda: None, tmp_path / "none", EventLog())
    with pytest.raises(CheckpointError, match="no such file"):
        asyncio.run(source.facts("m"))


def test_rules_are_those_of_the_configuration(tmp_path):
    file = tmp_path / "ansambl.toml"
    file.write_text(
        '[models.a]\ncheckpoint = "/a"\n[models.b]\ncheckpoint = "/b"\n'
        '[scheduling]\nqueue_limit = 3\nlongest_wait = "1m"\nlongest_answer = "2m"\nswap_share = 0.5\n'
        'batch_delay = "4s"\nbackground_patience = "5m"\ntogether = [["a", "b"]]\n'
        '[tasks]\nmodel = "a"\npatience = "6s"\n', encoding="utf-8",
    )  # fmt: skip
    rules = rules_of(load_settings(file, environment={}).settings)
    assert (rules.queue_limit, rules.longest_wait, rules.longest_answer) == (3, 60.0, 120.0)
    assert (rules.swap_share, rules.batch_delay, rules.background_patience) == (0.5, 4.0, 300.0)
    assert (rules.together, rules.task_model, rules.task_patience) == ((frozenset({"a", "b"}),), "a", 6.0)


def test_what_a_configuration_does_not_name_is_nobody_elses(facts):
    # A request may still wait for it while it is taken out.
    with pytest.raises(UnknownNameError):
        facts(devices=[ram()])[1].look("gone")
