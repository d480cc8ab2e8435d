"""``ansambl logs``: what Ansambl or one of its engines wrote, and which requests were answered."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ansambl.cli.options import Config
from ansambl.domain.errors import UsageError
from ansambl.domain.text import text
from ansambl.foundation.locales import speak
from ansambl.foundation.terminals import harmless

if TYPE_CHECKING:
    from pathlib import Path

_UNKNOWN = "-"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("logs", help=speak("The log of Ansambl, or of an engine; or the requests that were answered."))(logs)


def logs(
    instance: Annotated[
        str | None,
        typer.Argument(metavar="[INSTANCE]", help=speak("The model whose engine's log; default: Ansambl's.")),
    ] = None,
    config: Config = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help=speak("How many of the newest lines."))] = 100,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help=speak("Go on with what is added; Ctrl-C ends."))
    ] = False,
    requests: Annotated[
        bool, typer.Option("--requests", "-r", help=speak("The finished requests, one line each, without contents."))
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help=speak("With --requests: print JSON, with --follow one line for each request.")),
    ] = False,
) -> None:
    """Print a log."""
    from ansambl.app.configuration.configuration_file import load_data_paths
    from ansambl.cli.log_files import find_log, find_request_log, follow_file, newest_lines, newest_requests
    from ansambl.foundation.redaction import redact

    if requests and instance is not None:
        raise UsageError(text("--requests is about all models; leave '{name}' out", name=instance))
    if as_json and not requests:
        raise UsageError(text("--json goes with --requests; a log is lines of text"))
    paths = load_data_paths(config)
    if requests:
        _print_requests(find_request_log(paths), newest_requests(find_request_log(paths), lines), as_json, follow)
        return
    file = find_log(paths, instance)
    for line in newest_lines(file, lines):
        typer.echo(harmless(redact(line)))
    if follow:
        for line in follow_file(file):
            typer.echo(harmless(redact(line)))


def _print_requests(file: Path, newest: list[str], as_json: bool, follow: bool) -> None:
    from ansambl.cli.log_files import follow_file

    if as_json and not follow:
        found = [one for one in map(_parsed, newest) if one is not None]
        typer.echo(harmless(json.dumps({"requests": found}, ensure_ascii=False, indent=2)))
        return
    for line in newest:
        _print_request(line, as_json)
    if follow:
        for line in follow_file(file):
            _print_request(line, as_json)


def _print_request(line: str, as_json: bool) -> None:
    found = _parsed(line)
    # The end of a file that was cut off in the middle of a line says nothing.
    if found is not None:
        typer.echo(harmless(line if as_json else shown_request(found)))


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def shown_request(found: dict[str, Any]) -> str:
    """One line for people: when, how it ended, how long it took, what was asked for, tokens, whose it was, its id."""

    def told(name: str) -> str:
        value = found.get(name)
        # One line whatever stands in it: a path is what somebody asked for.
        return _UNKNOWN if value in (None, "") else str(value).replace("\n", "\\n").replace("\t", "\\t")

    moment = told("time").replace("T", " ")[:23]
    tokens = f"{told('prompt_tokens')}({told('cached_tokens')})+{told('output_tokens')}"
    seconds = found.get("total_ms")
    took = f"{seconds / 1000:.3f}s" if isinstance(seconds, (int, float)) else _UNKNOWN
    parts = (
        moment, told("status"), f"{took:>9}", told("path"), told("name"), told("model"), tokens, told("key"),
        told("id"), told("code") if found.get("code") else "",
    )  # fmt: skip
    return "  ".join(parts).rstrip()
