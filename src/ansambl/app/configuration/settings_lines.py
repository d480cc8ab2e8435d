"""On which line of a TOML file each key stands. The parser of the standard library does not tell."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

KeyPath = tuple[str | int, ...]
"""The way to a value: names of tables and keys, numbers in arrays."""


def key_lines(source: str) -> dict[KeyPath, int]:
    """Map each table, key and array element of a valid TOML text to the line, from 1, where its statement starts.

    A TOML file is a sequence of statements (a header, or a key with its value); a statement ends at the first line
    with which it parses on its own.
    """
    found: dict[KeyPath, int] = {}
    table: KeyPath = ()
    arrays: dict[KeyPath, int] = {}
    pending: list[str] = []
    for number, line in enumerate(source.split("\n"), start=1):
        pending.append(line)
        statement = "\n".join(pending)
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        start = number - len(pending) + 1
        pending.clear()
        if statement.lstrip().startswith("["):
            table = _enter(parsed, arrays, is_array=statement.lstrip().startswith("[["))
            for length in range(1, len(table) + 1):
                found.setdefault(table[:length], start)
        else:
            _note(parsed, table, start, found)
    return found


def _enter(parsed: Mapping[str, Any], arrays: dict[KeyPath, int], *, is_array: bool) -> KeyPath:
    """The path of the table that a header opens; `arrays` counts the elements of arrays of tables seen so far."""
    names: list[str] = []
    level: Any = parsed
    while isinstance(level, dict) and level:
        name, level = next(iter(level.items()))
        names.append(name)
    path: KeyPath = ()
    for position, name in enumerate(names, start=1):
        path = (*path, name)
        if is_array and position == len(names):
            arrays[path] = arrays.get(path, 0) + 1
        if path in arrays:
            path = (*path, arrays[path] - 1)
    return path


def _note(value: object, path: KeyPath, line: int, found: dict[KeyPath, int]) -> None:
    if path:
        found.setdefault(path, line)
    if isinstance(value, dict):
        for name, inner in value.items():
            _note(inner, (*path, name), line, found)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _note(inner, (*path, index), line, found)


def line_of(path: KeyPath, lines: Mapping[KeyPath, int]) -> int | None:
    """The line of the key, or of the nearest table above it that the file has."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def written_path(path: KeyPath) -> str:
    """The path as one writes it in TOML: ``engines."llama.cpp-bundled".threads``."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f"[{part}]"
            continue
        bare = part != "" and all(one.isascii() and (one.isalnum() or one in "-_") for one in part)
        words += ("." if words else "") + (part if bare else f'"{part}"')
    return words
