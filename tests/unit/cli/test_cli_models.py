"""``ansambl models list`` and ``inspect`` as users call them."""

import json

import pytest
from called_commands import called
from model_files import tiny_gemma

from ansambl.cli import main as program
from ansambl.model_catalog.catalog import catalog

pytestmark = pytest.mark.usefixtures("own_folder")


def test_list(capsys):
    code, out, _ = called(capsys, "models", "list")
    assert code == 0
    assert all(name in out for name in catalog())
    code, out, err = called(capsys, "models", "list", "--json")
    listed = json.loads(out)["models"]
    assert (code, err, len(listed)) == (0, "", len(catalog()))
    assert listed[0]["checkpoints"][0]["source"]


def test_inspect_a_name(capsys):
    code, out, _ = called(capsys, "models", "inspect", "openai/gpt-oss-120b")
    assert code == 0
    assert "4 of 128 active" in out
    assert "ggml-org/llama.cpp issue 15253" in out
    code, out, _ = called(capsys, "models", "inspect", "mixtral", "--json")
    assert (code, json.loads(out)["architecture"]["experts"]) == (0, 8)


def test_inspect_a_file(capsys, tmp_path):
    total = tiny_gemma(tmp_path / "tiny.gguf")
    code, out, _ = called(capsys, "models", "inspect", "tiny.gguf")
    assert code == 0
    assert f"({total} bytes)" in out
    assert "window of 512 tokens" in out
    code, out, _ = called(capsys, "models", "inspect", str(tmp_path), "--json")
    assert (code, json.loads(out)["tensor_bytes"]) == (0, total)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("gpt-oss-12b", 2, "the nearest are: gpt-oss-120b"),
        ("missing.gguf", 1, "does not exist"),
        ("./folder", 1, "does not exist"),
        ("broken.gguf", 1, "does not begin with 'GGUF'"),
        ("embedded", 1, "ansambl models pull embedded"),
        ("owner/unknown", 1, "nothing is requested from the network"),
        ("openai/gpt-oss-120b:Q4_K_M", 1, "nothing is requested from the network"),
        ("owner/name/model.gguf", 1, "nothing is requested from the network"),
        ("https://models.example/model.gguf", 1, "nothing is requested from the network"),
    ],
)
def test_failures_are_one_line(capsys, tmp_path, name, code, words):
    (tmp_path / "broken.gguf").write_bytes(b"x" * 100)
    found, out, err = called(capsys, "models", "inspect", name)
    assert (found, out) == (code, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_a_path_into_a_folder_that_exists_is_no_name_on_a_hub(capsys, tmp_path):
    (tmp_path / "models" / "sub").mkdir(parents=True)
    code, _, err = called(capsys, "models", "inspect", "models/sub/mistyped.gguf")
    assert (code, "does not exist" in err) == (1, True)


def test_offline_is_said_in_one_line(capsys, monkeypatch):
    monkeypatch.delenv("HF_HUB_OFFLINE")
    for arguments in (["pull", "owner/name"], ["inspect", "owner/name"], ["inspect", "--remote", "gpt-oss-20b"]):
        code, out, err = called(capsys, "models", *arguments, "--offline")
        assert (code, out, len(err.splitlines())) == (1, "", 1)
        assert "--offline" in err
    code, out, err = called(capsys, "models", "pull", "embedded", "--offline")
    assert (code, out) == (1, "")
    assert "--offline forbids" in err


def test_the_list_shows_what_is_on_this_machine(capsys, tmp_path):
    (tmp_path / "data" / "models").mkdir(parents=True)
    (tmp_path / "more").mkdir()
    tiny_gemma(tmp_path / "data" / "models" / "mine.gguf")
    tiny_gemma(tmp_path / "more" / "other.gguf")
    _, out, _ = called(capsys, "models", "list", "--folder", "more", "--json")
    found = json.loads(out)["installed"]
    assert [(one["path"], one["origin"], one["repo"]) for one in found] == [
        (str(tmp_path / "data" / "models" / "mine.gguf"), "folder", None), ("more/other.gguf", "folder", None),
    ]  # fmt: skip
    _, out, _ = called(capsys, "models", "list")
    assert "On this machine" in out
    assert "mine.gguf" in out
    assert "other.gguf" not in out


def test_what_ansambl_did_not_fetch_is_not_removed(capsys, tmp_path):
    (tmp_path / "data" / "models").mkdir(parents=True)
    mine = tmp_path / "data" / "models" / "mine.gguf"
    tiny_gemma(mine)
    code, _, err = called(capsys, "models", "remove", str(mine), "--yes")
    assert (code, mine.is_file()) == (2, True)
    assert "is a file of yours; delete it yourself" in err


def test_the_list_breaks_no_names_in_a_narrow_terminal(capsys, monkeypatch):
    monkeypatch.setattr("ansambl.cli.output._PIPE_WIDTH", 80)
    assert program.main(["models", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any("meta-llama-3-70b-instruct" in line for line in lines)
