"""``ansambl command`` as users call it."""

import json
import re
import shlex
from pathlib import Path

import pytest
from called_commands import called
from model_files import tiny_gemma

GPT_OSS = ("command", "openai/gpt-oss-120b", "--context", "32768")


pytestmark = pytest.mark.usefixtures("own_folder")


def test_standard_output_is_the_command_and_nothing_else(capsys):
    code, out, err = called(capsys, *GPT_OSS, "--machine", "rtx-pro-6000-128g", "--engine", "vllm")
    assert code == 0
    assert len(out.splitlines()) == 1
    words = shlex.split(out)
    assert words[1:4] == ["vllm", "serve", "openai/gpt-oss-120b"]
    assert "--max-model-len" in words
    assert "VLLM_API_KEY" in err
    assert "0.32.0" in err


def test_what_the_planner_chose_stands_in_the_command(capsys):
    """24 GB of GPU do not hold gpt-oss-120b: some experts go to RAM, as many as fit says."""
    code, out, _ = called(capsys, *GPT_OSS, "--machine", "rtx-4090-64g", "--json")
    assert code == 0
    answer = json.loads(out)
    assert answer["engine"] == "llama.cpp"
    words = answer["commands"][0]
    _, fitted, _ = called(capsys, "fit", *GPT_OSS[1:], "--machine", "rtx-4090-64g", "--engine", "llama.cpp", "--json")
    assert json.loads(fitted)["fits"]
    chosen = answer["settings"]["n_cpu_moe"]
    assert 0 < chosen < 36
    assert words[words.index("--n-cpu-moe") + 1] == str(chosen)
    assert shlex.split(answer["shell"])[len(answer["environment"]) :] == words


def test_what_does_not_fit_is_printed_with_a_warning(capsys):
    code, out, err = called(
        capsys, "command", "meta-llama/Llama-3.3-70B-Instruct", "--quantization", "BF16", "--engine", "vllm",
        "--machine", "rtx-pro-6000-128g",
    )  # fmt: skip
    assert code == 3
    assert "vllm serve" in out
    assert "does not fit" in err


def test_what_cannot_work_is_refused(capsys):
    code, out, err = called(capsys, *GPT_OSS, "--machine", "rtx-pro-6000-128g", "--engine", "tabbyapi")
    assert (code, out) == (3, "")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "named"),
    [("gpu_memory_utilisation=0.9", "gpu_memory_utilization"),
     ("gpu_memory_utilization=lots", "gpu_memory_utilization"),
     ("enforce_eager", "KEY=VALUE"), ("attention_backend=", "attention_backend")],
)  # fmt: skip
def test_settings_that_make_no_sense(capsys, given, named):
    code, out, err = called(capsys, *GPT_OSS, "--machine", "rtx-pro-6000-128g", "--engine", "vllm", "--set", given)
    assert (code, out) == (2, "")
    assert named in err
    assert len(err.splitlines()) == 1


def test_an_unknown_engine_offers_the_nearest(capsys):
    code, _, err = called(capsys, *GPT_OSS, "--engine", "olama")
    assert code == 2
    assert "ollama" in err


def test_settings_of_the_command_line_only_reach_it(capsys):
    code, out, _ = called(
        capsys, *GPT_OSS, "--machine", "rtx-pro-6000-128g", "--engine", "vllm", "--set", "async_scheduling=off",
        "--set", "gpu_memory_utilization=0.95",
    )  # fmt: skip
    assert code == 0
    assert "--no-async-scheduling" in out
    assert "--gpu-memory-utilization 0.95" in out


def test_ollama_gets_a_file_and_three_commands(capsys):
    code, out, err = called(capsys, *GPT_OSS, "--machine", "rtx-pro-6000-128g", "--engine", "ollama", "--json")
    assert code == 0
    assert not err
    answer = json.loads(out)
    assert [line[:2] for line in answer["commands"]] == [["ollama", "serve"], ["ollama", "create"], ["ollama", "run"]]
    assert "PARAMETER num_ctx 32768" in answer["files"]["Modelfile"]
    assert answer["key_variable"] is None


def test_a_file_of_ones_own_with_an_adapter(capsys, tmp_path):
    path = tmp_path / "my model.gguf"
    tiny_gemma(path)
    adapter = tmp_path / "style.gguf"
    adapter.write_bytes(b"x" * 4096)
    code, out, err = called(
        capsys, "command", str(path), "--machine", "cpu-7950x-128g", "--context", "2048", "--engine", "llama.cpp",
        "--set", f"lora={adapter}", "--json",
    )  # fmt: skip
    assert (code, err) == (0, "")
    answer = json.loads(out)
    words = answer["commands"][0]
    assert words[words.index("--model") + 1] == str(path)
    # Loaded and used by nobody unasked, and the notes say how a request asks.
    assert words[words.index("--lora-scaled") + 1] == f"{adapter}:0"
    assert answer["settings"]["lora"] == 4096
    assert [one for one in answer["notes"] if "lora" in one] == [one for one in answer["notes"] if '"lora": [' in one]
    code, out, err = called(
        capsys, "command", str(path), "--machine", "cpu-7950x-128g", "--context", "2048", "--set", "draft=other.gguf",
        "--engine", "llama.cpp",
    )  # fmt: skip
    assert code == 0
    assert "--model-draft other.gguf" in out
    assert "not counted" in err


def test_help(capsys):
    code, out, _ = called(capsys, "command", "--help")
    assert code == 0
    assert "--set" in out


@pytest.mark.parametrize(("engine", "form"), [("sglang", "safetensors"), ("transformers", "safetensors"),
                                              ("textgen", "gguf"), ("tgi", "safetensors")])  # fmt: skip
def test_an_engine_gets_the_format_that_it_runs_best(capsys, engine, form):
    code, out, _ = called(capsys, "command", "Qwen/Qwen3-8B", "--machine", "h100-80g", "--engine", engine, "--json")
    assert code == 0
    assert json.loads(out)["checkpoint"]["format"] == form


PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "take-a-command-elsewhere.md"
EXAMPLES = re.findall(r"^\$ (ansambl command .*)\n(.*)\n```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize(("typed", "printed"), EXAMPLES)
def test_the_page_shows_what_the_command_prints(capsys, typed, printed):
    code, out, _ = called(capsys, *shlex.split(typed)[1:])
    assert (code, out) == (0, printed + "\n")


def test_the_page_has_examples_and_names_every_engine():
    from ansambl.engines.registry import engine_lines

    assert len(EXAMPLES) == 2
    text = PAGE.read_text(encoding="utf-8")
    assert [name for name in engine_lines() if f"`{name}`" not in text] == []
