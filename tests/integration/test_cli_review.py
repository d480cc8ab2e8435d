"""``ansambl review`` as users call it, on machines that nobody here owns."""

import json
import shlex

import pytest
from called_commands import called
from model_files import write_gguf

from ansambl.cli import main as program

LEVELS = ["wrong", "weak", "forgotten", "holds"]
YI = ("01-ai/Yi-34B", "--quantization", "f16", "--machine", "rtx-pro-6000-128g")


pytestmark = pytest.mark.usefixtures("own_folder")


def run(capsys, *arguments):
    return called(capsys, "review", *arguments)


def review(capsys, *arguments):
    code, out, err = run(capsys, *arguments, "--json")
    assert out, err
    return code, json.loads(out)


def codes(document, level=None):
    return {one["code"] for one in document["findings"] if level in {None, one["level"]}}


def words(document, code):
    return " ".join(one["text"] for one in document["findings"] if one["code"] == code)


def test_the_document_has_the_promised_keys_and_every_finding_its_source(capsys):
    code, found = review(capsys, "openai/gpt-oss-120b", "--machine", "rtx-pro-6000-128g", "--context", "131072")
    assert code == 0
    assert set(found) == {
        "model", "machine", "ui", "language", "engine", "verdict", "findings", "fit", "training", "commands",
    }  # fmt: skip
    assert (found["model"], found["machine"], found["ui"]) == ("openai/gpt-oss-120b", "rtx-pro-6000-128g", None)
    assert found["verdict"] == "holds-with-remarks"
    assert found["fit"]["fits"] is True
    assert all(one["code"] and one["text"] and one["source"] for one in found["findings"])
    levels = [LEVELS.index(one["level"]) for one in found["findings"]]
    assert levels == sorted(levels)


def test_seventy_billion_parameters_in_sixteen_bits_are_refused_on_96_gib_and_what_fits_is_named(capsys):
    code, found = review(
        capsys, "meta-llama/Llama-3.3-70B-Instruct", "--quantization", "float16", "--machine", "rtx-pro-6000-128g",
        "--ui", "open-webui", "--language", "ru",
    )  # fmt: skip
    assert code == 3
    assert found["verdict"] == "does-not-hold"
    assert codes(found, "wrong") == {"memory"}
    assert "Q8_0 with llama.cpp" in words(found, "instead")
    assert {"language-weak", "tuned-for-language", "newer-model"} <= codes(found, "weak")
    # Its quantization was stated, so nobody is asked for one; the engine was not.
    assert "quantization-open" not in codes(found)
    assert "engine-open" in codes(found, "forgotten")
    assert found["commands"][0].startswith("ansambl fit meta-llama/Llama-3.3-70B-Instruct --quantization Q8_0")


def test_the_licence_tells_its_threshold_and_what_must_be_shown(capsys):
    _, found = review(capsys, "meta-llama/Llama-3.3-70B-Instruct", "--machine", "rtx-pro-6000-128g")
    assert "700 million users" in words(found, "licence")
    assert "“Built with Llama”" in words(found, "licence")
    _, free = review(capsys, "openai/gpt-oss-20b", "--machine", "rtx-4080-64g")
    assert "licence" in codes(free, "holds")
    _, unknown = review(capsys, "saiga_nemo_12b", "--machine", "rtx-4080-64g")
    assert "licence-unknown" in codes(unknown, "forgotten")
    _, forbidden = review(capsys, "minimax-m2.7", "--machine", "rtx-4080-64g")
    assert "no commercial use" in words(forbidden, "licence")
    assert "licence" in codes(forbidden, "weak")


def test_the_original_weights_of_a_gated_owner_need_consent(capsys):
    _, found = review(
        capsys, "llama-3.1-8b-instruct", "--quantization", "BF16", "--engine", "vllm", "--machine", "rtx-4090-64g",
    )  # fmt: skip
    assert "meta-llama/Llama-3.1-8B-Instruct" in words(found, "gated")
    _, copied = review(
        capsys, "llama-3.1-8b-instruct", "--quantization", "Q4_K_M", "--engine", "llama.cpp", "--machine",
        "rtx-4090-64g",
    )  # fmt: skip
    assert "gated" not in codes(copied)


def test_a_base_model_is_told_with_the_variant_that_answers(capsys):
    _, found = review(capsys, *YI, "--language", "ru")
    assert "base-model" in codes(found, "weak")
    assert "yi-1.5-34b-chat" in words(found, "instruct-variant")
    # Sixteen bits are more than anybody notices.
    assert "many-bits" in codes(found, "weak")
    assert "4096" in words(found, "short-context")


def test_an_interface_that_runs_models_itself_takes_its_own_engine(capsys):
    code, found = review(capsys, *YI, "--ui", "lm-studio")
    assert code == 0
    assert found["engine"] == "lm_studio"
    assert "no front end" in words(found, "ui-own-engine")


@pytest.mark.parametrize("ui", ["lm-studio", "textgen"])
def test_it_cannot_front_another_engine(capsys, ui):
    code, found = review(capsys, *YI, "--engine", "vllm", "--ui", ui)
    assert code == 3
    assert "ui-no" in codes(found, "wrong")
    assert "Open WebUI" in words(found, "ui-instead")


def test_chat_ui_needs_an_address(capsys):
    _, found = review(capsys, "mixtral", "--machine", "rtx-4080-64g", "--ui", "chat-ui", "--quantization", "Q8_0")
    assert "OPENAI_BASE_URL" in words(found, "ui-address")
    assert "ui" in codes(found, "holds")
    # Its 8-bit files fit only with most experts in RAM: told, with what would be quicker.
    assert {"in-ram", "slow", "quicker"} <= codes(found, "weak")


def test_nobody_is_advised_files_that_crawl_where_quicker_ones_are_published(capsys):
    _, found = review(capsys, "t-pro-it-2.0", "--machine", "rtx-4090-64g", "--language", "ru")
    assert "slow" not in codes(found)
    assert found["fit"]["checkpoint"]["quantization"].startswith("Q4")
    assert any("models pull" in line for line in found["commands"])


def test_an_engine_made_for_safetensors_is_not_judged_with_gguf(capsys):
    for engine, machine in (("sglang", "dgx-spark"), ("vllm", "mac-m4-max-128g")):
        _, found = review(capsys, "qwen3.5-27b", "--machine", machine, "--engine", engine)
        assert found["fit"]["checkpoint"]["format"] == "safetensors"


def test_a_context_that_nobody_asked_for_is_no_reason_to_refuse(capsys):
    asked = ("llama-3.1-8b-instruct", "--quantization", "BF16", "--engine", "vllm", "--machine", "rtx-4090-64g")
    code, shorter = review(capsys, *asked)
    assert code == 0
    assert 8192 <= shorter["fit"]["context"] < 32768
    code, refused = review(capsys, *asked, "--context", "32768")
    assert code == 3
    assert "with at most" in words(refused, "smaller-context")


def test_thoughts_of_a_reasoning_model_are_shown_or_unknown(capsys):
    model = ("openai/gpt-oss-20b", "--machine", "rtx-4090-64g")
    _, known = review(capsys, *model, "--ui", "open-webui")
    assert "ui-thoughts" in codes(known, "holds")
    _, unknown = review(capsys, *model, "--ui", "textgen")
    assert "ui-thoughts" in codes(unknown, "weak")


def test_a_version_that_is_too_old_does_not_hold_and_the_right_one_is_named(capsys):
    asked = ("openai/gpt-oss-120b", "--machine", "rtx-pro-6000-128g", "--engine", "vllm")
    code, found = review(capsys, *asked, "--set", "engine_version=0.9.0")
    assert code == 3
    assert "0.10.1" in words(found, "too-old")
    assert "GGUF" not in words(found, "too-old")
    assert found["fit"] is None
    code, open_version = review(capsys, *asked)
    assert code == 0
    assert "0.10.1" in words(open_version, "engine-version")
    _, stated = review(capsys, *asked, "--set", "engine_version=0.33.0")
    assert "engine-version" not in codes(stated)


def test_fp8_on_ampere_saves_memory_and_no_work(capsys):
    _, found = review(capsys, "qwen3.5-27b", "--quantization", "FP8", "--engine", "vllm", "--machine", "dual-3090-64g")
    assert "memory is saved, not work" in words(found, "weight-only")


def test_an_engine_that_does_not_fit_and_one_that_does(capsys):
    code, found = review(capsys, "openai/gpt-oss-120b", "--machine", "rtx-4090-64g", "--engine", "vllm")
    assert code == 3
    # llama.cpp keeps experts in RAM.
    assert "MXFP4 with llama.cpp" in words(found, "instead")
    assert "experts" in words(found, "instead")
    assert "--engine llama.cpp" in found["commands"][0]


def test_a_context_beyond_the_model_and_what_would_fit(capsys):
    code, found = review(
        capsys, "qwen2.5-72b-instruct", "--machine", "rtx-pro-6000-128g", "--engine", "vllm", "--context", "200000"
    )
    assert code == 3
    assert "32768" in words(found, "context-beyond-model")
    assert "smaller-context" in codes(found, "weak")
    assert "fp8" in words(found, "smaller-kv")


def test_models_that_are_no_chat_models(capsys):
    code, found = review(capsys, "bge-m3", "--machine", "rtx-4080-64g", "--ui", "open-webui")
    assert code == 3
    assert "not-chat" in codes(found, "wrong")
    code, alone = review(capsys, "openai/whisper-large-v3", "--machine", "rtx-4080-64g")
    assert code == 0
    assert "not-chat" in codes(alone, "weak")
    assert not codes(alone) & {"speed", "slow", "ui-open", "language-open", "newer-model"}
    assert alone["training"] == []


def test_languages(capsys):
    machine = ("--machine", "dual-3090-64g")
    _, tuned = review(capsys, "t-pro-it-2.0", *machine, "--language", "Russian")
    assert tuned["language"] == "ru"
    assert "language" in codes(tuned, "holds")
    assert "tuned-for-language" not in codes(tuned)
    _, unknown = review(capsys, "mixtral", *machine, "--language", "ru-RU")
    assert "try before you rely on it" in words(unknown, "language-unknown")
    assert "t-pro" in words(unknown, "tuned-for-language")
    _, open_language = review(capsys, "mixtral", *machine)
    assert "language-open" in codes(open_language, "forgotten")


def test_few_bits_are_told_with_what_they_cost(capsys):
    _, found = review(capsys, "llama-3.1-8b-instruct", "--quantization", "Q2_K", "--machine", "rtx-4080-64g")
    assert "points" in words(found, "few-bits")


def test_pictures_need_a_projector_with_llama_cpp(capsys):
    _, found = review(capsys, "Qwen/Qwen3-VL-8B-Instruct", "--machine", "rtx-4080-64g", "--engine", "llama.cpp")
    assert "projector" in codes(found, "forgotten")
    assert "pictures" in words(found, "abilities")


def test_training_is_forecast_in_both_ways(capsys):
    _, found = review(capsys, "llama-3.1-8b-instruct", "--machine", "rtx-4090-64g")
    lora, qlora = found["training"]
    assert (lora["method"], qlora["method"]) == ("lora", "qlora")
    assert qlora["fits"] is True
    assert qlora["devices"][0]["needed_bytes"] < lora["devices"][0]["needed_bytes"]
    _, none = review(capsys, "llama-3.1-8b-instruct", "--machine", "cpu-7950x-128g")
    assert [one["fits"] for one in none["training"]] == [False]


def test_a_machine_without_a_gpu_and_an_engine_that_needs_one(capsys):
    code, found = review(capsys, "t-pro-it-2.0", "--machine", "cpu-7950x-128g", "--engine", "sglang")
    assert code == 3
    assert "sglang is planned for GPUs" in words(found, "unsupported")
    assert "llama.cpp" in words(found, "other-engine")
    assert "vLLM" not in words(found, "other-engine")


def test_vllm_on_a_processor_is_judged_by_its_own_build_there(capsys):
    code, found = review(capsys, "t-pro-it-2.0", "--machine", "cpu-7950x-128g", "--engine", "vllm")
    assert code == 3
    # Its build for the processor computes in 32 bits: twice the 61 GiB of the files, and they do not fit 128 GB.
    assert "does not fit" in words(found, "memory")


def test_a_model_too_large_for_any_memory(capsys):
    code, found = review(capsys, "moonshotai/Kimi-K2.6", "--machine", "rtx-4090-64g")
    assert code == 3
    assert "memory" in codes(found, "wrong")


def test_files_of_the_user(capsys, tmp_path):
    path = tmp_path / "mine.gguf"
    fields = {
        "general.architecture": "llama", "general.name": "Mine", "general.file_type": 7, "llama.block_count": 2,
        "llama.embedding_length": 256, "llama.context_length": 2048, "llama.attention.head_count": 4,
        "llama.feed_forward_length": 512,
    }  # fmt: skip
    _write(path, fields)
    code, found = review(capsys, str(path), "--machine", "rtx-4080-64g", "--language", "ru", "--ui", "open-webui")
    assert code == 0
    assert {"kind-unknown", "licence-unknown"} <= codes(found, "forgotten")
    assert {"language-unknown"} <= codes(found, "weak")
    assert "memory" in codes(found, "holds")
    assert [one["fits"] for one in found["training"]] == [False]


def _write(path, fields):
    tensors = {
        "token_embd.weight": ("Q8_0", (256, 512)), "output.weight": ("Q8_0", (256, 512)),
        "output_norm.weight": ("F32", (256,)),
    }  # fmt: skip
    for layer in range(2):
        tensors |= {
            f"blk.{layer}.attn_q.weight": ("Q8_0", (256, 256)), f"blk.{layer}.attn_k.weight": ("Q8_0", (256, 256)),
            f"blk.{layer}.attn_v.weight": ("Q8_0", (256, 256)), f"blk.{layer}.ffn_up.weight": ("Q8_0", (256, 512)),
        }  # fmt: skip
    write_gguf(path, fields, tensors)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("mixtrall",), "mixtral"),
        (("t-pro-it-2.0", "--ui", "open-web"), "open-webui"),
        (("t-pro-it-2.0", "--language", "klingon"), "klingon"),
        (("t-pro-it-2.0", "--language", ""), "--language ru"),
        (("t-pro-it-2.0", "--engine", "vlm"), "vllm"),
        (("t-pro-it-2.0", "--quantization", "Q9"), "Q9"),
        (("t-pro-it-2.0", "--context", "0"), "context"),
        (("t-pro-it-2.0", "--context", "10000000"), "40960"),
        (("t-pro-it-2.0", "--set", "nonsense"), "KEY=VALUE"),
        (("nowhere.gguf",), "nowhere.gguf"),
    ],
)
def test_bad_input_is_one_line_that_names_it(capsys, arguments, named):
    code, out, err = run(capsys, *arguments, "--machine", "rtx-4080-64g")
    assert code in {1, 2}
    assert out == ""
    assert named in err
    assert err.count("\n") == 1


def test_the_text_names_the_levels_and_commands_that_exist(capsys):
    code, out, _ = run(capsys, *YI, "--ui", "lm-studio", "--language", "ru")
    assert code == 0
    assert out.splitlines()[0].endswith("it holds, with remarks")
    places = [out.index(title) for title in ("Weak", "Forgotten", "Holds", "Training a LoRA adapter", "Next")]
    assert places == sorted(places)
    lines = [line.split() for line in out.splitlines() if line.startswith("  ansambl ")]
    assert {line[1] for line in lines} >= {"fit", "command", "compat", "plan"}


def test_every_proposed_command_is_understood(capsys):
    _, found = review(capsys, "t-lite-it-2.1", "--machine", "rtx-4080-64g", "--ui", "chat-ui", "--language", "ru",
                      "--parallel", "2")  # fmt: skip
    for line in found["commands"]:
        words_of = shlex.split(line)
        assert words_of[0] == "ansambl"
        if words_of[1] in {"fit", "command", "compat"}:
            assert program.main(words_of[1:]) == 0, line
            assert capsys.readouterr().out
    assert any(line.startswith("ansambl models pull t-tech/") for line in found["commands"])


def test_proposed_commands_keep_what_was_stated(capsys):
    _, found = review(capsys, "t-lite-it-2.1", "--machine", "rtx-4080-64g", "--quantization", "Q8_0", "--kv-type",
                      "q8_0", "--set", "n_ubatch=1024")  # fmt: skip
    kept = [line for line in found["commands"] if line.split()[1] in {"fit", "command"}]
    assert len(kept) == 2
    assert all("--kv-type q8_0 --set n_ubatch=1024" in line for line in kept)
    assert program.main([*shlex.split(kept[0])[1:], "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["devices"] == found["fit"]["devices"]
