"""Grading what has to be run: code in the sandbox, regular expressions in a process that can be ended."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass
from enum import StrEnum

from ansambl.domain.text import Text, text
from ansambl.evaluation.checks import grade_choice, grade_exact, grade_harmless, grade_number
from ansambl.evaluation.final_answer import code_of, defines, without_thinking
from ansambl.evaluation.sandbox import Sandbox
from ansambl.evaluation.tasks import ChoiceCheck, CodeCheck, ExactCheck, NumberCheck, PatternCheck, Task

_PATTERN_SECONDS = 10.0
_LONGEST = 100_000
# A pattern can need more than a lifetime for some answers, and Python's matcher cannot be stopped from inside.
_MATCHER = (
    "import json,re,sys\nj=json.load(sys.stdin)\n"
    "f=re.search if j['search'] else re.fullmatch\nsys.exit(0 if f(j['pattern'],j['said']) else 1)\n"
)


class State(StrEnum):
    """What became of one answer. ``NOT_RUN`` is neither right nor wrong: its check could not be done here."""

    RIGHT = "right"
    WRONG = "wrong"
    NOT_RUN = "not-run"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Graded:
    """The grade of one answer: `final` is what was taken for the final answer, `reason` why it is not right."""

    state: State
    final: str = ""
    reason: Text | str = ""


class Grader:
    """Grades answers; holds the sandbox for those that are code."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox

    async def problem(self) -> Text | None:
        """Why code cannot be run here; None when it can."""
        return await self._sandbox.problem()

    async def grade(self, task: Task, answer: str) -> Graded:
        """Grade the answer of a task by its check."""
        check = task.check
        if isinstance(check, CodeCheck):
            return await self._grade_code(check, answer)
        if isinstance(check, PatternCheck):
            return await _grade_pattern(check, answer)
        if isinstance(check, ExactCheck):
            grade = grade_exact(check, answer)
        elif isinstance(check, NumberCheck):
            grade = grade_number(check, answer, task.language)
        elif isinstance(check, ChoiceCheck):
            grade = grade_choice(check, answer)
        else:
            grade = grade_harmless(answer)
        return Graded(State.RIGHT if grade.right else State.WRONG, grade.final)

    async def _grade_code(self, check: CodeCheck, answer: str) -> Graded:
        problem = await self._sandbox.problem()
        if problem is not None:
            return Graded(State.NOT_RUN, reason=problem)
        code = code_of(answer, check.entry_point)
        if not code.strip():
            return Graded(State.WRONG, reason="no code")
        if check.prefix and check.entry_point and not defines(code, check.entry_point):
            code = check.prefix + code
        done = await self._sandbox.run(f"{check.preamble}\n{code}\n", check.tests)
        return Graded(State.RIGHT if done.verdict == "passed" else State.WRONG, code, done.reason)


async def _grade_pattern(check: PatternCheck, answer: str) -> Graded:
    said = without_thinking(answer)[:_LONGEST]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-c", _MATCHER, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    job = json.dumps({"pattern": check.pattern, "search": check.search, "said": said}).encode()
    try:
        async with asyncio.timeout(_PATTERN_SECONDS):
            await process.communicate(job)
    except TimeoutError:
        return Graded(State.NOT_RUN, said, text("its pattern took over {seconds:g} s", seconds=_PATTERN_SECONDS))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return Graded(State.RIGHT if process.returncode == 0 else State.WRONG, said)
