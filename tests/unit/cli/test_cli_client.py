"""Commands against a recorded Ansambl on a real socket: found by its state file, asked, answered, failed."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded_ansambl import RecordedAnswers, recorded_ansambl

from ansambl.app.running_state import write_state
from ansambl.cli import main as program
from ansambl.cli.commands.ask import print_explanation
from ansambl.cli.commands.chat import known_names
from ansambl.foundation.locales import speak
from ansambl.foundation.paths import DataPaths

INSTANCE = {
    "model": "embedded", "engine": "llama.cpp-bundled", "state": "ready", "address": "http://127.0.0.1:1/v1", "pid": 77,
    "attached": False, "adopted": True, "context": 8192, "parallel": 2, "running": 1, "waiting": 0, "restarts": 3,
    "started": 1.0, "load_seconds": 0.5, "memory": 2**20, "message": "killed by [signal] 9", "server": None,
}  # fmt: skip
STATE = {
    "version": "0.1.0", "pid": os.getpid(), "started": 1.0, "address": "http://127.0.0.1:8484",
    "default_model": "embedded", "instances": [INSTANCE],
    "roles": [{"name": "coder", "description": "Writes code", "model": "embedded", "aliases": ["кодер"]}],
    "ensembles": [{"name": "council", "description": "All", "roles": ["coder"], "aliases": []}],
    "events": [{"time": 1.0, "model": "embedded", "kind": "ready", "message": "ready after 0.5 s"}],
    "requests": {"answered": 5, "failed": 1, "running": 1},
}  # fmt: skip


def event(document: Any) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def delta(**fields: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields}]})


class Recording(RecordedAnswers):
    """Answers as Ansambl does and writes down what was asked."""

    asked: list[tuple[str, str, Any]]

    def get(self) -> None:
        self.asked.append((self.path, self.headers["authorization"], None))
        self.answer(200, STATE)

    def post(self, body: Any) -> None:
        self.asked.append((self.path, self.headers["authorization"], body))
        if self.path == "/admin/api/explain":
            self.answer(200, {"role": "coder", "messages": body["messages"], "reasons": ["because"]})
        elif body["model"] == "nobody":
            self.answer(404, {"error": {"message": "There is no nobody."}})
        elif body["model"] == "breaks":
            self.answer_bytes(200, delta(content="half") + event({"error": {"message": "The engine failed."}}))
        else:
            usage = {"prompt_tokens": 30, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 20}}
            text = body["messages"][-1]["content"]
            self.answer_bytes(
                200,
                delta(reasoning_content="hm [b]")
                + delta(content=f"echo [{text}]")
                + event({"choices": [{"delta": {}, "finish_reason": "length"}]})
                + event({"choices": [], "usage": usage})
                + b"data: [DONE]\n\n",
            )


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, str, Any]]]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANSAMBL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    # A proxy of the environment must not be asked.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setattr(speak, "language", "en")
    with recorded_ansambl(tmp_path / "data", Recording) as recorded:
        yield recorded.asked


Asked = list[tuple[str, str, Any]]


def test_status_for_people_shows_text_as_it_is(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["status"]) == 0
    words = capsys.readouterr().out
    for expected in (
        "killed by [signal] 9",
        "кодер",
        "council",
        "ready after 0.5 s",
        "8192×2",
        "1.0 MiB",
        "restarts: 3",
    ):
        assert expected in words
    assert asked == [("/admin/api/state", "Bearer the-token", None)]


def test_status_as_json_is_the_state(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATE


def test_ask_streams_the_answer_and_tells_what_it_cost(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["ask", "coder", "hi"]) == 0
    said = capsys.readouterr()
    assert said.out == "echo [hi]\n"
    assert "hm [b]" in said.err
    assert "2 tokens · prompt 30: 20 cached, 10 prefilled · first token after" in said.err
    assert "cut off at the output limit" in said.err
    ((path, _, body),) = asked
    assert path == "/v1/chat/completions"
    assert body["stream_options"] == {"include_usage": True}


def test_ask_as_json_is_one_document(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["ask", "coder", "hi", "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert (document["text"], document["reasoning"], document["finish_reason"]) == ("echo [hi]", "hm [b]", "length")
    assert document["usage"]["prompt_tokens_details"] == {"cached_tokens": 20}
    assert said.err == ""


def test_ask_reads_standard_input(
    asked: Asked, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr("sys.stdin", io.StringIO("from a pipe"))
    assert program.main(["ask", "coder", "-"]) == 0
    assert capsys.readouterr().out == "echo [from a pipe]\n"


def test_ask_explains_without_asking(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["ask", "coder", "hi", "--explain"]) == 0
    assert "- because" in capsys.readouterr().out
    assert [path for path, _, _ in asked] == ["/admin/api/explain"]


def test_an_ensemble_is_explained_with_what_each_of_its_roles_gets(capsys: pytest.CaptureFixture[str]) -> None:
    roles = [
        {"role": name, "model": "big", "messages": [{"role": "user", "content": f"for {name}"}], "shared_messages": 0}
        for name in ("coder", "brief")
    ]
    print_explanation({"ensemble": "council", "roles": roles, "reasons": ["in turn"]})
    said = capsys.readouterr().out
    places = [said.index(words) for words in ("council", "- in turn", "for coder", "for brief")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("nobody", 2, "error: There is no nobody."), ("breaks", 1, "error: The engine failed.")],
)
def test_a_refusal_is_one_line(
    asked: Asked, name: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    assert program.main(["ask", name, "hi", "--json"]) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [words]


def test_a_conversation_keeps_its_history_and_changes_its_role(
    asked: Asked, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    lines = ["one", "/role КОДЕР", "two", "/role nobody", "/wrong", "/roles", "/clear", "three", "/quit", "never"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    assert program.main(["chat"]) == 0
    said = capsys.readouterr()
    assert "there is no 'nobody'; there are: coder, council, embedded" in said.err
    assert "There is no /wrong" in said.err
    bodies = [body for path, _, body in asked if path.startswith("/v1/")]
    assert [body["model"] for body in bodies] == ["embedded", "coder", "coder"]
    assert [[one["content"] for one in body["messages"]] for body in bodies] == [
        ["one"],
        ["one", "echo [one]", "two"],
        ["three"],
    ]


def test_a_conversation_with_nobody_is_refused(asked: Asked, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["chat", "nobody"]) == 2
    assert "error: there is no 'nobody'" in capsys.readouterr().err


def test_names_and_aliases_are_known_in_any_case() -> None:
    assert known_names(STATE)["кодер"] == "coder"


def test_a_state_file_of_a_process_that_is_gone_counts_as_not_running(
    asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    file = DataPaths(tmp_path / "data").state
    file.write_text(json.dumps({**json.loads(file.read_text()), "mark": 5.0}))
    assert program.main(["status"]) == 1
    assert capsys.readouterr().err == "error: Ansambl is not running; start it with: ansambl up\n"
    assert asked == []


def test_one_that_does_not_answer(asked: Asked, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = DataPaths(tmp_path / "data")
    write_state(paths, "127.0.0.1", 9, "x")
    assert program.main(["status"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: Ansambl at http://127.0.0.1:9 (process")
    assert said.count("\n") == 1
