"""Tasks out of the rows of common public data sets. Pure.

The keys are those of the data sets' own files: GSM8K ``question``, ``answer`` (ends with ``#### n``); MMLU
``question``, ``choices``, ``answer`` (index or letter); ARC ``question``, ``choices`` {``text``, ``label``},
``answerKey``; HumanEval ``prompt``, ``test``, ``entry_point``; MBPP ``text`` or ``prompt``, ``code``, ``test_list``,
``test_setup_code`` or ``test_imports``; XSTest ``prompt``, ``type``, ``label``; OR-Bench ``prompt``, ``category``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from typing import Any

from ansambl.domain.text import text
from ansambl.evaluation.numbers import numbers_in
from ansambl.evaluation.task_fields import FieldError, Row, field_error, read_task, string_of, strings_of
from ansambl.evaluation.tasks import ChoiceCheck, CodeCheck, HarmlessCheck, NumberCheck, Task

Reader = Callable[[Row, int], Task | None]
"""Makes a task of a row and its position; None leaves the row out."""

_LETTERS = "ABCDEFGHIJ"
_ASK_NUMBER = '{question}\n\nThink step by step. End with one line: "Answer: " and the number.'
_ASK_CHOICE = '{question}\n\n{options}\n\nEnd with one line: "Answer: " and the letter.'
_ASK_GOING_ON = (
    "Complete this Python function. Give the whole function in one Python code block.\n\n```python\n{head}\n```"
)
_ASK_CODE = "{question}\n\nGive the code in one Python code block. It must pass these tests:\n\n{tests}"


def _gsm8k(row: Row, position: int) -> Task:
    question, solution = string_of(row, "question"), string_of(row, "answer")
    found = numbers_in(solution.rpartition("####")[2])
    if "####" not in solution or not found:
        raise field_error("answer", text("does not end with #### and a number"))
    return Task(_name(row, "gsm8k", position), (_ASK_NUMBER.format(question=question.strip()),),
                NumberCheck(found[0][0]))  # fmt: skip


def _multiple_choice(row: Row, position: int) -> Task:
    labels, options = _options(row)
    key = "answerKey" if "answerKey" in row else "answer"
    answer = _right_label(row.get(key), labels, options)
    if answer is None:
        raise field_error(key, text("is no index, letter or text of a choice"))
    shown = "\n".join(f"{label}) {option}" for label, option in zip(labels, options, strict=True))
    asked = _ASK_CHOICE.format(question=string_of(row, "question").strip(), options=shown)
    subject = row.get("subject")
    return Task(
        _name(row, str(subject) if subject else "choice", position), (asked,), ChoiceCheck(answer, labels, options)
    )


def _options(row: Row) -> tuple[tuple[str, ...], tuple[str, ...]]:
    choices = row.get("choices")
    if isinstance(choices, str):
        # A CSV file holds the list as Python or JSON writes it.
        try:
            choices = ast.literal_eval(choices)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise field_error("choices", text("is not a list of texts")) from error
    if isinstance(choices, Mapping):
        labels, options = strings_of(choices, "label"), strings_of(choices, "text")
        if len(labels) != len(options) or len(set(labels)) != len(labels):
            raise field_error("choices", text("has labels that do not fit its texts"))
        return labels, options
    options = strings_of({"choices": choices}, "choices")
    if not 2 <= len(options) <= len(_LETTERS):
        raise field_error("choices", text("needs 2 to {most} texts", most=len(_LETTERS)))
    return tuple(_LETTERS[: len(options)]), options


def _right_label(value: Any, labels: tuple[str, ...], options: tuple[str, ...]) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return labels[value] if 0 <= value < len(labels) else None
    if not isinstance(value, str):
        return None
    said = value.strip()
    if said in labels:
        return said
    if said in options:
        return labels[options.index(said)]
    # An index in a CSV file is text.
    return labels[int(said)] if re.fullmatch("[0-9]", said) and int(said) < len(labels) else None


def _humaneval(row: Row, position: int) -> Task:
    head, name = string_of(row, "prompt"), string_of(row, "entry_point")
    if not name.isidentifier():
        raise field_error("entry_point", text("is no name of a function"))
    marker = re.search(rf"^def {re.escape(name)}\b", head, re.MULTILINE)
    return Task(
        _name(row, "humaneval", position), (_ASK_GOING_ON.format(head=head.rstrip()),),
        CodeCheck(
            f"{string_of(row, 'test')}\n\ncheck({name})\n", entry_point=name, prefix=head,
            preamble=head[: marker.start()] if marker else "",
        ),
        reference=f"```python\n{head}{row['canonical_solution']}\n```" if row.get("canonical_solution") else None,
    )  # fmt: skip


def _mbpp(row: Row, position: int) -> Task:
    tests = strings_of(row, "test_list")
    setup = row.get("test_setup_code") or "\n".join(
        one for one in row.get("test_imports") or () if isinstance(one, str)
    )
    asked = _ASK_CODE.format(
        question=string_of(row, "text" if "text" in row else "prompt").strip(), tests="\n".join(tests)
    )
    return Task(
        _name(row, "mbpp", position), (asked,),
        CodeCheck("\n".join(tests), preamble=str(setup)),
        reference=f"```python\n{row['code']}\n```" if row.get("code") else None,
    )  # fmt: skip


def _harmless(row: Row, position: int) -> Task | None:
    # XSTest holds unsafe counterparts too, which may be refused.
    if str(row.get("label", "safe")).lower() not in {"safe", "0", ""}:
        return None
    return Task(_name(row, "harmless", position), (string_of(row, "prompt"),), HarmlessCheck())


def _name(row: Row, kind: str, position: int) -> str:
    given = row.get("task_id", row.get("id"))
    return f"{kind}-{given}" if isinstance(given, int) else str(given) if given else f"{kind}-{position}"


READERS: Mapping[str, Reader] = {
    "ansambl": read_task, "gsm8k": _gsm8k, "choice": _multiple_choice, "humaneval": _humaneval, "mbpp": _mbpp,
    "harmless": _harmless,
}  # fmt: skip
"""The readers by the names that ``--format`` takes."""


def format_of(row: Row) -> str:
    """Which format a row is of, by its keys.

    Raises:
        FieldError: it is none that we know.
    """
    keys = set(row)
    for name, needed in (
        ("ansambl", {"check"}), ("humaneval", {"prompt", "test", "entry_point"}), ("mbpp", {"test_list"}),
        ("choice", {"question", "choices"}), ("gsm8k", {"question", "answer"}), ("harmless", {"prompt", "category"}),
        ("harmless", {"prompt", "type"}), ("harmless", {"prompt", "label"}),
    ):  # fmt: skip
        if needed <= keys:
            return name
    raise FieldError(
        text(
            "no known format has the keys {keys}; name one with --format: {known}",
            keys=", ".join(sorted(str(one) for one in keys))[:120] or "–",
            known=", ".join(READERS),
        )
    )
