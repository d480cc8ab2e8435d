"""Writes the reference pages of settings, commands, engines and the admin API; ``--check`` fails when one is stale."""

from __future__ import annotations

import argparse
import sys
import types
import typing
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import admin_api_page
import engine_table
from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_problems import table_type
from ansambl.domain.units import Bytes, Seconds, format_bytes
from ansambl.foundation.locales import speak

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "reference"
_NOTICE = f"{engine_table.NOTICE}\n"
_PLAIN_TYPES = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Bytes: "size",
    Seconds: "time",
}


def type_name(annotation: Any) -> str:
    """A field's type in words."""
    if annotation in _PLAIN_TYPES:
        return _PLAIN_TYPES[annotation]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f'`"{one}"`' for one in arguments)
    if origin in {Union, types.UnionType}:
        return type_name(next(one for one in arguments if one is not type(None)))
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin is tuple and table_type(arguments[0]) is not None:
        return "list of tables"
    return {tuple: "list of text", dict: "table of text"}[origin]


def default_of(field: FieldInfo) -> str:
    """A field's default as the file would write it."""
    extra = field.json_schema_extra
    shown = extra.get("shown_default") if isinstance(extra, dict) else ""
    if shown:
        return str(shown)
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if type_name(field.annotation) == "size":
        return f'`"{format_bytes(value).replace(".0 ", "")}"`' if value else "`0`"
    if isinstance(value, (tuple, dict)):
        return "`[]`" if isinstance(value, tuple) else "`{}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value:g}`"


def meaning_of(field: FieldInfo) -> str:
    """What a field is for, with its unit and its bounds."""
    extra = field.json_schema_extra
    unit = extra.get("unit") if isinstance(extra, dict) else ""
    bounds = []
    for one in field.metadata:
        for name, word in (("ge", "at least"), ("gt", "more than"), ("le", "at most")):
            limit = getattr(one, name, None)
            if limit is not None:
                bounds.append(f"{word} {limit}")
    parts = [str(field.description), f"Unit: {unit}." if unit else "", f"{', '.join(bounds)}." if bounds else ""]
    return " ".join(part[0].upper() + part[1:] for part in parts if part)


def table_page(title: str, table: type[BaseModel]) -> str:
    """The section of one table."""
    lines = [f"## `{title}`\n", (table.__doc__ or "").strip().replace("\n    ", "\n") + "\n"]
    lines += ["| Key | Type | Default | Meaning |", "|---|---|---|---|"]
    for name, field in table.model_fields.items():
        cells = (f"`{name}`", type_name(field.annotation), default_of(field), meaning_of(field))
        lines.append("| " + " | ".join(one.replace("|", "\\|") for one in cells) + " |")
    return "\n".join(lines) + "\n"


_CONFIGURATION = """\
Ansambl reads one TOML file: the one that `--config` names, else `./ansambl.toml`, else `ansambl.toml` in your
configuration folder. No file is needed; every key has a default. The command line comes before the environment
(`ANSAMBL_DATA` names the data folder), and the environment before the file. `ansambl config show` prints what is in
effect and where each value came from. Paths are relative to the file. The language of messages is not in the file:
`--lang`, else `ANSAMBL_LANG`, else the locale chooses it.

Sizes are bytes or text such as `"2GiB"`, times are seconds or text such as `"30m"`.
"""

_COMMANDS = """\
Every command takes `--lang en|ru` and `--debug`, before its name or after it. `--json` prints one JSON document and
nothing else on standard output. Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 3 does not fit or is not
supported. A failure prints one line. `ansambl COMMAND --help` says the same in your language.
"""


def configuration_page() -> str:
    """``docs/reference/configuration.md``."""
    parts = ["# Configuration\n", _NOTICE, _CONFIGURATION]
    for name, field in Settings.model_fields.items():
        table = table_type(field.annotation)
        if table is None:
            continue
        is_named = not isinstance(field.annotation, type)
        parts.append(table_page(f"[{name}.NAME]" if is_named else f"[{name}]", table))
        for inner_name, inner in table.model_fields.items():
            inner_table = table_type(inner.annotation)
            if inner_table is not None:
                parts.append(table_page(f"[[{name}.NAME.{inner_name}]]", inner_table))
    return "\n".join(parts)


def command_section(command: Any, path: str) -> list[str]:
    """The section of one command: how it is called, what it takes."""
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and "--help" not in one.opts]
    usage = " ".join([path, *(_argument(one) for one in arguments), *(["[OPTIONS]"] if options else [])])
    lines = [f"## `{path}`\n", f"{command.help}\n", f"```\n{usage}\n```\n"]
    rows = [(f"`{_argument(one)}`", one.help or "") for one in arguments]
    rows += [(_option(one), _with_default(one)) for one in options]
    if rows:
        lines += [
            "| | |",
            "|---|---|",
            *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
            "",
        ]
    return lines


def _argument(parameter: Any) -> str:
    name = parameter.metavar or str(parameter.name).upper()
    return name if parameter.required or name.startswith("[") else f"[{name}]"


def _option(parameter: Any) -> str:
    names = ", ".join(f"`{one}`" for one in parameter.opts)
    return names if parameter.is_flag else f"{names} `{parameter.metavar or str(parameter.name).upper()}`"


def _with_default(parameter: Any) -> str:
    words = parameter.help or ""
    shown = parameter.default is not None and not parameter.is_flag
    return f"{words} Default: `{parameter.default}`." if shown else words


def commands_page() -> str:
    """``docs/reference/commands.md``."""
    from ansambl.cli.main import make_app

    program: Any = typer.main.get_command(make_app())
    lines = ["# Commands\n", _NOTICE, _COMMANDS]
    for name, command in program.commands.items():
        inner = getattr(command, "commands", None)
        if inner is None:
            lines += command_section(command, f"ansambl {name}")
        else:
            for inner_name, one in inner.items():
                lines += command_section(one, f"ansambl {name} {inner_name}")
    return "\n".join(lines).rstrip("\n") + "\n"


def main() -> int:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when a page is stale")
    check = parser.parse_args().check
    speak.language = "en"
    pages = {
        FOLDER / "configuration.md": configuration_page(),
        FOLDER / "commands.md": commands_page(),
        FOLDER / "admin-api.md": admin_api_page.page(_NOTICE),
        FOLDER / "engines" / "README.md": engine_table.page(FOLDER / "engines"),
    }
    stale = [path for path, words in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != words]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is stale; run: make docs")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(pages[path], encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
