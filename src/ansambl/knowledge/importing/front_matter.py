"""The lines between two ``---`` at the beginning of a note, as far as an importer needs them: plain keys and lists."""

from __future__ import annotations

import re

_FIELD = re.compile(r"^([A-Za-z_][\w -]*):\s*(.*)$")
_ITEM = re.compile(r"^\s*-\s+(.*)$")
_LONGEST = 400
"""Lines of front matter; a note that only begins with a rule has no second one so near."""


def front_matter(lines: list[str]) -> tuple[dict[str, str], int]:
    """The fields by their names, lists joined by commas, and the number of the first line behind them."""
    if not lines or lines[0].strip("\ufeff \t") != "---":
        return {}, 0
    fields: dict[str, str] = {}
    last = ""
    for number, line in enumerate(lines[1:_LONGEST], 1):
        if line.rstrip() in {"---", "..."}:
            return fields, number + 1
        if (found := _FIELD.match(line)) is not None:
            last = found[1].strip().casefold()
            fields[last] = _plain(found[2])
        elif (item := _ITEM.match(line)) is not None and last:
            fields[last] = ", ".join(one for one in (fields[last], _plain(item[1])) if one)
    return {}, 0


def _plain(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return value[1:-1].replace('\\"', '"').replace("''", "'" if value[0] == "'" else "''")
    if value.startswith("[") and value.endswith("]"):
        return ", ".join(_plain(one) for one in value[1:-1].split(",") if one.strip())
    return value
