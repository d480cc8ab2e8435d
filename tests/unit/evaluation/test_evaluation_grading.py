"""Grading that runs something, and the shipped tasks' own samples; code itself is tried in the integration tests."""

import asyncio

import pytest

from ansambl.evaluation.grading import Grader, State
from ansambl.evaluation.sandbox import Sandbox
from ansambl.evaluation.task_file import load_tasks
from ansambl.evaluation.tasks import CodeCheck, PatternCheck, Task

GRADER = Grader(Sandbox(program="/nowhere/bwrap"))


def sure(kind):
    return [one for one in load_tasks("shipped").tasks if one.kind == kind]


@pytest.mark.parametrize("kind", ["number", "exact", "choice", "regex", "harmless"])
async def test_every_shipped_task_passes_its_reference_and_fails_its_wrong_answer(kind):
    for task in sure(kind):
        right, wrong = await asyncio.gather(GRADER.grade(task, task.reference), GRADER.grade(task, task.wrong))
        assert (task.id, right.state, wrong.state) == (task.id, State.RIGHT, State.WRONG)
        assert (await GRADER.grade(task, "")).state is State.WRONG


async def test_without_a_sandbox_code_is_not_run_and_nothing_is_failed(tmp_path):
    trace = tmp_path / "ran"
    task = Task("t", ("q",), CodeCheck("assert True"))
    for program in (None, "/nowhere/bwrap"):
        box = Sandbox(program=program)
        box._program = program
        graded = await Grader(box).grade(task, f"open({str(trace)!r}, 'w')")
        assert graded.state is State.NOT_RUN
        assert "bubblewrap" in str(graded.reason)
    assert not trace.exists()
    without = Sandbox()
    without._program = None
    assert "apt-get install bubblewrap" in str(await without.problem())


async def test_a_pattern_matches_the_whole_answer_or_is_searched():
    whole, part = (Task("t", ("q",), PatternCheck("[0-9]+", search=search)) for search in (False, True))
    assert [(await GRADER.grade(one, "a 12")).state for one in (whole, part)] == [State.WRONG, State.RIGHT]
    assert (await GRADER.grade(whole, "<think>x</think>12")).state is State.RIGHT


async def test_a_pattern_that_never_ends_is_not_run(monkeypatch):
    monkeypatch.setattr("ansambl.evaluation.grading._PATTERN_SECONDS", 0.3)
    graded = await GRADER.grade(Task("t", ("q",), PatternCheck("(a+)+b")), "a" * 60)
    assert graded.state is State.NOT_RUN
    assert "over" in str(graded.reason)
