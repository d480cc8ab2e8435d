"""``ansambl compat`` as scripts and people meet it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from model_files import write_gguf

from ansambl.cli import main as program

pytestmark = pytest.mark.usefixtures("own_folder")


def ask(capsys, *arguments: str) -> tuple[int, dict]:
    code = program.main(["compat", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def rows_of(document: dict, **wanted: str) -> list[dict]:
    return [row for row in document["rows"] if all(row[key] == value for key, value in wanted.items())]


def test_a_model_on_a_machine_as_json(capsys):
    code, document = ask(capsys, "openai/gpt-oss-120b", "--machine", "rtx-pro-6000-128g")
    assert code == 0
    assert (document["model"], document["machine"]) == ("openai/gpt-oss-120b", "rtx-pro-6000-128g")
    (mxfp4,) = rows_of(document, engine="vllm", format="safetensors", quantization="MXFP4")
    assert (mxfp4["verdict"], mxfp4["since"]) == ("yes", "0.10.1")
    assert mxfp4["device"] == "rtx-pro-6000-blackwell"
    assert set(mxfp4) == {"engine", "format", "quantization", "device", "ui", "verdict", "since", "reasons"}
    assert all(set(one) == {"code", "text", "source"} and all(one.values()) for one in mxfp4["reasons"])
    (exl3,) = rows_of(document, engine="exllamav3", format="exl3")
    assert (exl3["verdict"], exl3["since"]) == ("yes", "1.0.0")
    assert {row["verdict"] for row in rows_of(document, engine="tgi")} == {"no"}


def test_an_old_version_is_refused_with_3(capsys):
    arguments = ("gpt-oss-120b", "--machine", "rtx-pro-6000-128g", "--engine", "vllm", "--set")
    code, document = ask(capsys, *arguments, "engine_version=0.9")
    assert code == 3
    assert {row["verdict"] for row in document["rows"]} == {"no"}
    code, document = ask(capsys, *arguments, "engine_version=0.10.1")
    assert code == 0
    assert [row["verdict"] for row in rows_of(document, format="safetensors")] == ["yes"]


def test_the_matrix_without_a_model(capsys):
    code, document = ask(capsys, "--machine", "mac-m4-max-128g")
    assert (code, document["model"]) == (0, None)
    on_the_gpu = {row["engine"]: row["verdict"] for row in rows_of(document, device="m4-max")}
    assert on_the_gpu["llama.cpp"] == on_the_gpu["ollama"] == on_the_gpu["lm_studio"] == "yes"
    assert on_the_gpu["exllamav3"] == "no"
    assert {row["ui"] for row in document["rows"] if row["device"] is None} == {
        "open-webui", "chat-ui", "lm-studio", "textgen",
    }  # fmt: skip


def test_this_machine_is_the_default(capsys):
    code, document = ask(capsys)
    assert code == 0
    assert document["rows"]


def test_an_interface_is_judged_with_the_rest(capsys):
    code, document = ask(capsys, "qwen3-32b", "--machine", "rtx-4090-64g", "--engine", "vllm", "--ui", "lm-studio")
    assert code == 3
    assert {row["ui"] for row in document["rows"]} == {"lm-studio"}


def test_a_file_of_weights(capsys, gguf_file: Path):
    code, document = ask(capsys, str(gguf_file), "--machine", "rtx-4090-64g", "--engine", "llama.cpp")
    assert code == 0
    (found,) = document["rows"]
    assert (found["format"], found["verdict"]) == ("gguf", "yes")


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    fields = {
        "general.architecture": "llama", "llama.block_count": 2, "llama.embedding_length": 64,
        "llama.attention.head_count": 4, "llama.attention.head_count_kv": 2, "llama.context_length": 4096,
        "llama.feed_forward_length": 128, "llama.vocab_size": 100, "general.file_type": 1,
    }  # fmt: skip
    path = tmp_path / "tiny.gguf"
    write_gguf(path, fields, {"token_embd.weight": ("F16", (64, 100))})
    return path


@pytest.mark.parametrize(("arguments", "sentence"), [
    (["gptoss-20"], "gpt-oss-20b"),
    (["nobody/nothing-at-all-9000"], "catalog has no model"),
    (["x" * 5000], "catalog has no model"),
    ([""], "catalog has no model"),
    (["--engine", ""], "there is no engine"),
    (["--ui", ""], "there is no user interface"),
    (["gpt-oss-20b", "--engine", "vllm", "--set", "engine_version="], "write it like"),
    (["--engine", "vlmm"], "there is no engine 'vlmm'; the nearest are: vllm"),
    (["--ui", "openwebu"], "the nearest are: open-webui"),
    (["gpt-oss-20b", "--engine", "vllm", "--set", "engine_version=new"], "write it like"),
    (["gpt-oss-20b", "--engine", "llama.cpp", "--set", "engine_version=0.9"], "write it like b"),
    (["gpt-oss-20b", "--set", "engine_version=0.9"], "--engine NAME"),
    (["gpt-oss-20b", "--set", "n_ubatch=512"], "no setting 'n_ubatch'"),
    (["--machine", "no-such-machine"], "there is no machine"),
])  # fmt: skip
def test_bad_usage_is_one_line_and_2(capsys, arguments: list[str], sentence: str):
    assert program.main(["compat", *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert sentence in printed.err


def test_for_people(capsys):
    assert program.main(["compat", "gpt-oss-120b", "--machine", "rtx-pro-6000-128g"]) == 0
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    vllm = next(line for line in lines if line.startswith("vLLM "))
    assert "safetensors MXFP4" in vllm
    assert "yes, from 0.10.1" in vllm
    assert any("TGI does not run models of the family gpt_oss" in line for line in lines)
    assert "not a no" in printed.err


def test_the_matrix_for_people_fits_80_letters(capsys, monkeypatch: pytest.MonkeyPatch):
    from ansambl.cli import output

    monkeypatch.setattr(output, "_PIPE_WIDTH", 80)
    assert program.main(["compat", "--machine", "rtx-4090-64g"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("Ollama") and "yes" in line for line in lines)
    assert any(line.startswith("LM Studio") and "no" in line for line in lines)
