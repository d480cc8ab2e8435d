"""``ansambl eval`` against a recorded Ansambl that answers right or wrong by script."""

import json
import os
import re
import signal
import subprocess
import sys
import threading

import pytest
from product import environment, wait_for
from recorded_ansambl import RecordedAnswers, recorded_ansambl

from ansambl.app.data_folder import prepare_folder
from ansambl.cli import main as program
from ansambl.foundation.locales import speak
from ansambl.foundation.paths import DataPaths

NAMES = [("coder", "role", ["кодер"]), ("council", "ensemble", []), ("embedded", "model", [])]


class Script(RecordedAnswers):
    """Knows the answers; the council is wrong in two of three, generates three times as much, and is slower."""

    hold: threading.Event

    def get(self):
        if self.path == "/v1/models":
            self.answer(200, {"data": [{"id": one, "kind": kind, "aliases": other} for one, kind, other in NAMES]})
        else:
            self.answer(200, {"default_model": "embedded"})

    def post(self, body):
        self.asked.append(body)
        number = int(re.search(r"\d+", body["messages"][-1]["content"])[0])
        council = body["model"] == "council"
        if number >= 1000:
            self.hold.wait(20)
        if number == 500:
            self.answer(503, {"error": {"message": "The engine is loading."}})
            return
        words = "Answer: 0" if council and number % 3 else f"Answer: {number}"
        usage = {"prompt_tokens": 100 * (1 + 2 * council), "completion_tokens": 10 * (1 + 2 * council),
                 "prompt_tokens_details": {"cached_tokens": 50}}  # fmt: skip
        found = {
            "choices": [{"message": {"role": "assistant", "content": words}, "finish_reason": "stop"}],
            "usage": usage,
        }
        if council:
            found["ansambl"] = {"branches": [{"role": "coder", "state": "answered"}]}
        self.answer(200, found)


@pytest.fixture
def asked(own_folder, monkeypatch):
    hold = threading.Event()
    with recorded_ansambl(own_folder / "data", Script, hold=hold) as script:
        yield script.asked
        hold.set()


def write(folder, numbers):
    rows = [{"id": f"t{one}", "prompt": f"Say {one}", "check": {"kind": "number", "answer": one}} for one in numbers]
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return str(path)


def evaluate(capsys, *arguments):
    code = program.main(["eval", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_an_ensemble_that_is_worse_is_said_to_be_not_worth_it(asked, own_folder, capsys):
    tasks = write(own_folder, range(1, 41))
    code, out, _ = evaluate(capsys, tasks, "--against", "plain,council", "--tokens", "64", "--json")
    assert code == 0
    found = json.loads(out)
    plain, council = found["contestants"]
    assert (plain["right"]["share"], council["right"]["share"]) == (1.0, pytest.approx(13 / 40))
    assert (council["prefilled_tokens"], council["completion_tokens"]) == (40 * 250, 40 * 30)
    (comparison,) = found["comparisons"]
    assert comparison["judgement"] == "not-worth-it"
    assert comparison["verdict"].startswith("not worth it: worse than plain by 67.5 points")
    assert comparison["difference"]["p"] < 1e-6
    assert comparison["computed_tokens_ratio"] == pytest.approx(280 / 60)


def test_every_contestant_gets_the_same_budget_in_its_own_way(asked, own_folder, capsys):
    tasks = write(own_folder, [1])
    code, _, _ = evaluate(capsys, tasks, "--against", "plain,кодер,council", "--layout", "both", "--tokens", "64",
                          "--temperature", "0")  # fmt: skip
    assert code == 0
    requests = {json.dumps(one["ansambl"], sort_keys=True) if "ansambl" in one else one["model"]: one for one in asked}
    assert set(requests) == {
        "embedded", '{"layout": "classic"}', '{"layout": "shared-prefix"}', '{"layout": "classic", "tokens": 64}',
        '{"layout": "shared-prefix", "tokens": 64}',
    }  # fmt: skip
    assert [one.get("max_tokens") for one in asked if one["model"] != "council"] == [64, 64, 64]
    assert all("max_tokens" not in one for one in asked if one["model"] == "council")
    assert {one["temperature"] for one in asked} == {0}
    assert {one["model"] for one in asked} == {"embedded", "coder", "council"}


def test_errors_are_shown_and_are_no_wrong_answers_and_the_run_goes_on(asked, own_folder, capsys):
    tasks, out_file = write(own_folder, [1, 2, 500]), str(own_folder / "answers.jsonl")
    code, out, err = evaluate(capsys, tasks, "--against", "plain", "--out", out_file)
    assert code == 0
    assert "100 %" in out
    assert "plain: 1 × The engine is loading." in err
    before = len(asked)
    code, out, _ = evaluate(capsys, tasks, "--against", "plain,coder", "--out", out_file, "--json")
    assert code == 0
    # What failed is asked again, what was answered is not; the newcomer is asked everything.
    assert len(asked) - before == 1 + 3
    assert [one["errors"] for one in json.loads(out)["contestants"]] == [1, 1]
    assert json.loads(out)["contestants"][0]["right"]["tasks"] == 2


def test_people_read_tables_and_verdicts_in_russian_too(asked, own_folder, capsys, monkeypatch):
    tasks = write(own_folder, range(1, 4))
    code, out, _ = evaluate(capsys, tasks, "--against", "plain,coder", "--repeat", "2")
    assert code == 0
    for words in ("3 tasks of tasks.jsonl", "Right answers", "Cost in tokens and time", "Verdicts", "cannot tell: "):
        assert words in out
    assert len(asked) == 3 * 2 * 2
    monkeypatch.setattr(speak, "language", "ru")
    assert program.main(["eval", tasks, "--against", "plain,coder"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--against", "plain,nobody"), "there is no role, ensemble or model 'nobody'; known are: plain, coder"),
        (("--against", "coder,кодер"), "--against names coder twice"),
        (("--against", ","), "--against names nobody"),
        (("--against", "coder", "--layout", "best"), "there is no layout 'best'"),
        (("--against", "coder", "--tokens", "0"), "--tokens"),
        (("--against", "coder", "--format", "x"), "there is no format 'x'"),
        ((), "--against"),
    ],
)
def test_wrong_usage_is_one_line_with_what_to_do(asked, own_folder, capsys, arguments, told):
    code, out, err = evaluate(capsys, write(own_folder, [1]), *arguments)
    assert (code, out) == (2, "")
    assert told in err
    assert len(err.strip().splitlines()) == 1
    assert asked == []


def test_without_a_running_ansambl_it_says_how_to_start_one(own_folder, capsys):
    prepare_folder(DataPaths(own_folder / "data"))
    code, _, err = evaluate(capsys, write(own_folder, [1]), "--against", "plain")
    assert code == 1
    assert "ansambl up" in err


def test_interrupting_prints_what_there_is(asked, own_folder):
    tasks = write(own_folder, [1000, *range(1, 3)])
    code = [sys.executable, "-m", "ansambl", "eval", tasks, "--against", "plain", "--json", "--seed", "0"]
    with subprocess.Popen(code, env=environment(own_folder / "data", XDG_CONFIG_HOME=str(own_folder)), cwd=own_folder,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:  # fmt: skip
        try:
            wait_for(
                lambda: any("1000" in one["messages"][-1]["content"] for one in asked), "the long one is asked", 60
            )
            os.kill(process.pid, signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    found = json.loads(out)
    assert found["interrupted"]
    # Seed 0 asks the long one last.
    assert found["tasks"]["asked"] == 2
    assert found["contestants"][0]["right"]["share"] == 1.0
    assert "Interrupted" in err


def test_without_bubblewrap_code_is_counted_as_not_run(asked, own_folder, capsys, monkeypatch):
    path = own_folder / "code.jsonl"
    checks = {"code": {"kind": "code", "tests": "assert True"}, "number": {"kind": "number", "answer": 7}}
    path.write_text(
        "\n".join(json.dumps({"id": one, "prompt": "Say 7", "check": check}) for one, check in checks.items())
    )
    monkeypatch.setenv("PATH", str(own_folder))
    code, out, err = evaluate(capsys, str(path), "--against", "plain", "--json")
    assert code == 0
    (plain,) = json.loads(out)["contestants"]
    assert (plain["not_run"], plain["errors"], plain["right"]["share"], plain["right"]["tasks"]) == (1, 0, 1.0, 1)
    assert "Tasks with code are not run: " in err
    assert "apt-get install bubblewrap" in err
