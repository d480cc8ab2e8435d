"""What a model of vectors wants before questions and before passages, by its name."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "data" / "embedding_prefixes.toml"
_TASK = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(frozen=True, slots=True)
class Prefixes:
    """What stands before a question and before a passage."""

    question: str = ""
    passage: str = ""


def prefixes_for(*names: str) -> Prefixes:
    """The prefixes of a model by any of its names, the likeliest first; none where nothing is known of it.

    A wrong prefix costs more than a missing one, so nothing is guessed.
    """
    for name in names:
        plain = _plain(name)
        for known, found in _rows():
            if known in plain:
                return found
    return Prefixes()


def _plain(name: str) -> str:
    return name.casefold().replace("_", "-").replace(" ", "-")


@cache
def _rows() -> tuple[tuple[str, Prefixes], ...]:
    rows = tomllib.loads(_FILE.read_text(encoding="utf-8"))["model"]
    return tuple(
        (_plain(one["name"]), Prefixes(one["question"].replace("{task}", _TASK), one["passage"])) for one in rows
    )
