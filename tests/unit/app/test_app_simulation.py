"""``simulate``: traces checked line by line, models forecast on other machines, and what the shipped traces show."""

from __future__ import annotations

import io
import json
import tomllib
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from random import Random
from typing import Any

import pytest

from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.planning import planned_machines
from ansambl.app.simulation import machines
from ansambl.app.simulation.machines import SimulatedMachine, simulated_machine
from ansambl.app.simulation.simulating import (
    POLICIES,
    SimulationQuestion,
    answer_simulation,
    run_policy,
    simulation_document,
)
from ansambl.app.simulation.trace_files import parse_trace, read_trace, shipped_file, shipped_traces
from ansambl.domain.errors import ConfigurationError, UsageError
from ansambl.domain.scheduling import RequestClass
from ansambl.planner.choosing import choose
from ansambl.runtime.scheduling.records import Rules
from ansambl.runtime.simulate import SimulationResult, spread
from ansambl.runtime.simulated import CLASSES, Trace
from ansambl.testing.traces import TRACES, Line, lines_of, mixed, people

CARD = "rtx-pro-6000-128g"
CONFIG = shipped_file("card-96g.toml")
GOOD = {"t": 1.5, "model": "big", "prompt_tokens": 10, "output_tokens": 5}


def parsed(*lines: object, raw: bytes | None = None) -> Trace:
    text = raw if raw is not None else "\n".join(json.dumps(one) for one in lines).encode()
    return parse_trace(io.BytesIO(text), "t.jsonl", lambda name: name)


@cache
def card() -> SimulatedMachine:
    return simulated_machine(load_settings(CONFIG), CARD, CONFIG)


def interactive(result: SimulationResult) -> tuple[float, float]:
    found = spread(result.waits[RequestClass.INTERACTIVE])
    assert found["p95"] is not None
    assert found["max"] is not None
    return found["p95"], found["max"]


def test_a_line_has_its_class_conversation_and_times() -> None:
    trace = parsed(GOOD, {**GOOD, "class": "task", "conversation": 7}, {**GOOD, "conversation": "7", "t": 0})
    assert [CLASSES[one].value for one in trace.request_class] == ["interactive", "task", "interactive"]
    assert list(trace.conversation) == [0, 1, 1]
    assert list(trace.order()) == [2, 0, 1]
    assert trace.models == ["big"]


def test_empty_lines_are_passed_over() -> None:
    assert len(parsed(raw=b"\n" + json.dumps(GOOD).encode() + b"\r\n\n")) == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({**GOOD, "promt_tokens": 3}, "prompt_tokens"),
        ({**GOOD, "class": "urgent"}, "urgent"),
        ({**GOOD, "t": -1}, "'t' is -1"),
        ({**GOOD, "t": "now"}, "$.t"),
        ({**GOOD, "t": 1e300}, "'t' is 1e+300"),
        ({**GOOD, "prompt_tokens": 0}, "'prompt_tokens' is 0"),
        ({**GOOD, "prompt_tokens": 1.5}, "$.prompt_tokens"),
        ({**GOOD, "output_tokens": 10**12}, "'output_tokens' is 1000000000000"),
        ({**GOOD, "role": "coder"}, "keep one"),
        ({key: value for key, value in GOOD.items() if key != "model"}, "neither 'model' nor 'role'"),
        ({key: value for key, value in GOOD.items() if key != "output_tokens"}, "output_tokens"),
        ([1, 2], "array"),
        ("text", "str"),
    ],
)
def test_a_wrong_line_is_named(line: object, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(GOOD, line)
    assert str(caught.value).startswith("t.jsonl line 2: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"{not json", b'{"t": \xff}', b"x" * 20_000, b'{"t": NaN}', b"[" * 9000])
def test_what_is_no_json_is_refused_in_one_line(raw: bytes) -> None:
    with pytest.raises(UsageError, match=r"t\.jsonl line 1: ") as caught:
        parsed(raw=raw)
    assert len(str(caught.value)) < 300


def test_a_trace_without_requests_is_refused() -> None:
    with pytest.raises(UsageError, match="no requests"):
        parsed(raw=b"\n\n")


def test_a_trace_that_is_not_there_names_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="agents, mixed, people"):
        read_trace("mixd", lambda name: name)
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(str(tmp_path / "no.jsonl"), lambda name: name)
    with pytest.raises(UsageError, match="cannot be read"):
        read_trace(str(tmp_path), lambda name: name)


def write(folder: Path, config: str, *lines: object) -> tuple[Path, str]:
    file, trace = folder / "ansambl.toml", folder / "trace.jsonl"
    file.write_text(config, encoding="utf-8")
    trace.write_text("\n".join(json.dumps(one) for one in lines), encoding="utf-8")
    return file, str(trace)


def test_roles_and_aliases_stand_for_their_models(tmp_path: Path) -> None:
    config = (
        '[models.big]\ncheckpoint = "gpt-oss-20b"\naliases = ["gpt"]\n'
        '[roles.helper]\ninstruction = "x"\nmodel = "big"\n'
    )
    alias, role = {**GOOD, "model": "gpt"}, {**GOOD, "role": "helper"}
    del role["model"]
    file, trace = write(tmp_path, config, GOOD, alias, role)
    answer = answer_simulation(SimulationQuestion(trace, CARD), file)
    assert answer.results["ansambl"].answered == 3
    assert answer.results["ansambl"].loads == {"big": 1}


@pytest.mark.parametrize(
    ("config", "asked", "said"),
    [
        ('[models.big]\ncheckpoint = "gpt-oss-20b"\n', "huge", "line 1: There is no role or model named 'huge'"),
        ('[models.big]\ncheckpoint = "gpt-oss-20b"\n', "council", "ensemble"),
        ('[models.big]\naddress = "http://127.0.0.1:9/v1"\n', "big", "line 1: of 'big' neither memory nor speed"),
        ('[models.big]\ncheckpoint = "glm-5.2"\n', "big", f"glm-5.2 does not fit {CARD}; see: .* --machine {CARD}$"),
        ('[models.big]\ncheckpoint = "no-such-model-at-all"\n', "big", "the catalog has no model"),
    ],
)
def test_a_name_that_cannot_be_simulated_is_refused(tmp_path: Path, config: str, asked: str, said: str) -> None:
    file, trace = write(tmp_path, config, {**GOOD, "model": asked})
    with pytest.raises(UsageError, match=said):
        answer_simulation(SimulationQuestion(trace, CARD), file)


def test_this_machine_is_named_as_commands_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = planned_machines([CARD])
    monkeypatch.setattr(machines, "planned_machines", lambda _: planned)
    file, trace = write(tmp_path, '[models.big]\ncheckpoint = "glm-5.2"\n', GOOD)
    with pytest.raises(UsageError, match=r"does not fit .*; see: ansambl fit glm-5\.2$"):
        answer_simulation(SimulationQuestion(trace, None), file)


@pytest.mark.parametrize(("machine", "said"), [(CARD, f"see: .* --machine {CARD}$"), (None, "so that it is measured")])
def test_a_speed_that_nobody_knows_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str | None, said: str
) -> None:
    planned, chosen = planned_machines([CARD]), choose

    def without_prefill(*asked: Any) -> Any:
        choice = chosen(*asked)
        assert choice is not None
        speed = replace(choice.best.speed, prefill=None)
        return replace(choice, best=replace(choice.best, speed=speed))

    monkeypatch.setattr(machines, "planned_machines", lambda _: planned)
    monkeypatch.setattr(machines, "choose", without_prefill)
    file, trace = write(tmp_path, '[models.big]\ncheckpoint = "gpt-oss-20b"\n', GOOD)
    with pytest.raises(UsageError, match=f"the speed of gpt-oss-20b on .* is not known; .*{said}"):
        answer_simulation(SimulationQuestion(trace, machine), file)


def test_a_shipped_trace_without_its_models_names_the_page(tmp_path: Path) -> None:
    file, _ = write(tmp_path, '[models.small]\ncheckpoint = "gpt-oss-20b"\n')
    with pytest.raises(UsageError, match=r"'big'; .*docs/how-to/simulate-a-trace.md"):
        answer_simulation(SimulationQuestion("mixed", CARD), file)


def test_unknown_policies_machines_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ansambl, fifo, lru"):
        answer_simulation(SimulationQuestion("mixed", CARD, ("mru",)), CONFIG)
    with pytest.raises(UsageError, match="no machine"):
        answer_simulation(SimulationQuestion("mixed", "abacus"), CONFIG)
    with pytest.raises(ConfigurationError, match="does not exist"):
        answer_simulation(SimulationQuestion("mixed", CARD), tmp_path / "none.toml")


def test_the_budget_is_what_models_may_use(tmp_path: Path) -> None:
    config = '[models.big]\ncheckpoint = "gpt-oss-20b"\nengine = "llama.cpp"\n[budget]\ngpu = "20GiB"\nram = "4GiB"\n'
    file, trace = write(tmp_path, config, GOOD)
    machine = answer_simulation(SimulationQuestion(trace, CARD), file).machine
    assert machine.capacity == {"gpu0": 20 << 30, "ram": 4 << 30}
    assert machine.whole["gpu0"] > 90 << 30
    needs = machine.instances["big"].facts.needs
    assert 11 << 30 < needs["gpu0"] < 20 << 30


def test_a_model_that_its_budget_cannot_hold_is_refused_and_never_loaded(tmp_path: Path) -> None:
    config = '[models.big]\ncheckpoint = "gpt-oss-20b"\nengine = "llama.cpp"\n[budget]\ngpu = "5GiB"\n'
    file, trace = write(tmp_path, config, GOOD, GOOD)
    answer = answer_simulation(SimulationQuestion(trace, CARD), file)
    document = simulation_document(answer, "ansambl", str)
    assert document["refused"] == {"does_not_fit": 2}
    assert document["models"]["big"]["loads"] == 0


def test_facts_follow_from_the_size_where_nothing_was_measured() -> None:
    big, code = (card().instances[name] for name in ("big", "code"))
    size = card().placements["big"].candidate.size
    # A start of llama.cpp and the weights at a gigabyte a second.
    assert big.facts.load_seconds == pytest.approx(2 + size / 1e9)
    assert big.facts.load_seconds > code.facts.load_seconds
    assert (big.facts.places, big.full) == (2, 2)
    assert big.together is not None
    assert big.decode < big.together < 2 * big.decode
    assert big.kept_tokens > 10_000
    assert card().capacity["gpu0"] < big.facts.needs["gpu0"] + code.facts.needs["gpu0"]


def test_the_document_has_the_stable_keys() -> None:
    answer = answer_simulation(SimulationQuestion("people", CARD), CONFIG)
    document = simulation_document(answer, "ansambl", str)
    assert list(document)[:9] == [
        "policy", "requests", "answered", "expired", "swaps", "swaps_by_background", "wait_seconds",
        "output_tokens_per_second", "idle_share",
    ]  # fmt: skip
    assert set(document["wait_seconds"]) == {"interactive", "batch", "background", "task"}
    assert set(document["wait_seconds"]["interactive"]) == {"p50", "p95", "max"}
    assert document["wait_seconds"]["batch"] == {"p50": None, "p95": None, "max": None}
    assert 0 < document["idle_share"] < 1
    assert json.loads(json.dumps(document)) == document


def test_shipped_traces_are_what_their_generator_makes() -> None:
    assert shipped_traces() == tuple(sorted(TRACES))
    for name, make in TRACES.items():
        assert shipped_file(f"{name}.jsonl").read_text(encoding="utf-8") == lines_of(make())


@pytest.mark.parametrize("name", sorted(TRACES))
def test_on_shipped_traces_people_wait_no_longer_than_in_order_of_arrival(name: str) -> None:
    question = SimulationQuestion(name, CARD, tuple(POLICIES))
    answer = answer_simulation(question, CONFIG)
    ours, fifo = answer.results["ansambl"], answer.results["fifo"]
    assert interactive(ours) <= interactive(fifo)
    assert interactive(ours)[1] <= interactive(fifo)[1]
    assert interactive(ours)[1] <= answer.rules.longest_wait
    assert ours.swaps_by_background == 0
    assert ours.swaps <= fifo.swaps
    if name == "mixed":
        assert ours.swaps * 3 <= fifo.swaps
        assert fifo.swaps_by_background > 0


@pytest.mark.parametrize("make", [mixed, partial(mixed, load=0.6), people])
def test_at_a_bearable_load_people_wait_no_longer_than_in_order_of_arrival(make: Callable[[int], list[Line]]) -> None:
    worse = []
    for seed in range(20):
        trace = parse_trace(io.BytesIO(lines_of(make(seed)).encode()), "made up", lambda name: name)
        ours, fifo = (run_policy(name, card(), Rules(), trace) for name in ("ansambl", "fifo"))
        assert ours.swaps_by_background == 0
        assert not {refusal for kind, refusal in ours.refused if kind.may_swap}
        longer = [one > other for one, other in zip(interactive(ours), interactive(fifo), strict=True)]
        worse += [(seed, interactive(ours), interactive(fifo))] if any(longer) else []
    assert worse == []


def test_an_engine_that_may_sleep_wakes_faster_than_it_loads(tmp_path: Path) -> None:
    config = (
        '[models.{name}]\ncheckpoint = "gpt-oss-120b"\nengine = "vllm"\n[models.{name}.settings]\n'
        "enable_sleep_mode = true\ngpu_memory_utilization = 0.9\n"
    )
    text = config.format(name="a") + config.format(name="b")
    asked = [{**GOOD, "t": 100 * turn, "model": "ab"[turn % 2]} for turn in range(6)]
    file, trace = write(tmp_path, text, *asked)
    answer = answer_simulation(SimulationQuestion(trace, CARD), file)
    facts = answer.machine.instances["a"].facts
    assert [one.level for one in facts.sleeps] == [1, 2]
    assert facts.sleeps[0].wake_seconds < facts.load_seconds / 4
    assert facts.sleeps[0].holds["ram"] > 60 << 30
    result = answer.results["ansambl"]
    # Two sets of weights fit into 128 GB of RAM only one at a time.
    assert result.answered == 6
    assert result.wakes > 0
    assert sum(result.loads.values()) + result.wakes == 1 + result.swaps


def test_the_configuration_of_the_page_is_the_shipped_one() -> None:
    page = Path(__file__).parents[3] / "docs" / "how-to" / "simulate-a-trace.md"
    block = page.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(block) == tomllib.loads(CONFIG.read_text(encoding="utf-8"))


def test_background_work_that_waits_turns_no_person_away() -> None:
    chance = Random(1)  # noqa: S311 - made-up figures
    trace, now = Trace(), 0.0
    for _ in range(6000):
        now += chance.expovariate(1.0)
        kind = chance.choices(tuple(RequestClass), (5, 2, 3, 0))[0]
        model = chance.choices(("big", "quick", "code"), (6, 3, 1))[0]
        trace.add(now, model, kind, prompt_tokens=500, output_tokens=50)
    result = run_policy("ansambl", card(), Rules(queue_limit=160), trace)
    # A queue may be full of background requests; that is told to them alone.
    refused = {kind for kind, _ in result.refused}
    assert RequestClass.BACKGROUND in refused
    assert not refused & {RequestClass.INTERACTIVE, RequestClass.BATCH}
