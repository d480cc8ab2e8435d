"""Judging: the answers that the project promises, on the shipped facts, and the rules on small facts of our own."""

from __future__ import annotations

import dataclasses

import pytest

from ansambl.domain.compatibility import CompatibilityFacts, CompatibilityRow, KnownEngine, KnownUi, Verdict
from ansambl.domain.device import DeviceKind, DeviceModel
from ansambl.domain.errors import UsageError
from ansambl.engines.compatibility import compatibility_rows, read_selector
from ansambl.hardware.catalog import device_models
from ansambl.planner.compatibility import find_engine, find_ui, judge, plain_format

FACTS = compatibility_rows()
DEVICES = device_models()
PRO = DEVICES["rtx-pro-6000-blackwell"]
GPT_OSS = {"format": "safetensors", "quantization": "MXFP4", "family": "gpt_oss"}


def cuda(capability: str | None) -> DeviceModel:
    return DeviceModel("a-card", "A card", "nvidia", capability=capability)


def codes(judgement) -> list[str]:
    return [one.code for one in judgement.reasons]


def words(judgement) -> str:
    return " | ".join(str(one.text) for one in judgement.reasons)


class TestPromisedAnswers:
    def test_mxfp4_on_a_blackwell_card_with_vllm_from_0_10_1(self):
        found = judge(FACTS, "vllm", device=PRO, **GPT_OSS)
        assert (found.verdict, found.since) == (Verdict.YES, "0.10.1")
        assert "vLLM runs on CUDA 12.0 from version 0.9.2" in words(found)
        assert all(one.source for one in found.reasons)

    @pytest.mark.parametrize("version", ["0.9", "0.9.2", "0.10.0", "0.10.1rc1"])
    def test_earlier_versions_of_vllm_do_not(self, version: str):
        found = judge(FACTS, "vllm", version=version, device=PRO, **GPT_OSS)
        assert (found.verdict, found.since) == (Verdict.NO, "0.10.1")
        assert f"vLLM {version} is too old for MXFP4" in words(found)

    def test_the_binaries_for_the_card_came_in_0_9_2(self):
        assert judge(FACTS, "vllm", version="0.9.1", device=PRO).verdict is Verdict.NO
        assert judge(FACTS, "vllm", version="0.9.2", device=PRO).verdict is Verdict.YES

    @pytest.mark.parametrize("version", ["0.10.1", "0.10.1.post1", "0.33.0", None])
    def test_later_versions_of_vllm_do(self, version: str | None):
        assert judge(FACTS, "vllm", version=version, device=PRO, **GPT_OSS).verdict is Verdict.YES

    def test_gpt_oss_on_exllamav3_since_1_0_0_and_only_as_exl3(self):
        found = judge(FACTS, "exllamav3", format="exl3", family="gpt_oss", device=PRO)
        assert (found.verdict, found.since) == (Verdict.YES, "1.0.0")
        assert judge(FACTS, "tabbyapi", device=PRO, **GPT_OSS).verdict is Verdict.NO
        assert judge(FACTS, "exllamav3", format="gguf", family="gpt_oss").verdict is Verdict.NO
        assert judge(FACTS, "exllamav3", version="0.0.43", format="exl3", family="gpt_oss").verdict is Verdict.NO

    def test_gpt_oss_on_tgi_never(self):
        found = judge(FACTS, "tgi", family="gpt_oss")
        assert (found.verdict, found.since) == (Verdict.NO, None)
        assert "maintenance" in codes(found)

    def test_fp8_on_a_3090_saves_memory_only_and_its_kv_cache_cannot_be_e4m3(self):
        card = DEVICES["rtx-3090"]
        found = judge(FACTS, "vllm", format="safetensors", quantization="FP8", device=card)
        assert found.verdict is Verdict.YES
        assert "weight-only" in codes(found)
        assert "Marlin" in words(found)
        assert judge(FACTS, "vllm", quantization="FP8", device=card, kv_type="fp8_e4m3").verdict is Verdict.NO
        newer = judge(FACTS, "vllm", quantization="FP8", device=DEVICES["rtx-4090"], kv_type="fp8_e4m3")
        assert newer.verdict is Verdict.YES
        assert "weight-only" not in codes(newer)

    @pytest.mark.parametrize(("capability", "verdict"), [
        ("7.0", Verdict.NO), ("7.5", Verdict.YES), ("8.6", Verdict.YES), ("12.0", Verdict.YES),
    ])  # fmt: skip
    def test_awq_needs_turing(self, capability: str, verdict: Verdict):
        assert judge(FACTS, "vllm", quantization="awq-4bit", device=cuda(capability)).verdict is verdict

    def test_mxfp4_on_rdna3_with_vllm_is_slow(self):
        for name in ("rx-7900-xtx", "strix-halo"):
            assert judge(FACTS, "vllm", device=DEVICES[name], **GPT_OSS).verdict is Verdict.SLOW
        assert judge(FACTS, "vllm", device=DEVICES["mi300x"], **GPT_OSS).verdict is Verdict.YES

    @pytest.mark.parametrize("engine", ["llama.cpp", "lm_studio", "ollama"])
    def test_engines_of_a_mac(self, engine: str):
        found = judge(FACTS, engine, format="gguf", quantization="Q4_K_M", family="llama", device=DEVICES["m4-max"])
        assert found.verdict is Verdict.YES

    def test_vllm_on_a_mac_needs_its_plugin_and_exllama_does_not_run_there(self):
        assert "metal-plugin" in codes(judge(FACTS, "vllm", device=DEVICES["m4-max"]))
        assert judge(FACTS, "exllamav3", device=DEVICES["m4-max"]).verdict is Verdict.NO

    def test_pascal_with_vllm_no_with_llama_cpp_and_ollama_yes(self):
        pascal = cuda("6.1")
        assert judge(FACTS, "vllm", device=pascal).verdict is Verdict.NO
        assert judge(FACTS, "sglang", device=pascal).verdict is Verdict.NO
        assert judge(FACTS, "llama.cpp", device=pascal).verdict is Verdict.YES
        assert judge(FACTS, "ollama", device=pascal).verdict is Verdict.YES

    def test_gguf_left_the_core_of_vllm_in_0_24(self):
        gguf = {"format": "gguf", "quantization": "Q4_K_M", "device": DEVICES["rtx-4090"]}
        verdicts = {
            version: judge(FACTS, "vllm", version=version, **gguf).verdict
            for version in ("0.5.4", "0.5.5", "0.23.0", "0.24.0", "0.33.0")
        }
        assert verdicts == {
            "0.5.4": Verdict.NO, "0.5.5": Verdict.YES, "0.23.0": Verdict.YES, "0.24.0": Verdict.NO,
            "0.33.0": Verdict.NO,
        }  # fmt: skip
        assert "gguf-plugin" in codes(judge(FACTS, "vllm", **gguf))

    def test_exl2_left_tabbyapi(self):
        assert judge(FACTS, "tabbyapi", format="exl2").verdict is Verdict.NO

    @pytest.mark.parametrize(("build", "verdict"), [
        ("b6095", Verdict.NO), ("b6096", Verdict.YES), ("7000", Verdict.YES),
    ])  # fmt: skip
    def test_llama_cpp_counts_builds(self, build: str, verdict: Verdict):
        found = judge(FACTS, "llama.cpp", version=build, format="gguf", quantization="MXFP4", family="gpt-oss")
        assert (found.verdict, found.since) == (verdict, "b6096")

    def test_the_bundled_llama_cpp_has_the_same_rows_on_processors_only(self):
        rest = {"format": "gguf", "quantization": "MXFP4", "family": "gpt_oss"}
        cpu = DeviceModel("ram", "RAM", "amd", kind=DeviceKind.RAM)
        assert judge(FACTS, "llama.cpp-bundled", version="2026.10.11549", device=cpu, **rest).verdict is Verdict.YES
        assert judge(FACTS, "llama.cpp-bundled", device=PRO, **rest).verdict is Verdict.NO

    def test_open_webui_talks_to_all_and_lm_studio_only_to_itself(self):
        for engine in FACTS.engines:
            assert judge(FACTS, engine, ui="open-webui").verdict is Verdict.YES
            found = judge(FACTS, engine, ui="LM Studio").verdict
            assert found is (Verdict.YES if engine == "lm_studio" else Verdict.NO)
        assert judge(FACTS, "textgen", ui="textgen").verdict is Verdict.YES
        assert judge(FACTS, "vllm", ui="textgen").verdict is Verdict.NO

    def test_what_no_source_says_is_unknown(self):
        found = judge(FACTS, "tgi", ui="chat-ui")
        assert found.verdict is Verdict.UNKNOWN
        assert "no source says that HF chat-ui can talk to TGI" in words(found)
        assert judge(FACTS, "vllm", family="a-family-of-next-year", device=PRO).verdict is Verdict.UNKNOWN
        assert judge(FACTS, "vllm", device=cuda(None)).verdict is Verdict.UNKNOWN
        assert judge(FACTS, "ollama").verdict is Verdict.UNKNOWN


def facts(*rows: CompatibilityRow) -> CompatibilityFacts:
    engines = {"e": KnownEngine("e", "Engine", "2.0", ("the-e",)), "f": KnownEngine("f", "Other", "b9", builds=True)}
    return CompatibilityFacts(engines, {"u": KnownUi("u", "Interface")}, rows, {"new3": "new_3"})


def row(verdict: str = "yes", **fields) -> CompatibilityRow:
    device = tuple(map(read_selector, fields.pop("device", ())))
    return CompatibilityRow("e", Verdict(verdict), "a source", device=device, **fields)


class TestRules:
    def test_the_more_specific_fact_counts(self):
        known = facts(
            row(family=("new_3",), since="1.0"), row(family=("new_3",), device=("cuda>=9.0",), since="1.5"),
        )  # fmt: skip
        assert judge(known, "e", family="new3").since == "1.0"
        assert judge(known, "e", family="new3", device=cuda("8.0")).verdict is Verdict.UNKNOWN
        with_device = dataclasses.replace(known, rows=(*known.rows, row(device=("cuda",))))
        assert judge(with_device, "e", family="new3", device=cuda("8.0")).since == "1.0"
        assert judge(with_device, "e", family="new3", device=cuda("9.0")).since == "1.5"

    def test_a_bad_fact_about_one_device_says_nothing_when_no_device_is_named(self):
        known = facts(row(quantization=("fp8",)), row("no", quantization=("fp8",), device=("cuda<8.0",)))
        assert judge(known, "e", quantization="fp8").verdict is Verdict.YES

    def test_no_beats_unknown_beats_slow_beats_yes(self):
        good, slow = row(format=("gguf",)), row("slow", device=("metal",))
        bad = row("no", family=("old",))
        mac = DeviceModel("mac", "Mac", "apple")
        known = facts(good, slow, bad)
        assert judge(known, "e", format="gguf").verdict is Verdict.YES
        assert judge(known, "e", format="gguf", device=mac).verdict is Verdict.SLOW
        assert judge(known, "e", format="gguf", device=mac, family="x").verdict is Verdict.UNKNOWN
        found = judge(known, "e", format="gguf", device=mac, family="old", ui="u")
        assert found.verdict is Verdict.NO
        assert codes(found) == ["unsupported", "unknown", "slow", "works"]

    def test_older_than_anybody_looked_is_unknown_not_no(self):
        known = facts(row(family=("new_3",), seen="1.4"))
        assert judge(known, "e", version="1.4", family="new3").verdict is Verdict.YES
        assert judge(known, "e", version="1.3", family="new3").verdict is Verdict.UNKNOWN
        assert judge(known, "e", family="new3").since is None

    def test_a_window_ends(self):
        known = facts(row(format=("gguf",), since="1.0", until="2.0"))
        assert [judge(known, "e", version=one, format="gguf").verdict.value for one in ("0.9", "1.9", "2.0")] == [
            "no", "yes", "no",
        ]  # fmt: skip
        found = judge(known, "e", format="gguf")
        assert (found.verdict, codes(found)) == (Verdict.NO, ["removed"])

    def test_since_is_the_latest_of_what_is_needed(self):
        known = facts(row(format=("gguf",), since="1.10"), row(family=("new_3",), since="1.9"))
        assert judge(known, "e", format="gguf", family="new_3").since == "1.10"

    @pytest.mark.parametrize(("name", "words_"), [("engin", "nearest are: e"), ("zzz", "there is no engine 'zzz'")])
    def test_an_unknown_engine_is_told_in_one_line(self, name: str, words_: str):
        with pytest.raises(UsageError) as caught:
            judge(facts(), name)
        assert words_ in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_unknown_interface_and_a_wrong_version(self):
        with pytest.raises(UsageError, match="open-webui"):
            find_ui(FACTS, "open-webu")
        with pytest.raises(UsageError, match="write it like b9"):
            judge(facts(), "f", version="0.9")

    @pytest.mark.parametrize("name", ["llama.cpp", "LLAMA.CPP", "llama_cpp", "llama-server"])
    def test_names_are_found_however_they_are_written(self, name: str):
        assert find_engine(FACTS, name).name == "llama.cpp"

    def test_an_answer_is_remembered(self):
        first = judge(FACTS, "vllm", device=PRO, **GPT_OSS)
        again = judge(FACTS, "vllm", device=dataclasses.replace(PRO, title="the same kind"), **GPT_OSS)
        assert first is again


@pytest.mark.parametrize(("given", "plain"), [
    (("gguf", "Q4_K_M"), ("gguf", "gguf-quants")), ((None, "UD-Q4_K_XL"), ("gguf", "gguf-quants")),
    (("GGUF", "IQ4_XS"), ("gguf", "gguf-quants")), (("gguf", "MXFP4"), ("gguf", "mxfp4")),
    (("safetensors", "awq-4bit"), ("safetensors", "awq")), (("safetensors", "gptq_marlin"), ("safetensors", "gptq")),
    (("safetensors", "bitsandbytes-4bit"), ("safetensors", "bnb")), ((None, "bfloat16"), (None, "bf16")),
    (("safetensors", "exl3"), ("exl3", None)), (("exl3", "4.0bpw"), ("exl3", None)), (("mlx", "4bit"), ("mlx", None)),
    (("safetensors", "compressed-tensors-8bit"), ("safetensors", "compressed-tensors")),
    (("safetensors", "something-new"), ("safetensors", "something-new")), ((None, None), (None, None)),
])  # fmt: skip
def test_the_many_spellings_of_formats(given, plain):
    assert plain_format(*given) == plain


def test_the_interfaces_have_names():
    assert tuple(FACTS.uis) == ("open-webui", "chat-ui", "lm-studio", "textgen")
