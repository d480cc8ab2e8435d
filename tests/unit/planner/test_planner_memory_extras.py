"""What is loaded beside a model, settings that contradict each other, and programs that share an engine's rules."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from ansambl.domain.device import DeviceKind
from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.footprint import Range, WeightBytes
from ansambl.domain.units import GIB, MIB
from ansambl.planner.memory import ENGINES, Draft, Extras, Lora, MemoryInputs, Projector, forecast
from ansambl.planner.memory.extras import EXPERTS, LORA_MODULES, lora_parameters
from support.memory_cases import load, machine

ARCHITECTURES = load()[1]
LLAMA = ARCHITECTURES["Llama-3.1-8B"]
SMALL = WeightBytes(2 * GIB, "a small model", embedding=GIB // 4)
PARTS = ("weights", "kv_needed", "compute", "overhead")


def inputs(model="Llama-3.1-8B", gpus=(24,), *, size=5, ram=64, context=4096, parallel=1, extras=None, **chosen):
    table = {"gpus": [{"name": "gpu", "memory": memory * GIB} for memory in gpus], "ram": ram * GIB}
    weights = WeightBytes(size * GIB, "test", embedding=GIB, experts=0)
    return MemoryInputs(
        ARCHITECTURES[model], weights, machine(table), context, parallel, settings=chosen, extras=extras or Extras()
    )


def added(engine, base, extras):
    """What extras add to each device, by part."""
    without, with_them = (forecast(engine, replace(base, extras=one)).devices for one in (Extras(), extras))
    return [
        {part: getattr(other, part).expected - getattr(one, part).expected for part in PARTS}
        for one, other in zip(without, with_them, strict=True)
    ]


@pytest.mark.parametrize(
    ("rank", "modules", "trainable"),
    [
        # What PEFT prints for Llama-3.1-8B.
        (16, LORA_MODULES, 41_943_040),
        (8, ("q_proj", "v_proj"), 3_407_872),
        (64, LORA_MODULES, 167_772_160),
    ],
)
def test_lora_parameters_are_those_that_peft_counts(rank, modules, trainable):
    assert lora_parameters(LLAMA, rank, modules).dense == trainable


def test_vllm_makes_room_for_all_slots_of_the_greatest_rank():
    base = inputs(size=15)
    # Two slots of rank 32 in 16 bits, whatever the adapters' own rank and modules are.
    extras = Extras(lora=Lora(2, 20, ("q_proj",)))
    assert added("vllm", base, extras)[0]["weights"] == 2 * 2 * 2 * 41_943_040
    one = forecast("vllm", replace(base, settings={"max_loras": 4, "max_lora_rank": 16})).devices[0]
    assert one.weights.expected - forecast("vllm", base).devices[0].weights.expected == 4 * 2 * 41_943_040
    # On two GPUs A of qkv and gate is whole on both, and so is B of o and down.
    halves = replace(base, machine=inputs(gpus=(24, 24)).machine, settings={"tensor_parallel": 2})
    each = added("vllm", halves, Extras(lora=Lora(1, 16)))[0]["weights"]
    assert 0.5 < each / (2 * 41_943_040) < 0.8


def test_adapters_on_experts_count_where_they_are_named():
    base = inputs("gpt-oss-20b", size=13)
    plain, every = (
        added("llama.cpp", base, Extras(lora=Lora(1, 16, modules)))
        for modules in (LORA_MODULES, (*LORA_MODULES, EXPERTS))
    )
    # 24 layers of 32 experts with three matrices of 2880 × 2880, 32 bits each.
    both = sum(one["weights"] for one in every) - sum(one["weights"] for one in plain)
    assert both == pytest.approx(24 * 32 * 3 * 2 * 2880 * 16 * 4, abs=8)


def test_a_known_file_counts_as_it_is_and_follows_the_layers():
    base = inputs()
    gpu, ram = added("llama.cpp", base, Extras(lora=Lora(3, size=100 * MIB)))
    assert (gpu["weights"], ram["weights"]) == (300 * MIB, 0)
    half = replace(base, settings={"n_gpu_layers": 17})
    gpu, ram = added("llama.cpp", half, Extras(lora=Lora(3, size=100 * MIB)))
    assert (gpu["weights"], ram["weights"]) == (150 * MIB, 150 * MIB)
    assert forecast("llama.cpp", replace(base, settings={"lora": "300MiB"})).devices[0].weights == (
        forecast("llama.cpp", replace(base, extras=Extras(lora=Lora(1, size=300 * MIB)))).devices[0].weights
    )


def test_a_projector_lies_on_the_first_gpu_or_in_ram():
    base, extras = inputs(), Extras(projector=Projector(888 * MIB, "a file"))
    gpu, ram = added("llama.cpp", base, extras)
    assert gpu == {"weights": 888 * MIB, "kv_needed": 0, "compute": 248 * MIB, "overhead": 0}
    assert not any(ram.values())
    off = replace(base, settings={"mmproj_offload": "off"})
    found = forecast("llama.cpp", replace(off, extras=extras)).devices
    plain = forecast("llama.cpp", base).devices
    assert found[0] == plain[0]
    assert found[1].weights.expected - plain[1].weights.expected == 888 * MIB
    as_set = forecast("llama.cpp", replace(base, settings={"mmproj": "888MiB"}))
    assert as_set.devices == forecast("llama.cpp", replace(base, extras=extras)).devices
    assert "projector" in {reason.code for reason in as_set.reasons}


@pytest.mark.parametrize("engine", ["llama.cpp", "vllm", "sglang", "exllamav3", "transformers"])
def test_a_draft_model_has_weights_and_a_cache_of_its_own_over_the_same_context(engine):
    small = LLAMA
    base = inputs(gpus=(48,), parallel=2)
    found = added(engine, base, Extras(draft=Draft(small, SMALL)))
    assert sum(one["weights"] for one in found) == pytest.approx(2 * GIB, rel=0.02)
    alone = sum(group.count * (group.key_width + group.value_width) * 2 for group in small.layers) * 4096 * 2
    assert sum(one["kv_needed"] for one in found) == pytest.approx(alone, rel=0.05)
    assert sum(one["overhead"] for one in found) == 0
    codes = {
        reason.code for reason in forecast(engine, replace(base, extras=Extras(draft=Draft(small, SMALL)))).reasons
    }
    assert "draft-model" in codes


def test_a_head_for_more_tokens_uses_the_models_embedding_and_output():
    layer = replace(LLAMA, layers=(replace(LLAMA.layers[0], count=1),))
    weights = WeightBytes(400 * MIB, "its tensors")
    gpu, ram = added("llama.cpp", inputs(), Extras(draft=Draft(layer, weights, head=True)))
    assert gpu["weights"] == 400 * MIB
    assert ram["weights"] == 0
    assert gpu["kv_needed"] == 4096 * 2 * 1024 * 2
    within = Extras(draft=Draft(layer, WeightBytes(0, "part of the checkpoint"), head=True))
    assert added("llama.cpp", inputs(), within)[0]["weights"] == 0


def test_an_estimated_draft_says_so_and_is_judged_by_its_high_end():
    draft = Draft(LLAMA, WeightBytes(4 * GIB, "a card", low=3 * GIB, high=20 * GIB))
    found = forecast("llama.cpp", inputs(extras=Extras(draft=draft)))
    assert not found.fits
    assert [reason.code for reason in found.reasons].count("estimated-size") == 1


def test_the_kv_cache_in_ram_and_one_gpu_of_two():
    base = inputs(gpus=(24, 12))
    on, off = (forecast("llama.cpp", replace(base, settings={"kv_offload": one})).devices for one in ("on", "off"))
    assert [device.kv_cache.expected for device in off[:2]] == [0, 0]
    assert off[2].kv_cache.expected == sum(device.kv_cache.expected for device in on) == 32 * 4096 * 4096
    one = forecast("llama.cpp", replace(base, settings={"split_mode": "none", "main_gpu": 1})).devices
    assert [(device.kind, device.index) for device in one] == [(DeviceKind.GPU, 1), (DeviceKind.RAM, 0)]
    thirds = forecast("llama.cpp", replace(base, settings={"tensor_split": "0,1"})).devices
    assert thirds[0].weights.expected == 0
    rows = forecast("llama.cpp", replace(base, settings={"split_mode": "row"})).devices
    assert [device.kv_cache.expected for device in rows] == [32 * 4096 * 4096, 0, 0]
    assert forecast("llama.cpp", replace(base, settings={"n_gpu_layers": "all"})).devices == on


@pytest.mark.parametrize(
    ("chosen", "fields"),
    [
        ({"cpu_moe": True, "n_cpu_moe": 3}, ["cpu_moe = True", "n_cpu_moe = 3"]),
        ({"split_mode": "none", "tensor_split": "1"}, ["split_mode", "tensor_split"]),
        ({"split_mode": "columns"}, ["split_mode", "layer, row, none"]),
        ({"engine_version": "b5000", "n_cpu_moe": 3}, ["n_cpu_moe", "b6089", "b5000"]),
        ({"main_gpu": 1}, ["main_gpu", "1 GPUs"]),
        ({"tensor_split": "1,nan"}, ["tensor_split"]),
        ({"mmproj": "large"}, ["mmproj", "850MiB"]),
        ({"mmproj_offload": "off"}, ["mmproj_offload", "mmproj"]),
        ({"n_gpu_layer": 3}, ["n_gpu_layers"]),
        ({"flash_attn": "on"}, ["flash_attention"]),
    ],
)
def test_contradictions_name_both_settings_and_mistakes_the_nearest(chosen, fields):
    with pytest.raises(UsageError) as error:
        forecast("llama.cpp", replace(inputs(), settings=chosen))
    assert all(field in str(error.value) for field in fields)
    assert "\n" not in str(error.value)


def test_a_quantized_v_needs_flash_attention():
    off = replace(inputs(flash_attention="off"), kv_type="q8_0/q8_0")
    with pytest.raises(UsageError, match=r"kv_type q8_0/q8_0 .* flash_attention"):
        forecast("llama.cpp", off)
    assert forecast("llama.cpp", replace(off, kv_type="q8_0/f16")).fits
    assert forecast("llama.cpp", replace(off, settings={})).fits
    with pytest.raises(UsageError, match="no kv_type 'fp8'"):
        forecast("llama.cpp", replace(off, kv_type="fp8"))


def test_adapters_of_a_greater_rank_than_the_room_are_refused():
    for engine in ("vllm", "sglang"):
        with pytest.raises(UsageError, match="max_lora_rank is 8"):
            forecast(engine, inputs(max_lora_rank=8, extras=Extras(lora=Lora(1, 16))))


@pytest.mark.parametrize(
    ("change", "field"),
    [({"count": 0}, "count"), ({"rank": 10**6}, "rank"), ({"modules": ("k",)}, "'k'"), ({"modules": ()}, "modules")],
)
def test_adapters_that_make_no_sense_are_refused(change, field):
    with pytest.raises(UsageError, match=field):
        Lora(**change)


@pytest.mark.parametrize(
    ("program", "engine", "chosen"),
    [
        ("ollama", "llama.cpp", {"n_batch": 1024, "n_ubatch": 1024}),
        ("textgen", "llama.cpp", {"n_batch": 1024, "n_ubatch": 1024}),
        ("lm_studio", "llama.cpp", {}),
        ("tabbyapi", "exllamav3", {}),
    ],
)
def test_programs_that_run_another_engine_follow_its_rules_with_their_own_defaults(program, engine, chosen):
    base = inputs(engine_version="0.30.2")
    theirs = forecast(program, base)
    assert theirs.devices == forecast(engine, replace(base, settings=chosen)).devices
    assert theirs.engine == program
    assert theirs.reasons[-1].code == "shared-rules"
    # What is set by hand is not replaced.
    if engine == "llama.cpp":
        small = replace(base, settings={"n_ubatch": 64, "n_batch": 64})
        assert forecast(program, small).devices == forecast(engine, small).devices


def test_a_model_whose_inside_is_not_known_is_refused():
    for unknown in (replace(LLAMA, layers=()), replace(LLAMA, hidden=0)):
        with pytest.raises(NotSupportedError, match="not known"):
            replace(inputs(), architecture=unknown)
        with pytest.raises(NotSupportedError, match="not known"):
            Draft(unknown, SMALL)


def test_ollama_before_it_ran_llama_server_is_named():
    codes = [reason.code for reason in forecast("ollama", inputs(engine_version="0.12.6")).reasons]
    assert "engine-too-old" in codes


@given(
    engine=st.sampled_from([engine for engine in ENGINES if engine != "tgi"]), count=st.integers(1, 8),
    rank=st.sampled_from((4, 16, 64)), size=st.integers(0, 3 * GIB), head=st.booleans(),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_more_beside_a_model_never_needs_less(engine, count, rank, size, head):
    base = inputs(gpus=(48,))
    layer = replace(LLAMA, layers=(replace(LLAMA.layers[0], count=2),))
    extras = Extras(Lora(count, rank), Projector(size, "file"), Draft(layer, WeightBytes(size, "file"), head=head))
    without, with_them = (forecast(engine, replace(base, extras=one)).devices for one in (Extras(), extras))
    for end in ("low", "expected", "high"):
        before, after = (Range.total(device.needed for device in devices) for devices in (without, with_them))
        assert getattr(before, end) <= getattr(after, end)
    for reason in forecast(engine, replace(base, extras=extras)).reasons:
        assert reason.source
        assert "{" not in reason.text.render()
