"""What llmfit prints is read as it means it; it is asked for what a case says and never twice for long."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.domain.units import GIB
from support import llmfit_cases
from support.llmfit_cases import Answer, arguments, ask, figure, parse
from support.memory_cases import DATA, load

CASES, _ = load()
# Printed by llmfit 1.1.17 for gemma-3-27b-it in Q4_K_M with 32,768 tokens.
PLAN = (DATA / "llmfit_plan.json").read_text(encoding="utf-8")


def case(name):
    return next(one for one in CASES if one["id"] == name)


def test_a_plan_is_read_in_its_mixed_units():
    answer = parse(PLAN)
    # 15.91 billion bytes of weights, 15.5 GiB of keys and values of all 62 layers, half a GiB on top.
    assert answer is not None
    assert answer.weights == pytest.approx(15.9107958512e9)
    assert answer.kv_cache == 15.5 * GIB == 62 * 32768 * 2 * 16 * 128 * 2
    assert answer.total == pytest.approx(answer.weights + 16 * GIB)


@pytest.mark.parametrize("output", ["", "Error: No model found matching 'x'.", "{}", '{"disk_size_gb": 1}', "{broken"])
def test_what_is_no_plan_gives_no_figure(output):
    assert parse(output) is None


def test_a_warning_before_the_plan_does_no_harm():
    assert parse(f"weak version not found\n{PLAN}") == parse(PLAN)


def test_a_case_is_asked_with_its_model_quantization_context_and_kv_type():
    assert arguments(case("mem036")) == [
        "--json", "--memory", "120G", "plan", "openai/gpt-oss-120b", "--no-dashboard", "--quant", "MXFP4",
        "--context", "262144", "--kv-quant", "fp16",
    ]  # fmt: skip
    # It knows no cache whose keys and values differ, and no model of that name.
    assert arguments(case("mem051")) is None
    assert arguments(case("new23")) is None


def test_parts_stand_beside_the_measurement_that_they_forecast():
    answer = Answer(weights=8.0, kv_cache=2.0, total=11.0)
    assert figure("gpu", answer, 1) == figure("gpu_used", answer, 1) == figure("ram", answer, 1) == answer.total
    assert figure("gpu_weights", answer, 2) == answer.weights / 2
    assert figure("gpu_kv", answer, 1) == answer.kv_cache
    assert figure("kv_tokens", answer, 1) is None
    assert figure("gpu_compute", answer, 1) is None


def test_a_program_that_prints_nothing_or_is_not_there_gives_no_figure(tmp_path, monkeypatch):
    silent = tmp_path / "llmfit"
    silent.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    silent.chmod(0o755)
    assert ask(str(silent), case("mem036")) is None
    assert ask(str(tmp_path / "nothing"), case("mem036")) is None
    monkeypatch.setattr(llmfit_cases, "PATIENCE", 0.1)
    silent.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    assert ask(str(silent), case("mem036")) is None
