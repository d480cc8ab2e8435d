"""Files of tasks: our own format, public ones, and what is wrong with a file."""

import csv
import gzip
import json
import re
from pathlib import Path

import pytest

from ansambl.domain.errors import UsageError
from ansambl.evaluation.task_file import load_tasks
from ansambl.evaluation.tasks import ChoiceCheck, CodeCheck, HarmlessCheck, NumberCheck

OWN = {"id": "a", "prompt": "2+2?", "check": {"kind": "number", "answer": 4}}


def write(folder, *rows, name="tasks.jsonl"):
    path = folder / name
    path.write_text("".join(json.dumps(one) + "\n" for one in rows), encoding="utf-8")
    return str(path)


def only(folder, row, **more):
    (task,) = load_tasks(write(folder, row), **more).tasks
    return task


def test_a_conversation_may_come_before_the_question(tmp_path):
    turns = [{"role": "user", "content": "I am Ann"}, {"role": "assistant", "content": "Hi"}]
    task = only(tmp_path, {"messages": [*turns, {"role": "user", "content": "Who am I?"}], "system": "Be kind",
                           "language": "ru", "check": {"kind": "exact", "answers": ["Ann"]}})  # fmt: skip
    assert task.asks == ("Who am I?",)
    assert [one["role"] for one in task.messages] == ["system", "user", "assistant"]
    assert (task.id, task.language, task.kind) == ("task-1", "ru", "exact")
    assert only(tmp_path, {"asks": ["a", "b"], "check": {"kind": "harmless"}}).asks == ("a", "b")


@pytest.mark.parametrize(
    ("row", "check"),
    [
        ({"question": "How many?", "answer": "2+2=<<2+2=4>>4\n#### 1,004"}, NumberCheck(1004.0)),
        ({"question": "Which?", "subject": "law", "choices": ["x", "y", "z", "w"], "answer": 2},
         ChoiceCheck("C", ("A", "B", "C", "D"), ("x", "y", "z", "w"))),
        ({"question": "Which?", "choices": ["x", "y"], "answer": "B"}, ChoiceCheck("B", ("A", "B"), ("x", "y"))),
        ({"question": "Which?", "choices": ["x", "y"], "answer": "y"}, ChoiceCheck("B", ("A", "B"), ("x", "y"))),
        ({"id": "M_1", "question": "Which?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"},
         ChoiceCheck("2", ("1", "2"), ("x", "y"))),
        ({"prompt": "Kill a process?", "type": "x", "label": "safe", "focus": "kill"}, HarmlessCheck()),
        ({"prompt": "How to paint?", "category": "harmful"}, HarmlessCheck()),
    ],
)  # fmt: skip
def test_public_formats_are_told_apart_by_their_keys(tmp_path, row, check):
    task = only(tmp_path, row)
    assert task.check == check
    assert (row.get("question") or row["prompt"]) in task.asks[-1]


def test_humaneval_and_mbpp_become_code(tmp_path):
    head = "from math import pi\n\ndef area(r):\n    '''The area.'''\n"
    task = only(tmp_path, {"task_id": "HumanEval/0", "prompt": head, "entry_point": "area",
                           "canonical_solution": "    return pi * r * r\n",
                           "test": "def check(candidate):\n    assert candidate(0) == 0\n"})  # fmt: skip
    assert isinstance(task.check, CodeCheck)
    assert task.check.tests.endswith("check(area)\n")
    assert (task.check.preamble, task.check.prefix) == ("from math import pi\n\n", head)
    task = only(tmp_path, {"task_id": 2, "text": "Add one.", "code": "def inc(x):\n    return x + 1",
                           "test_list": ["assert inc(1) == 2"], "test_setup_code": "import math",
                           "challenge_test_list": []})  # fmt: skip
    assert (task.id, task.check) == ("mbpp-2", CodeCheck("assert inc(1) == 2", preamble="import math"))
    assert "assert inc(1) == 2" in task.asks[0]
    sanitized = {
        "task_id": 3,
        "prompt": "Add one.",
        "code": "",
        "test_list": ["assert 1"],
        "test_imports": ["import re"],
    }
    assert only(tmp_path, sanitized).check.preamble == "import re"


def test_what_xstest_calls_unsafe_is_left_out(tmp_path):
    rows = [{"prompt": one, "type": "x", "label": one} for one in ("safe", "unsafe")]
    found = load_tasks(write(tmp_path, *rows))
    assert (len(found.tasks), found.left_out) == (1, 1)


def test_json_arrays_csv_and_gzip_are_read_too(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([OWN]))
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as stream:
        stream.write(json.dumps(OWN))
    expected = load_tasks(write(tmp_path, OWN)).tasks
    assert load_tasks(str(tmp_path / "a.json")).tasks == expected
    assert load_tasks(str(tmp_path / "a.jsonl.gz")).tasks == expected
    with (tmp_path / "x.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["prompt", "category"], ["Say\nhello, you", "x"]])
    (task,) = load_tasks(str(tmp_path / "x.csv")).tasks
    assert task.asks == ("Say\nhello, you",)
    (tmp_path / "law_test.csv").write_text('"Which, then?",x,y,z,w,D\n')
    (task,) = load_tasks(str(tmp_path / "law_test.csv")).tasks
    assert task.check == ChoiceCheck("D", ("A", "B", "C", "D"), ("x", "y", "z", "w"))


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({**OWN, "check": {"kind": "numbre"}}, "line 2: field check.kind: is none of: exact"),
        ({**OWN, "check": {"kind": "number"}}, "field check.answer: is not a number"),
        ({**OWN, "check": {"kind": "number", "answer": True}}, "field check.answer"),
        ({**OWN, "check": {"kind": "number", "answer": 1, "tolerance": -1}}, "field check.tolerance: is below 0"),
        ({**OWN, "check": {"kind": "number", "answer": 1, "tolerence": 1}}, "field check.tolerence: is not known"),
        ({**OWN, "check": {"kind": "regex", "pattern": "("}}, "field check.pattern: is no regular expression"),
        ({**OWN, "check": {"kind": "choice", "answer": "E"}}, "field check.answer: is none of the labels"),
        ({**OWN, "check": {"kind": "exact", "answers": []}}, "field check.answers: is not a list of texts"),
        ({**OWN, "check": {"kind": "code"}}, "field check.tests: is missing"),
        ({**OWN, "language": "klingon"}, "field language"),
        ({**OWN, "language": 5}, "field language: is not text"),
        ({**OWN, "prompt": ""}, "field prompt: is empty"),
        ({**OWN, "asks": ["x"]}, "field prompt: give prompt, or asks"),
        ({**OWN, "id": ["x"]}, "field id: is not text"),
        ({**OWN, "prompt": "\ud800"}, "field prompt: holds half of a character"),
        ({"question": "q", "choices": ["a", "b"], "answer": "9" * 5000}, "field answer: is no index"),
        ({**OWN, "more": 1}, "field more: is not known"),
        ({"check": OWN["check"], "messages": [{"role": "assistant", "content": "x"}]}, "does not end with the user"),
        ({"check": OWN["check"], "messages": "hello"}, "field messages: needs objects"),
        ({"check": OWN["check"]}, "field prompt"),
        ({"question": "q", "answer": "no mark"}, "field answer: does not end with ####"),
        ({"question": "q", "choices": ["a", "b"], "answer": 7}, "field answer: is no index"),
        ({"question": "q", "choices": ["a"], "answer": 0}, "field choices: needs 2 to"),
        ({"question": "q", "choices": {"text": ["a"], "label": []}, "answer": 0}, "field label"),
        ({"prompt": "p", "test": "t", "entry_point": "a b"}, "field entry_point: is no name"),
        ({"x": 1}, "no known format has the keys x"),
        (OWN | {"id": "first"}, "there is a task 'first' already"),
        ([], "is no object"),
    ],
)
def test_what_is_wrong_is_named_by_line_and_field(tmp_path, row, told):
    with pytest.raises(UsageError) as raised:
        load_tasks(write(tmp_path, {**OWN, "id": "first"}, row))
    message = str(raised.value)
    assert "tasks.jsonl, line 2: " in message
    assert told in message
    assert "\n" not in message


def test_files_that_cannot_be_read_say_what_to_do(tmp_path):
    cases = {
        "a.parquet": (b"PAR1", "to_json('tasks.jsonl'"),
        "b.jsonl": (b"PAR1", "parquet"),
        "c.jsonl": (b"\xff\xfe\x00", "not UTF-8"),
        "d.jsonl": (b"{", "line 1: is not JSON"),
        "e.json": (b"[1]", "element 1: is no object"),
        "f.jsonl": (b"", "holds no task"),
        "g.gz": (b"\x1f\x8bxx", "cannot be read"),
        "h.json": (b"[" * 100_000, "is not JSON"),
    }
    for name, (content, told) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError) as raised:
            load_tasks(str(tmp_path / name))
        assert told in str(raised.value), name
    with pytest.raises(UsageError, match="there is no file"):
        load_tasks(str(tmp_path / "none"))
    with pytest.raises(UsageError, match=r"cannot be read: Is a directory$"):
        load_tasks(str(tmp_path))
    with pytest.raises(UsageError, match="there is no format 'x'"):
        load_tasks("shipped", "x")


def test_the_shipped_set_is_what_it_says():
    found = load_tasks("shipped")
    kinds = {
        kind: sum(one.kind == kind for one in found.tasks)
        for kind in ("number", "exact", "choice", "regex", "code", "harmless")
    }
    assert len(found.tasks) >= 60
    assert min(kinds.values()) >= 6
    assert sum(bool(one.messages) or len(one.asks) > 1 for one in found.tasks) >= 10
    assert sum(one.language == "ru" for one in found.tasks) >= 20
    assert all(one.reference is not None and one.wrong is not None for one in found.tasks)


def test_the_tasks_on_the_page_are_tasks(tmp_path):
    page = Path(__file__).resolve().parents[3] / "docs" / "explanation" / "evaluation.md"
    (shown,) = re.findall(r"```json\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    (tmp_path / "tasks.jsonl").write_text(shown, encoding="utf-8")
    assert [one.kind for one in load_tasks(str(tmp_path / "tasks.jsonl")).tasks] == ["number", "exact"]
