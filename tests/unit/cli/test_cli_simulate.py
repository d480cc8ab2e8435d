"""``simulate`` on the command line: one document, a table, errors in one line."""

from __future__ import annotations

import io
import json
import sys
from types import SimpleNamespace

import pytest

from ansambl.app.simulation.trace_files import shipped_file
from ansambl.cli.main import main

CARD = ["--machine", "rtx-pro-6000-128g", "--config", str(shipped_file("card-96g.toml"))]


def test_json_is_one_document_of_the_policy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "people", *CARD, "--policy", "fifo", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["policy"], document["requests"], document["answered"]) == ("fifo", 61, 61)


def test_all_policies_stand_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "people", *CARD, "--compare", "--json"]) == 0
    documents = json.loads(capsys.readouterr().out)["policies"]
    assert [one["policy"] for one in documents] == ["ansambl", "fifo", "lru"]
    assert main(["simulate", "people", *CARD, "--compare"]) == 0
    shown = capsys.readouterr().out
    for words in ("ansambl", "fifo", "lru", "Swaps", "gpt-oss-120b MXFP4", "Interactive: wait, half / 95 % / longest"):
        assert words in shown


def test_a_trace_comes_from_standard_input(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    line = b'{"t": 0, "model": "quick", "prompt_tokens": 100, "output_tokens": 10}\n'
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(line)))
    assert main(["simulate", "-", *CARD, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["models"]["quick"]["loads"] == 1
    assert document["answered"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no trace 'nothing'"),
        (["people", "--policy", "best"], "there is no policy 'best'"),
        (["people", "--machine", "abacus"], "there is no machine 'abacus'"),
    ],
)
def test_an_error_is_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["simulate", *CARD, *arguments] if "--machine" in arguments else ["simulate", *arguments, *CARD]
    assert main(words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1
