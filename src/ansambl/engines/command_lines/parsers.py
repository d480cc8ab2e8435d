"""Which parser of tool calls and of reasoning an engine needs for a model: rows of ``data/parsers.toml``."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files

from ansambl.domain.names import folded
from ansambl.engines.command_lines.settings import Given


@dataclass(frozen=True, slots=True)
class ParserRow:
    """Parsers by engine for models whose short name matches one of `models`; `source` says who names them."""

    models: tuple[str, ...]
    tool: dict[str, str]
    reasoning: dict[str, str]
    source: str


@cache
def parser_rows() -> tuple[ParserRow, ...]:
    """All rows, in the order in which they are tried."""
    content = (files("ansambl.engines") / "data" / "parsers.toml").read_text(encoding="utf-8")
    return tuple(
        ParserRow(tuple(row["models"]), row.get("tool", {}), row.get("reasoning", {}), row["source"])
        for row in tomllib.loads(content)["parsers"]
    )


def parsers_of(engine: str, model: str) -> tuple[str | None, str | None]:
    """The parsers of tool calls and of reasoning for the model of this short name; None where no source names one."""
    name = folded(model).rsplit("/", 1)[-1]
    for row in parser_rows():
        if any(fnmatchcase(name, pattern) for pattern in row.models):
            return row.tool.get(engine), row.reasoning.get(engine)
    return None, None


def chosen(engine: str, model: str, given: Given) -> tuple[str | None, str | None]:
    """The same, but what the user set goes first; ``none`` leaves a parser out."""
    tool, reasoning = parsers_of(engine, model)
    tool = given.word("tool_call_parser") or tool
    reasoning = given.word("reasoning_parser") or reasoning
    return None if tool == "none" else tool, None if reasoning == "none" else reasoning
