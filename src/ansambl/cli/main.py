"""The program ``ansambl``: language first, then the command, then one line when something failed."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ansambl import __version__
from ansambl.cli import commands
from ansambl.domain.errors import AnsamblError
from ansambl.foundation.locales import LANGUAGES, choose_language, speak, supported

_ORDER = (
    "up", "down", "status", "console", "open-webui", "instances", "plan", "fit", "review", "compat", "buy", "command",
    "simulate", "ask", "chat", "eval", "logs", "models", "engines", "lora", "roles", "knowledge", "keys", "machines",
    "config", "data",
)  # fmt: skip
_INTERRUPTED = 130


def make_app(wanted: str | None = None) -> typer.Typer:
    """The program, its help in the process's language.

    With all its commands, or with the command `wanted` alone, so that the others' modules need not be loaded.
    """
    app = typer.Typer(
        name="ansambl",
        help=speak("One machine, one resident model, many minds: runs and serves language models on your hardware."),
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    app.callback()(_global_options)
    names = command_names()
    for name in [wanted] if wanted in names else names:
        importlib.import_module(f"{commands.__name__}.{name.replace('-', '_')}").register(app)
    return app


def command_names() -> list[str]:
    """The commands: one for each module of ``cli/commands``, the usual ones first."""
    found = [one.name.replace("_", "-") for one in pkgutil.iter_modules(commands.__path__)]
    return sorted(found, key=lambda one: (_ORDER.index(one) if one in _ORDER else len(_ORDER), one))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ansambl {__version__}")
        raise typer.Exit


def _global_options(
    _version: Annotated[
        bool,
        typer.Option("--version", help=speak("Print the version."), is_eager=True, callback=_print_version),
    ] = False,
    _lang: Annotated[
        str | None,
        typer.Option("--lang", help=speak("The language of messages: en or ru."), metavar="LANGUAGE"),
    ] = None,
    _debug: Annotated[bool, typer.Option("--debug", help=speak("Show a traceback when something fails."))] = False,
) -> None:
    """Options that every command takes, before its name or after it; `take_global_options` reads them."""


def take_global_options(arguments: Sequence[str]) -> tuple[list[str], bool, str | None]:
    """Take ``--lang`` and ``--debug`` out of the command line, wherever they stand before a ``--``.

    Returns the other arguments, whether ``--debug`` was there, and a language that we do not have.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    rest: list[str] = []
    debug, wrong = False, None
    words = iter(arguments[:end])
    for word in words:
        if word == "--debug":
            debug = True
        elif word == "--lang" or word.startswith("--lang="):
            value = next(words, "") if word == "--lang" else word.partition("=")[2]
            wrong = wrong if supported(value) else value
        else:
            rest.append(word)
    return [*rest, *arguments[end:]], debug, wrong


def main(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code: 0 done, 1 failed, 2 bad usage, 3 not supported, 130 interrupted."""
    _make_writable()
    choose_language(arguments)
    rest, debug, wrong = take_global_options(arguments)
    if wrong is not None:
        return _fail(
            speak("there is no language '{language}'; use one of: {known}").format(
                language=wrong, known=", ".join(LANGUAGES)
            ),
            2,
        )
    try:
        wanted = next((one for one in rest if not one.startswith("-")), None)
        if not rest or "--help" in rest:
            _translate_help()
        result = make_app(wanted)(args=rest or ["--help"], prog_name="ansambl", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:  # noqa: BLE001 - the last place where a failure can become one line
        if debug:
            traceback.print_exc()
        return _explain(error)
    return result if isinstance(result, int) else 0


def _make_writable() -> None:
    """Let printing never fail: a closed stream swallows, letters that an encoding lacks become question marks."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - for the process's life
        elif hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="replace")


def _translate_help() -> None:
    """Title the parts of help pages in the process's language. Only for help pages, because it loads rich."""
    from typer import rich_utils

    rich_utils.ARGUMENTS_PANEL_TITLE = speak("Arguments")
    rich_utils.OPTIONS_PANEL_TITLE = speak("Options")
    rich_utils.COMMANDS_PANEL_TITLE = speak("Commands")
    rich_utils.REQUIRED_LONG_STRING = speak("[required]")
    rich_utils.DEFAULT_STRING = speak("[default: {}]")


def _explain(error: Exception) -> int:
    if isinstance(error, AnsamblError):
        return _fail(error.message.render(speak), error.exit_code)
    if isinstance(error, typer.Abort):
        return _fail(speak("stopped; nothing was changed"), 1)
    words = getattr(error, "format_message", None)
    if callable(words):
        # A usage error of typer: it knows the command that it is about.
        context: Any = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "ansambl"
        return _fail(
            speak("{problem} See: {command} --help").format(problem=_sentence(words()), command=command),
            int(getattr(error, "exit_code", 2)),
        )
    return _fail(
        speak("unexpected {kind}: {problem}; run again with --debug to see where").format(
            kind=type(error).__name__, problem=str(error).replace("\n", " ")
        ),
        1,
    )


def _sentence(words: str) -> str:
    flat = " ".join(words.split())
    return flat if flat.endswith((".", "?", "!")) else flat + "."


def _fail(message: str, code: int) -> int:
    # One line whatever stands in it: a name from a file or a request may hold line breaks and terminal codes.
    line = "".join(one if one.isprintable() else repr(one)[1:-1] for one in message)
    print(speak("error: {message}").format(message=line), file=sys.stderr)
    return code


def run() -> None:
    """What the installed program ``ansambl`` calls."""
    sys.exit(main(sys.argv[1:]))
