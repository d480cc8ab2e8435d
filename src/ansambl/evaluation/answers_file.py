"""The answers of a run as JSON lines, for going on with it: the first line says what was run, each other is one."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ansambl.domain.errors import UsageError
from ansambl.domain.text import Text, text
from ansambl.evaluation.grading import State
from ansambl.evaluation.records import Cost, Outcome, Settings
from ansambl.evaluation.task_file import TaskSet

_VERSION = 1


def run_head(tasks: TaskSet, settings: Settings) -> dict[str, Any]:
    """What two runs must have in common to be one: the tasks, the token budget, the temperature and the seed."""
    return {
        "ansambl_eval": _VERSION, "tasks": tasks.name, "digest": tasks.digest, "tokens": settings.tokens,
        "temperature": settings.temperature, "seed": settings.seed,
    }  # fmt: skip


class AnswersFile:
    """Keeps each answer as soon as it is there, so that an interrupted run can go on."""

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        """Open `path` for going on, or begin it.

        Raises:
            UsageError: it holds something else, the answers of another run, or cannot be written.
        """
        self.outcomes: list[Outcome] = []
        try:
            whole = self._read(path, head)
            self._stream = path.open("r+b" if whole else "wb")
        except OSError as error:
            raise UsageError(text("{file} cannot be used: {reason}", file=str(path), reason=str(error))) from error
        if whole:
            # A run that was ended in the middle of writing leaves half a line.
            self._stream.truncate(whole)
            self._stream.seek(0, os.SEEK_END)
        else:
            self._write(head)

    def add(self, outcome: Outcome) -> None:
        """Keep one outcome."""
        self._write(outcome_row(outcome))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, row: Mapping[str, Any]) -> None:
        self._stream.write(json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n")
        self._stream.flush()

    def _read(self, path: Path, head: Mapping[str, Any]) -> int:
        if not path.exists() or path.stat().st_size == 0:
            return 0
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        found: dict[tuple[str, str, int], Outcome] = {}
        for number, line in enumerate(content[:whole].splitlines(), start=1):
            try:
                row = json.loads(line)
                if number > 1:
                    outcome = read_outcome(row)
                    found[outcome.place] = outcome
                    continue
                first = {key: row[key] for key in head}
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(
                    text("{file}, line {line}: is no answer of an evaluation; name another --out", file=str(path),
                         line=number)
                ) from error  # fmt: skip
            for key, value in head.items():
                if first[key] != value:
                    raise UsageError(
                        text("{file} holds answers of another run ({key} {before}, now {now}); name another --out",
                             file=str(path), key=key, before=str(first[key]), now=str(value))
                    )  # fmt: skip
        if whole == 0:
            raise UsageError(text("{file}, line {line}: is no answer of an evaluation; name another --out",
                                  file=str(path), line=1))  # fmt: skip
        # Errors, and what could not be checked, are tried again.
        self.outcomes = [one for one in found.values() if one.state in {State.RIGHT, State.WRONG}]
        return whole


def outcome_row(one: Outcome) -> dict[str, Any]:
    """An outcome as a row of the file."""
    cost = one.cost
    return {
        "task": one.task, "contestant": one.contestant, "repeat": one.repeat, "kind": one.kind,
        "language": one.language, "state": str(one.state), "final": one.final,
        "reason": one.reason.render() if isinstance(one.reason, Text) else one.reason, "refusal": one.refusal,
        "finish_reason": one.finish_reason, "over": one.over, "prompt_tokens": cost.prompt_tokens,
        "cached_tokens": cost.cached_tokens, "completion_tokens": cost.completion_tokens, "seconds": cost.seconds,
        "branches": list(one.branches), "answer": one.answer,
    }  # fmt: skip


def read_outcome(row: Mapping[str, Any]) -> Outcome:
    """An outcome out of a row of the file.

    Raises:
        KeyError, TypeError, ValueError: the row is none.
    """
    cached = row["cached_tokens"]
    return Outcome(
        str(row["task"]), str(row["contestant"]), int(row["repeat"]), str(row["kind"]), str(row["language"]),
        State(row["state"]), str(row["answer"]), str(row["final"]), str(row["reason"]), row["refusal"],
        row["finish_reason"],
        Cost(int(row["prompt_tokens"]), int(row["completion_tokens"]), None if cached is None else int(cached),
             float(row["seconds"])),
        bool(row["over"]), tuple(row["branches"]),
    )  # fmt: skip
