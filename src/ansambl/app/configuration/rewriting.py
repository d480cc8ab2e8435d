"""Writing models, and a few keys, into a configuration that a person wrote: nothing of theirs is lost. Pure.

The text is edited line by line and then read again: what comes out must mean exactly what went in, but for what was to
change. A file whose shape does not allow that is refused, never guessed at. What goes out of use stays as a comment;
what an earlier plan wrote, between its two marks, is taken out.
"""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansambl.app.configuration.settings_lines import KeyPath
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import text

BEGIN = "# >>> A plan, written by Ansambl; the next plan replaces what stands up to the end mark."
END = "# <<< end of the plan"

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_TOKENS = re.compile(
    r'"{3}(?:\\[\s\S]|[^\\])*?"{3,5}|"(?:\\.|[^"\\\n])*"'
    r"|'{3}[\s\S]*?'{3,5}|'[^'\n]*'|#[^\n]*|[\[\]{}\n]"
)
"""Texts, comments, brackets and the ends of lines."""

Value = str | int | float | bool | list[int] | dict[str, Any]


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What is to change.

    `models` are the new tables, the first one is the default; `replaced` are the names of models that go out of use;
    `keys` are single keys by their path, None to leave one out.
    """

    models: Mapping[str, Mapping[str, Value]]
    replaced: Collection[str] = ()
    keys: Mapping[tuple[str, ...], str | None] | None = None


def rewritten(source: str, wanted: Rewrite) -> str:
    """The text of the file with the change.

    Raises:
        ConfigurationError: it is written in a way that cannot be changed without touching the rest.
    """
    before = tomllib.loads(source)
    expected = _expected(before, wanted)
    keys = _keys_to_change(before, wanted.keys or {})
    lines = source.split("\n")
    statements = _statements(lines)
    kept = _without_replaced(lines, statements, wanted.replaced, keys)
    added = {path: value for path, value in keys.items() if value is not None}
    below = _below_headers(added, lines, statements, kept)
    elsewhere = {path: value for path, value in added.items() if not any(path in one for one in below.values())}
    block = [BEGIN, *model_tables(wanted.models), *key_tables(elsewhere), END]
    made = _joined(kept, below, block, _place(statements, lines))
    _check(made, expected)
    return made


def _without_replaced(
    lines: Sequence[str], statements: Sequence[_Statement], replaced: Collection[str],
    keys: Mapping[tuple[str, ...], str | None],
) -> list[str | None]:  # fmt: skip
    """The lines with what goes out of use as comments; None for a line that an earlier plan wrote."""
    written = _ours(lines)
    out: list[str | None] = list(lines)
    for one in statements:
        if _goes(one, replaced, keys):
            for number in range(one.start, one.end):
                out[number] = f"# {lines[number]}" if lines[number].strip() else ""
                out[number] = None if number in written else out[number]
    for number in written:
        if lines[number] in (BEGIN, END, ""):
            out[number] = None
    for one, following in _tables(statements):
        if one.start in written and all(out[two.start] is None for two in following):
            out[one.start] = None
    return out


def _below_headers(
    added: Mapping[tuple[str, ...], str], lines: Sequence[str], statements: Sequence[_Statement],
    kept: Sequence[str | None],
) -> dict[int, dict[tuple[str, ...], str]]:  # fmt: skip
    """The keys whose tables stand in the file already, by the line of the table's header."""
    found: dict[int, dict[tuple[str, ...], str]] = {}
    headers = {one.path: one.start for one in statements if one.header and kept[one.start] == lines[one.start]}
    for path, value in added.items():
        start = headers.get(path[:-1])
        if start is not None:
            found.setdefault(start, {})[path] = value
    return found


def _joined(
    kept: Sequence[str | None], below: Mapping[int, Mapping[tuple[str, ...], str]], block: Sequence[str],
    place: int | None,
) -> str:  # fmt: skip
    made: list[str] = []
    for number, line in enumerate(kept):
        if number == place:
            made += [*block, ""]
        if line is not None:
            made.append(line)
        made += [f"{_written(path[-1:])} = {toml_value(value)}" for path, value in below.get(number, {}).items()]
    if place is None:
        while made and not made[-1].strip():
            made.pop()
        made += [*([""] if made else []), *block, ""]
    return "\n".join(made)


def toml_value(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, str):
        # A basic string of TOML takes all escapes of JSON; what TOML forbids beside them is one character.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_written((name,))} = {toml_value(one)}" for name, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    return str(value)


def _written(path: Sequence[str]) -> str:
    """The path of a key, quoted where it must be."""
    return ".".join(one if _BARE.fullmatch(one) else toml_value(one) for one in path)


def model_tables(models: Mapping[str, Mapping[str, Value]]) -> list[str]:
    """The lines of the tables of models."""
    lines: list[str] = []
    for name, fields in models.items():
        lines += [*([""] if lines else []), f"[{_written(('models', name))}]"]
        lines += [f"{key} = {toml_value(value)}" for key, value in fields.items()]
    return lines


def key_tables(keys: Mapping[tuple[str, ...], str]) -> list[str]:
    """The lines of tables that hold single keys."""
    lines: list[str] = []
    for path, value in keys.items():
        lines += ["", f"[{_written(path[:-1])}]", f"{_written(path[-1:])} = {toml_value(value)}"]
    return lines


@dataclass(frozen=True, slots=True)
class _Statement:
    """A header, or a key with its value: the lines from `start` up to `end`; `path` is what it opens or sets."""

    path: KeyPath
    start: int
    end: int
    header: bool
    value: object = None


def _statements(lines: Sequence[str]) -> list[_Statement]:
    found: list[_Statement] = []
    table: KeyPath = ()
    start = 0
    for end in _ends(lines):
        words = "\n".join(lines[start:end])
        parsed = tomllib.loads(words)
        if parsed and words.lstrip().startswith("["):
            table, _ = _only_path(parsed)
            found.append(_Statement(table, start, end, header=True))
        elif parsed:
            path, value = _only_path(parsed)
            found.append(_Statement((*table, *path), start, end, header=False, value=value))
        start = end
    return found


def _ends(lines: Sequence[str]) -> Iterator[int]:
    """The lines after those with which statements, comments and blank lines end, in a file that can be read.

    Found by what a value may go on over lines in, in one pass: an instruction of thousands of lines is one statement.
    """
    depth = number = 0
    for part in _TOKENS.findall("\n".join([*lines, ""])):
        number += part.count("\n")
        if part == "\n" and not depth:
            yield number
        depth += (part in ("[", "{")) - (part in ("]", "}"))


def _only_path(parsed: Mapping[str, Any]) -> tuple[tuple[str, ...], object]:
    """The path of a statement's key. Inline tables are values: what is inside is told by the text, not by this."""
    path: list[str] = []
    level: Any = parsed
    while isinstance(level, dict) and len(level) == 1:
        name, level = next(iter(level.items()))
        path.append(name)
        if isinstance(level, list) and level and isinstance(level[0], dict):
            level = level[0]
    return tuple(path), level


def _goes(one: _Statement, replaced: Collection[str], keys: Mapping[tuple[str, ...], str | None]) -> bool:
    if one.path[:1] == ("models",):
        if len(one.path) > 1:
            return one.path[1] in replaced
        return not one.header and isinstance(one.value, dict) and set(one.value) <= set(replaced)
    return not one.header and one.path in keys


def _tables(statements: Sequence[_Statement]) -> list[tuple[_Statement, list[_Statement]]]:
    """Each header with the keys below it."""
    found: list[tuple[_Statement, list[_Statement]]] = []
    for one in statements:
        if one.header:
            found.append((one, []))
        elif found:
            found[-1][1].append(one)
    return found


def _keys_to_change(
    before: Mapping[str, Any], keys: Mapping[tuple[str, ...], str | None]
) -> dict[tuple[str, ...], str | None]:
    return {path: value for path, value in keys.items() if _value_at(before, path) != value}


def _value_at(data: Mapping[str, Any], path: tuple[str, ...]) -> object:
    level: Any = data
    for part in path:
        if not isinstance(level, dict) or part not in level:
            return None
        level = level[part]
    return level


def _expected(before: Mapping[str, Any], wanted: Rewrite) -> dict[str, Any]:
    after = copy.deepcopy(dict(before))
    kept = {name: one for name, one in after.get("models", {}).items() if name not in wanted.replaced}
    after["models"] = {**{name: dict(one) for name, one in wanted.models.items()}, **kept}
    for path, value in _keys_to_change(before, wanted.keys or {}).items():
        level = after
        for part in path[:-1]:
            level = level.setdefault(part, {})
        if value is None:
            level.pop(path[-1], None)
        else:
            level[path[-1]] = value
    return after


def _ours(lines: Sequence[str]) -> frozenset[int]:
    """The lines that an earlier plan wrote, its marks among them."""
    found: set[int] = set()
    begin: int | None = None
    for number, line in enumerate(lines):
        if line == BEGIN:
            begin = number
        elif line == END and begin is not None:
            # With the blank line that was put after it.
            found.update(range(begin, number + 1 + (lines[number + 1 : number + 2] == [""])))
            begin = None
    return frozenset(found)


def _place(statements: Sequence[_Statement], lines: Sequence[str]) -> int | None:
    """Before which line the tables go: before other models, as the first is the default; None for the end."""
    first = next((one.start for one in statements if one.header and one.path[:1] == ("models",)), None)
    begin = next((number for number, line in enumerate(lines) if line == BEGIN), None)
    if begin is not None and END in lines[begin:] and (first is None or begin < first):
        return begin
    if first is None:
        return None
    place = first
    # The comment above a table belongs to it.
    while place > 0 and lines[place - 1].lstrip().startswith("#") and lines[place - 1] != END:
        place -= 1
    return place


def _check(made: str, expected: Mapping[str, Any]) -> None:
    try:
        found: dict[str, Any] = tomllib.loads(made)
    except tomllib.TOMLDecodeError:
        found = {}
    same = _without_empty(found) == _without_empty(expected)
    if same and next(iter(found["models"])) == next(iter(expected["models"])):
        return
    raise ConfigurationError(
        text("the configuration file writes its models or roles in a way that cannot be changed without touching the "
             "rest; put these tables into it yourself")
    )  # fmt: skip


def _without_empty(data: Mapping[str, Any]) -> dict[str, Any]:
    """The data without tables in which nothing is left: a header whose last key went out of use says nothing."""
    return {
        name: inner
        for name, one in data.items()
        if (inner := _without_empty(one) if isinstance(one, dict) else one) != {}
    }
