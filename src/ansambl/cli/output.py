"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ansambl.foundation.locales import speak
from ansambl.foundation.terminals import harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_PIPE_WIDTH = 200


def console(*, error: bool = False) -> Console:
    """A console on standard output (or error) that prints text as it is: brackets in it are not styles.

    Nothing in it is a command for the terminal, either.
    """
    from ansambl.cli.plain_console import PlainConsole

    stream = sys.stderr if error else sys.stdout
    # Whoever reads a pipe wants whole lines, not lines of 80 letters.
    width = None if stream.isatty() else _PIPE_WIDTH
    return PlainConsole(file=stream, width=width, markup=False, highlight=False, soft_wrap=True, emoji=False)


def print_json(document: Any) -> None:
    """Print `document` as the one JSON document of a command."""
    sys.stdout.write(harmless(json.dumps(document, ensure_ascii=False, indent=2, default=str)) + "\n")
    sys.stdout.flush()


def say(words: str) -> None:
    """Print a line of the result."""
    console().print(harmless(words))


def note(words: str) -> None:
    """Tell something that is not the result: it goes to standard error."""
    console(error=True).print(harmless(words), style="dim")


def print_table(title: str, headers: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table with a title; nothing when it has no rows."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", title_style="bold", box=None, pad_edge=False, padding=(0, 2))
    for header in headers:
        table.add_column(Text(header, style="dim"), overflow="fold")
    for row in rows:
        # Before they are measured: what is written is longer.
        table.add_row(*(Text(harmless(cell)) for cell in row))
    if table.row_count:
        out = console()
        out.print()
        out.print(table)


def print_grouped(title: str, sign: str, style: str, rows: Iterable[tuple[str, str]]) -> None:
    """Print sentences below a title, a sign before each and its source, if any, after it; nothing without rows."""
    from rich.text import Text

    sentences = []
    for words, source in rows:
        sentence = Text(words)
        if source:
            sentence.append(f" [{source}]", style="dim")
        sentences.append(sentence)
    if sentences:
        out = console()
        out.print()
        out.print(title, style="bold")
        print_signed(sign, style, sentences)


def print_signed(sign: str, style: str, sentences: Iterable[str | Text]) -> None:
    """Print sentences with a sign before each; their further lines are indented like the first."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for sentence in sentences:
        table.add_row(Text(f" {sign}", style=style), Text(sentence) if isinstance(sentence, str) else sentence)
    if table.row_count:
        console().print(table)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names with their values, aligned."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(Text(harmless(name)), Text(harmless(value)))
    if table.row_count:
        console().print(table)


def local_time(seconds: float) -> str:
    """A moment for people: the time alone when it was today."""
    moment, today = time.localtime(seconds), time.localtime()
    same_day = (moment.tm_year, moment.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S", moment)


def ask_yes(question: str, *, yes: bool, default: bool = False) -> bool:
    """Ask before something large or final.

    `yes` (from ``--yes``) answers; without a terminal the answer is no. `default` is what Enter alone means.
    """
    if yes:
        return True
    if not sys.stdin.isatty():
        note(speak("Not asked, because there is no terminal; add --yes."))
        return False
    console(error=True).print(f"{question} {speak('[Y/n]') if default else speak('[y/N]')} ", end="")
    line = sys.stdin.readline()
    words = line.strip().casefold()
    # No line at all is the end of the input, which consents to nothing.
    return default if line and not words else words in {"y", "yes", "д", "да"}
