"""Writes TOML 1.0. The standard library only reads it, and our tables are plain enough not to need a package for it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


def write_toml(document: Mapping[str, Any]) -> str:
    """The TOML text of nested tables that hold text, numbers, true and false, and lists; values None are left out.

    Raises:
        TypeError: another kind of value.
        ValueError: text that no encoding has (half of a surrogate pair).
    """
    lines: list[str] = []
    _write_table(document, (), lines, header=None)
    written = "\n".join(lines).strip("\n")
    written.encode("utf-8")
    return f"{written}\n" if written else ""


def write_key(name: str) -> str:
    """A key as TOML writes it, in quotes where it needs them."""
    bare = name != "" and all(one.isascii() and (one.isalnum() or one in "-_") for one in name)
    return name if bare else _line(name)


def _write_table(table: Mapping[str, Any], path: tuple[str, ...], lines: list[str], header: str | None) -> None:
    items = [(name, value) for name, value in table.items() if value is not None]
    plain = [(name, value) for name, value in items if not isinstance(value, Mapping) and not _is_tables(value)]
    # A table that holds tables alone needs no header of its own.
    if header is not None and (plain or len(plain) == len(items) or header.startswith("[[")):
        lines += ["", header]
    lines += [f"{write_key(name)} = {_value(value)}" for name, value in plain]
    for name, value in items:
        inner = (*path, name)
        written = ".".join(write_key(one) for one in inner)
        if isinstance(value, Mapping):
            _write_table(value, inner, lines, f"[{written}]")
        elif _is_tables(value):
            for one in value:
                _write_table(one, inner, lines, f"[[{written}]]")


def _is_tables(value: object) -> TypeGuard[Sequence[Mapping[str, Any]]]:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, Mapping) for one in value)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return ("nan" if math.isnan(value) else repr(float(value))) if not math.isinf(value) else f"{value:+}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_inline(one) for one in value) + "]"
    message = f"TOML has no {type(value).__name__}"
    raise TypeError(message)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{write_key(name)} = {_inline(one)}" for name, one in value.items()) + "}"
    return _line(value) if isinstance(value, str) else _value(value)


def _text(value: str) -> str:
    if "\n" not in value:
        return _line(value)
    return '"""\n' + "\n".join(_line(one)[1:-1] for one in value.split("\n")) + '"""'


def _line(value: str) -> str:
    """One line in quotes. JSON escapes what TOML wants escaped, but for one control character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
