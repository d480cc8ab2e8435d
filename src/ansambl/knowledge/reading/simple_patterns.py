"""Ignore patterns without the library for them: what of gitignore(5) is in daily use."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checked:
    """Whether a path is matched: None where no pattern says anything."""

    include: bool | None


class SimpleSpec:
    """Patterns of one file; as `pathspec.GitIgnoreSpec`, as far as it is used here."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._patterns = [made for line in lines if (made := _pattern(line)) is not None]

    def check_file(self, path: str) -> Checked:
        """The last pattern that matches decides. A folder's path ends with ``/``."""
        said = None
        for matches, found in self._patterns:
            if found.search(path):
                said = matches
        return Checked(said)

    def match_file(self, path: str) -> bool:
        """Whether it is matched."""
        return bool(self.check_file(path).include)


def _pattern(line: str) -> tuple[bool, re.Pattern[str]] | None:
    line = line.rstrip()
    if not line or line.startswith("#"):
        return None
    matches = not line.startswith("!")
    line = line.removeprefix("!").removeprefix("\\")
    folders_only = line.endswith("/")
    line = line.rstrip("/")
    # A slash anywhere but at its end binds a pattern to the folder of its file.
    start = r"\A" if "/" in line else r"(?:\A|/)"
    line = line.lstrip("/")
    parts = re.split(r"(\*\*/|/\*\*\Z|\*|\?)", line)
    wild = {"**/": "(?:.*/)?", "/**": "/.*", "*": "[^/]*", "?": "[^/]"}
    body = "".join(wild.get(part) or re.escape(part) for part in parts)
    return (matches, re.compile(start + body + ("/" if folders_only else r"(?:/|\Z)"))) if body else None
