"""Which checkpoint and engine are taken: by quality, by what sources say, and by what the wish can be told to."""

import pytest

from ansambl.app.planning import find_candidates
from ansambl.domain.compatibility import Verdict
from ansambl.domain.errors import UsageError
from ansambl.domain.units import MIB
from ansambl.engines.compatibility import compatibility_rows
from ansambl.foundation.paths import DataPaths
from ansambl.hardware.catalog import load_machine
from ansambl.planner.choosing import choose, engines_for
from ansambl.planner.compatibility import judge
from ansambl.planner.fitting import Wish

FACTS = compatibility_rows()


@pytest.fixture
def chosen(tmp_path):
    def answer(model, machine, wish=None, engine=None):
        machine = load_machine(machine)
        found = choose(
            find_candidates(model, None, DataPaths(tmp_path)),
            lambda candidate: engines_for(candidate, machine, FACTS, wanted=engine),
            machine,
            wish or Wish(32_768),
        )
        assert found is not None
        return found

    return answer


def test_eight_bits_come_before_four_also_where_the_tables_stay_in_sixteen(chosen):
    best = chosen("llama-3.1-8b-instruct", "h100-80g", engine="vllm").best
    assert best.candidate.quantization == "FP8"
    assert best.candidate.weights.total * 8 / best.candidate.architecture.parameters > 8


def test_half_the_bytes_come_before_what_loses_nothing_more(chosen):
    assert chosen("gemma-3-27b-it", "rtx-pro-6000-128g").best.candidate.quantization == "Q8_0"


def test_layers_in_ram_are_not_slowed_down_by_bits_beyond_the_usual_four(chosen):
    best = chosen("llama-3.3-70b-instruct", "rtx-4090-64g").best
    assert best.settings["n_gpu_layers"] > 0
    assert best.candidate.quantization == "Q4_K_M"


def test_what_a_source_says_works_comes_before_what_nobody_tells(chosen):
    found = chosen("llama-3.1-8b-instruct", "mac-m4-max-128g", engine="vllm")
    metal = load_machine("mac-m4-max-128g").gpus[0].model

    def verdict(placement):
        return judge(
            FACTS, "vllm", format=placement.candidate.format, quantization=placement.candidate.quantization,
            family=placement.candidate.architecture.family, device=metal,
        ).verdict  # fmt: skip

    assert verdict(found.best) is Verdict.YES
    unknown = next(one for one in found.others if verdict(one) is Verdict.UNKNOWN)
    assert unknown.footprint.reasons[0].code == "unknown"


def test_an_engine_without_the_wanted_kv_type_or_setting_is_left_out(chosen):
    assert chosen("qwen3-8b", "rtx-4090-64g", Wish(32_768, kv_type="fp8")).best.engine == "vllm"
    found = chosen("qwen3-8b", "rtx-4090-64g", Wish(32_768, settings={"n_gpu_layers": "7"}))
    assert {one.engine for one in (found.best, *found.others)} == {"llama.cpp"}
    assert any("n_gpu_layers" in one.text.render() for one in found.left_out)


def test_where_no_engine_takes_the_wish_the_error_is_of_one_that_knows_the_setting(chosen):
    with pytest.raises(UsageError, match="gpu_memory_utilization is 7; give a number"):
        chosen("qwen3-8b", "rtx-4090-64g", Wish(32_768, settings={"gpu_memory_utilization": "7"}))
    with pytest.raises(UsageError, match="kv_type 'fp9'"):
        chosen("qwen3-8b", "rtx-4090-64g", Wish(32_768, kv_type="fp9"))


def test_a_projector_that_is_not_counted_is_told_and_counted_when_its_size_is_set(chosen):
    plain = chosen("gemma-3-27b-it", "rtx-pro-6000-128g").best
    said = {one.code: one.text.render() for one in plain.footprint.reasons}
    # gemma 3's vision tower of 417 million parameters and its projection in 16 bits: 0.8 GiB.
    assert "up to about 805.7 MiB" in said["projector-not-counted"]
    counted = chosen("gemma-3-27b-it", "rtx-pro-6000-128g", Wish(32_768, settings={"mmproj": "850MiB"})).best
    codes = {one.code for one in counted.footprint.reasons}
    assert "projector" in codes
    assert "projector-not-counted" not in codes
    assert counted.footprint.total.expected > plain.footprint.total.expected + 800 * MIB
    assert "projector-not-counted" not in {
        one.code for one in chosen("qwen3-8b", "rtx-4090-64g").best.footprint.reasons
    }  # fmt: skip
