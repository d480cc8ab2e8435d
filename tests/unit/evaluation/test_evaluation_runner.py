"""Who is asked what in which order, what an outcome is, and going on with a run."""

import json

import pytest

from ansambl.domain.errors import UsageError
from ansambl.domain.role import Layout
from ansambl.domain.text import text
from ansambl.evaluation.answers_file import AnswersFile, run_head
from ansambl.evaluation.grading import Grader, State
from ansambl.evaluation.records import AskError, Contestant, ContestantKind, Cost, Reply, Settings
from ansambl.evaluation.runner import StoppedError, choose_tasks, make_jobs, run_jobs
from ansambl.evaluation.sandbox import Sandbox
from ansambl.evaluation.task_file import TaskSet
from ansambl.evaluation.tasks import NumberCheck, Task

GRADER = Grader(Sandbox(program="/nowhere/bwrap"))
PLAIN = Contestant("m", ContestantKind.MODEL, shown="plain")
CODER = Contestant("coder", ContestantKind.ROLE, Layout.CLASSIC)
TASKS = tuple(Task(f"t{one:02}", (f"{one}?",), NumberCheck(one)) for one in range(30))


class Echo:
    """Answers with the question's number; the coder fails where it is told to."""

    def __init__(self, fail=()):
        self.asked = []
        self.fail = fail

    async def ask(self, contestant, messages, settings):
        self.asked.append((contestant.label, [one["content"] for one in messages]))
        if messages[-1]["content"] in self.fail:
            raise AskError(text("it broke"))
        return Reply(messages[-1]["content"], Cost(10, settings.tokens + (contestant is CODER), 4, 0.5), "stop")


async def run(asker, jobs, **more):
    found = []
    await run_jobs(jobs, asker, GRADER, Settings(tokens=8, **more), found.append)
    return found


def test_the_order_is_the_seeds_and_a_larger_limit_goes_on():
    few, more = choose_tasks(TASKS, 5, 3), choose_tasks(reversed(TASKS), 9, 3)
    assert more[:5] == few
    assert choose_tasks(TASKS, None, 4)[:5] != few
    assert len(choose_tasks(TASKS, 99, 1)) == 30


def test_contestants_take_turns_on_the_same_tasks():
    jobs = make_jobs(TASKS[:4], (PLAIN, CODER), 2)
    assert len({one.place for one in jobs}) == len(jobs) == 16
    firsts = [one.contestant.label for one in jobs[::2]]
    assert firsts.count("plain") == firsts.count("coder@classic") == 4
    assert all(one.task is other.task for one, other in zip(jobs[::2], jobs[1::2], strict=True))


async def test_outcomes_tell_state_cost_and_what_went_over_the_budget():
    asker = Echo(fail={"2?"})
    found = await run(asker, make_jobs(TASKS[:3], (PLAIN, CODER), 1))
    states = {one.place[:2]: one.state for one in found}
    assert states["t01", "plain"] is State.RIGHT
    assert states["t02", "plain"] is State.ERROR
    over = {one.contestant: one.over for one in found if one.state is not State.ERROR}
    assert over == {"plain": False, "coder@classic": True}
    assert [str(one.reason) for one in found if one.state is State.ERROR] == ["it broke", "it broke"]


async def test_questions_in_turn_see_the_answers_before_them():
    asker = Echo()
    task = Task("t", ("1", "<think>2</think>3"), NumberCheck(3), messages=({"role": "system", "content": "s"},))
    (outcome,) = await run(asker, make_jobs([task], (PLAIN,), 1))
    assert [one for _, one in asker.asked] == [["s", "1"], ["s", "1", "1", "<think>2</think>3"]]
    assert (outcome.state, outcome.cost) == (State.RIGHT, Cost(20, 16, 8, 1.0))


async def test_several_at_once_do_all_and_each_once():
    found = await run(Echo(), make_jobs(TASKS, (PLAIN, CODER), 1), parallel=7)
    assert len({one.place for one in found}) == len(found) == 60


async def test_a_run_that_only_fails_is_stopped():
    found = []
    with pytest.raises(StoppedError, match="20 requests failed"):
        await run_jobs(make_jobs(TASKS, (PLAIN,), 1), Echo(fail={one.asks[0] for one in TASKS}), GRADER, Settings(),
                       found.append)  # fmt: skip
    assert len(found) == 20


SET = TaskSet("x.jsonl", TASKS, "abc")


async def test_an_interrupted_run_goes_on(tmp_path):
    path = tmp_path / "answers.jsonl"
    head = run_head(SET, Settings())
    outcomes = await run(Echo(fail={"2?"}), make_jobs(TASKS[:4], (PLAIN,), 1))
    with AnswersFile(path, head) as keep:
        for one in outcomes:
            keep.add(one)
    path.write_bytes(path.read_bytes() + b'{"task": "t05", "conte')
    with AnswersFile(path, head) as keep:
        assert [one.place for one in keep.outcomes] == [one.place for one in outcomes if one.state is not State.ERROR]
        assert [one.cost for one in keep.outcomes] == [one.cost for one in outcomes if one.state is not State.ERROR]
        again = await run(Echo(), make_jobs(TASKS[2:3], (PLAIN,), 1))
        keep.add(again[0])
    with AnswersFile(path, head) as keep:
        assert len(keep.outcomes) == 4
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_answers_of_another_run_are_not_mixed(tmp_path):
    path = tmp_path / "answers.jsonl"
    AnswersFile(path, run_head(SET, Settings(tokens=512))).close()
    with pytest.raises(UsageError, match=r"tokens 512, now 256.*--out"):
        AnswersFile(path, run_head(SET, Settings(tokens=256)))
    path.write_text("hello\n")
    with pytest.raises(UsageError, match="line 1"):
        AnswersFile(path, run_head(SET, Settings()))
    path.write_text("hello")
    with pytest.raises(UsageError, match="line 1"):
        AnswersFile(path, run_head(SET, Settings()))
    assert path.read_text() == "hello"
    with pytest.raises(UsageError, match="cannot be used"):
        AnswersFile(tmp_path / "none" / "x", run_head(SET, Settings()))
