"""Reading one task of our own format, its fields checked one by one. Pure.

One JSON object a line: ``id``; ``prompt`` (one question) or ``asks`` (several, asked in turn) or ``messages`` (a
conversation that ends with the question); ``system``; ``language``; ``check`` with its ``kind`` and that kind's fields;
``reference`` and ``wrong``, sample answers that pass and fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.languages import language_code
from ansambl.domain.text import Text, text
from ansambl.evaluation.tasks import (
    KINDS,
    Check,
    ChoiceCheck,
    CodeCheck,
    ExactCheck,
    HarmlessCheck,
    Message,
    NumberCheck,
    PatternCheck,
    Task,
)

Row = Mapping[str, Any]
_TASK_FIELDS = {"id", "prompt", "asks", "messages", "system", "language", "check", "reference", "wrong", "notes"}
_CHECK_FIELDS = {
    "exact": {"answers", "within"}, "number": {"answer", "tolerance"}, "choice": {"answer", "labels", "options"},
    "regex": {"pattern", "search"}, "code": {"tests", "entry_point", "preamble", "prefix"}, "harmless": set[str](),
}  # fmt: skip
_LONGEST = 200_000
_LETTERS = "ABCDEFGHIJ"


class FieldError(UsageError):
    """A field of a task is missing or wrong; whoever knows the line adds it."""


def field_error(field: str, problem: Text | str) -> FieldError:
    """An error of one field."""
    return FieldError(text("field {field}: {problem}", field=field, problem=problem))


def string_of(row: Row, field: str, *, default: str | None = None, empty: bool = False) -> str:
    """A field that holds text.

    Raises:
        FieldError: it is missing (and has no default), no text, empty (unless `empty`) or longer than 200,000 letters.
    """
    value = row.get(field, default)
    if value is None:
        raise field_error(field, text("is missing"))
    if not isinstance(value, str):
        raise field_error(field, text("is not text"))
    if not value.strip() and not empty:
        raise field_error(field, text("is empty"))
    if len(value) > _LONGEST:
        raise field_error(field, text("is longer than {limit} characters", limit=_LONGEST))
    if any("\ud800" <= one <= "\udfff" for one in value):
        raise field_error(field, text("holds half of a character (a lone surrogate)"))
    return value


def strings_of(row: Row, field: str) -> tuple[str, ...]:
    """A field that holds a list of texts, at least one.

    Raises:
        FieldError: it does not.
    """
    value = row.get(field)
    if not isinstance(value, list) or not value:
        raise field_error(field, text("is not a list of texts"))
    return tuple(string_of({field: one}, field) for one in value)


def read_task(row: Row, position: int) -> Task:
    """One task of our own format; `position` names it where it has no id.

    Raises:
        FieldError: a field is missing, unknown or wrong.
    """
    _known(row, _TASK_FIELDS, "")
    messages, asks = _conversation(row)
    check = row.get("check")
    if not isinstance(check, dict):
        raise field_error("check", text("is missing"))
    return Task(
        id=_identifier(row, position), asks=asks, check=_read_check(check), language=_language(row), messages=messages,
        reference=string_of(row, "reference", empty=True) if "reference" in row else None,
        wrong=string_of(row, "wrong", empty=True) if "wrong" in row else None,
        notes=row["notes"] if isinstance(row.get("notes"), dict) else {},
    )  # fmt: skip


def _known(row: Row, fields: set[str], where: str) -> None:
    for field in row:
        if field not in fields:
            raise field_error(f"{where}{field}"[:60], text("is not known; known are: {known}",
                                                           known=", ".join(sorted(fields))))  # fmt: skip


def _identifier(row: Row, position: int) -> str:
    value = row.get("id", f"task-{position}")
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return string_of({"id": value}, "id")


def _language(row: Row) -> str:
    try:
        return language_code(string_of(row, "language", default="en"))
    except FieldError:
        raise
    except AnsamblError as error:
        raise field_error("language", error.message) from error


def _conversation(row: Row) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    given = [one for one in ("prompt", "asks", "messages") if one in row]
    if not given or ("prompt" in row and "asks" in row):
        raise field_error("prompt", text("give prompt, or asks, or messages that end with the user's question"))
    messages: list[Message] = []
    if "system" in row:
        messages.append({"role": "system", "content": string_of(row, "system")})
    for one in row.get("messages", ()) if isinstance(row.get("messages", ()), (list, tuple)) else (None,):
        if not isinstance(one, dict) or one.get("role") not in {"system", "user", "assistant"}:
            raise field_error("messages", text("needs objects with role (system, user, assistant) and content"))
        messages.append({"role": one["role"], "content": string_of(one, "content")})
    if "prompt" in row:
        return tuple(messages), (string_of(row, "prompt"),)
    if "asks" in row:
        return tuple(messages), strings_of(row, "asks")
    if not messages or messages[-1]["role"] != "user":
        raise field_error("messages", text("does not end with the user's question"))
    return tuple(messages[:-1]), (messages[-1]["content"],)


def _read_check(check: Row) -> Check:
    kind = check.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        raise field_error("check.kind", text("is none of: {known}", known=", ".join(KINDS)))
    _known({one: None for one in check if one != "kind"}, _CHECK_FIELDS[kind], "check.")
    readers: Mapping[str, Callable[[Row], Check]] = {
        "exact": _exact, "number": _number, "choice": _choice, "regex": _pattern, "code": _code,
    }  # fmt: skip
    try:
        return readers[kind](check) if kind in readers else HarmlessCheck()
    except FieldError as error:
        values = error.message.values
        raise field_error(f"check.{values['field']}", values["problem"]) from error


def _exact(check: Row) -> Check:
    return ExactCheck(strings_of(check, "answers"), within=_flag(check, "within"))


def _number(check: Row) -> Check:
    answer, tolerance = _real(check, "answer"), _real(check, "tolerance", 0.0)
    if tolerance < 0:
        raise field_error("tolerance", text("is below 0"))
    return NumberCheck(answer, tolerance)


def _choice(check: Row) -> Check:
    options = strings_of(check, "options") if "options" in check else ()
    labels = strings_of(check, "labels") if "labels" in check else tuple(_LETTERS[: len(options) or 4])
    answer = string_of(check, "answer").strip().upper()
    if answer not in labels:
        raise field_error("answer", text("is none of the labels {labels}", labels=", ".join(labels)))
    return ChoiceCheck(answer, labels, options)


def _pattern(check: Row) -> Check:
    pattern = string_of(check, "pattern")
    try:
        re.compile(pattern)
    except re.error as error:
        raise field_error("pattern", text("is no regular expression: {reason}", reason=str(error))) from error
    return PatternCheck(pattern, search=_flag(check, "search"))


def _code(check: Row) -> Check:
    return CodeCheck(
        string_of(check, "tests"),
        entry_point=string_of(check, "entry_point") if "entry_point" in check else None,
        preamble=string_of(check, "preamble", default="", empty=True),
        prefix=string_of(check, "prefix", default="", empty=True),
    )


def _flag(check: Row, field: str) -> bool:
    value = check.get(field, False)
    if not isinstance(value, bool):
        raise field_error(field, text("is neither true nor false"))
    return value


def _real(check: Row, field: str, default: float | None = None) -> float:
    value = check.get(field, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e300 or value != value:  # noqa: PLR0124 - not a number
        raise field_error(field, text("is not a number"))
    return float(value)
