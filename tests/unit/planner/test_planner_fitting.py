"""The settings with which a checkpoint fits a machine, and which checkpoint is taken."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as rules
from hypothesis import strategies as st

from ansambl.app.planning import candidates_of
from ansambl.domain.errors import UsageError
from ansambl.domain.units import GIB, Bytes
from ansambl.hardware.catalog import load_machine, machine_names
from ansambl.model_catalog.catalog import catalog, find_model
from ansambl.planner.choosing import LOSSLESS_BITS, Engines, choose
from ansambl.planner.fitting import Wish, expert_layers_in_ram, layers_in_ram, limits, place

GPT_OSS = find_model("openai/gpt-oss-120b")
LLAMA = find_model("meta-llama/Llama-3.3-70B-Instruct")


def checkpoint(model, quantization, format="gguf"):  # noqa: A002 - the record's word
    found = [one for one in candidates_of(model) if (one.quantization, one.format) == (quantization, format)]
    assert len(found) == 1
    return found[0]


def with_ram(machine, gib):
    return replace(machine, ram=replace(machine.ram, memory=Bytes(gib * GIB)))


def test_all_of_it_is_on_a_gpu_that_holds_it():
    placed = place(checkpoint(GPT_OSS, "MXFP4"), "llama.cpp", load_machine("rtx-pro-6000-128g"), Wish(131_072))
    assert placed.fits
    assert not placed.settings
    assert placed.footprint.devices[0].weights.expected > 57 * GIB


def test_experts_go_to_ram_and_no_more_than_must():
    machine = load_machine("rtx-4090-64g")
    placed = place(checkpoint(GPT_OSS, "MXFP4"), "llama.cpp", machine, Wish(32_768))
    layers = placed.settings["n_cpu_moe"]
    # People run it on 24 GB with the experts of 24 to 28 layers in RAM.
    assert placed.fits
    assert 23 <= layers <= 28
    assert expert_layers_in_ram(placed) == layers
    fewer = place(checkpoint(GPT_OSS, "MXFP4"), "llama.cpp", machine, Wish(32_768, settings={"n_cpu_moe": layers - 1}))
    assert not fewer.fits
    slower = placed.speed.decode.expected
    whole = place(checkpoint(GPT_OSS, "MXFP4"), "llama.cpp", load_machine("rtx-pro-6000-128g"), Wish(32_768))
    assert slower < whole.speed.decode.expected / 2


def test_whole_layers_of_a_dense_model_go_to_ram_where_it_stays_readable():
    placed = place(checkpoint(LLAMA, "Q6_K"), "llama.cpp", load_machine("rtx-pro-6000-128g"), Wish(131_072))
    assert placed.fits
    assert 0 < layers_in_ram(placed) < 10
    assert placed.speed.decode.expected >= 2


def test_whole_layers_in_ram_are_refused_where_nobody_could_wait_for_it_unless_asked_for():
    machine = load_machine("rtx-4080-64g")
    refused = place(checkpoint(LLAMA, "Q5_K_M"), "llama.cpp", machine, Wish(8192))
    assert not refused.fits
    reason = next(one for one in refused.footprint.reasons if one.code == "too-slow")
    assert "n_gpu_layers" in reason.text.render()
    asked = place(checkpoint(LLAMA, "Q5_K_M"), "llama.cpp", machine, Wish(8192, settings={"n_gpu_layers": 20}))
    assert asked.fits
    assert asked.speed.decode.expected < 2


def test_what_fits_nowhere_tells_by_how_much_and_forecasts_no_speed():
    machine = with_ram(load_machine("rtx-4090-64g"), 16)
    placed = place(checkpoint(GPT_OSS, "MXFP4"), "llama.cpp", machine, Wish(32_768))
    assert not placed.fits
    assert placed.speed.decode is None
    assert any(one.code == "does-not-fit" for one in placed.footprint.reasons)


def test_vllm_takes_a_second_gpu_when_one_is_too_small():
    model = find_model("qwen/qwen2.5-7b-instruct")
    small = checkpoint(model, "BF16", "safetensors")
    one = place(small, "vllm", load_machine("dual-3090-64g"), Wish(8192))
    assert one.settings == {"tensor_parallel": 1}
    larger = checkpoint(find_model("mistralai/Mistral-Nemo-Instruct-2407"), "BF16", "safetensors")
    two = place(larger, "vllm", load_machine("dual-3090-64g"), Wish(8192))
    assert two.fits
    assert two.settings == {"tensor_parallel": 2}


def test_settings_of_the_user_are_kept():
    placed = place(
        checkpoint(GPT_OSS, "MXFP4"), "llama.cpp", load_machine("rtx-4090-64g"),
        Wish(8192, settings={"n_cpu_moe": "30", "n_ubatch": "1024"}),
    )  # fmt: skip
    assert placed.settings == {"n_cpu_moe": "30", "n_ubatch": "1024"}
    assert expert_layers_in_ram(placed) == 30


def test_a_context_beyond_the_model_is_told_and_one_beyond_reason_is_refused():
    yi = find_model("01-ai/Yi-34B")
    placed = place(checkpoint(yi, "BF16", "safetensors"), "vllm", load_machine("h100-80g"), Wish(8192))
    assert any(one.code == "context-beyond-model" for one in placed.footprint.reasons)
    with pytest.raises(UsageError, match="context is 10000000, and yi-34b was made for 4096"):
        place(checkpoint(yi, "BF16", "safetensors"), "vllm", load_machine("h100-80g"), Wish(10_000_000))
    with pytest.raises(UsageError, match="context is 0"):
        place(checkpoint(yi, "BF16", "safetensors"), "vllm", load_machine("h100-80g"), Wish(0))


def test_the_limits_fit_and_one_more_does_not():
    machine = load_machine("rtx-4090-64g")
    candidate = checkpoint(find_model("meta-llama/Llama-3.1-8B-Instruct"), "Q8_0")
    placed = place(candidate, "llama.cpp", machine, Wish(32_768))
    most = limits(placed)
    assert place(candidate, "llama.cpp", machine, Wish(most.context)).settings == {}
    assert place(candidate, "llama.cpp", machine, Wish(32_768, most.parallel)).settings == {}
    assert place(candidate, "llama.cpp", machine, Wish(32_768, most.parallel + 1)).settings != {}


def engines(candidate):
    return Engines({"gguf": ("llama.cpp",), "safetensors": ("vllm",)}.get(candidate.format, ()))


def test_of_what_fits_the_most_bits_that_count_are_taken():
    candidates = candidates_of(find_model("qwen/qwen3-32b"))
    big = choose(candidates, engines, load_machine("rtx-pro-6000-128g"), Wish(32_768)).best
    assert big.fits
    assert 7.5 < big.candidate.bits <= LOSSLESS_BITS
    small = choose(candidates, engines, load_machine("rtx-4090-64g"), Wish(16_384)).best
    assert small.fits
    assert small.candidate.bits < 6
    assert choose([], engines, load_machine("rtx-4090-64g"), Wish(16_384)) is None


MODELS = [one for one in catalog().values() if candidates_of(one)]


@rules(max_examples=60, deadline=None)
@given(
    st.sampled_from(MODELS), st.sampled_from(machine_names()), st.sampled_from([512, 4096, 32_768]),
    st.integers(1, 8), st.randoms(use_true_random=False),
)  # fmt: skip
def test_what_is_said_to_fit_exceeds_no_device(model, machine, context, parallel, random):
    candidate = random.choice(candidates_of(model))
    if candidate.format != "gguf":
        return
    planned = load_machine(machine)
    placed = place(candidate, "llama.cpp", planned, Wish(context, parallel))
    over = [one for one in placed.footprint.devices if one.needed.high > one.usable]
    assert placed.fits == (not over)
    assert (placed.speed.decode is None) or placed.fits
    for device in placed.footprint.devices:
        assert device.usable <= device.capacity


@pytest.mark.parametrize("count", ["4", "4.0", "+4", 4])
def test_a_number_is_read_however_it_is_written(count):
    placed = place(
        checkpoint(GPT_OSS, "MXFP4"),
        "llama.cpp",
        load_machine("rtx-4090-64g"),
        Wish(8192, settings={"n_cpu_moe": count}),
    )
    assert expert_layers_in_ram(placed) == 4


def test_a_context_beyond_the_model_that_fits_is_not_over_the_limit():
    placed = place(checkpoint(find_model("01-ai/Yi-34B"), "BF16"), "llama.cpp", load_machine("rtx-pro-6000-128g"),
                   Wish(32_768))  # fmt: skip
    assert placed.fits
    assert placed.candidate.architecture.context == 4096
    assert limits(placed).context == 32_768


def test_a_part_in_ram_that_is_quick_is_better_than_very_few_bits():
    machine = load_machine("rtx-pro-6000-128g")
    best = choose(candidates_of(find_model("minimax-m2.7")), engines, machine, Wish(32_768)).best
    assert expert_layers_in_ram(best) > 0
    assert best.candidate.bits > 3.6
    assert best.speed.decode.expected >= 10
