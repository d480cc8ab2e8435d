"""``ansambl ask``: one question to a role, an ensemble or a model."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ansambl.cli.options import Config, Json
from ansambl.foundation.locales import speak


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ask", help=speak("Ask a role, an ensemble or a model once."))(ask)


def ask(
    name: Annotated[str, typer.Argument(metavar="NAME", help=speak("A role, an ensemble or a model."))],
    words: Annotated[str, typer.Argument(metavar="TEXT", help=speak('The question; "-" reads standard input.'))],
    config: Config = None,
    explain: Annotated[
        bool, typer.Option("--explain", help=speak("Show what would be sent to the engine and why; ask nothing."))
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask once."""
    from ansambl.cli.answer import print_answer, print_sources
    from ansambl.cli.client import connect
    from ansambl.cli.output import print_json
    from ansambl.domain.errors import UsageError
    from ansambl.domain.text import text

    question = sys.stdin.read() if words == "-" else words
    if not question.strip():
        raise UsageError(text('the question is empty; write it after the name: ansambl ask coder "…"'))
    request = {"model": name, "messages": [{"role": "user", "content": question}]}
    with connect(config) as client:
        if explain:
            found = client.explain(request)
            if as_json:
                print_json(found)
            else:
                print_explanation(found)
            return
        answer = print_answer(client.stream_chat(request), quiet=as_json)
        sources = client.sources
    if as_json:
        print_json({"name": name, **answer.as_json(), "sources": sources})
    else:
        print_sources(sources)


def print_explanation(found: dict[str, Any]) -> None:
    """Print what a request would be turned into; for an ensemble, what each of its roles gets."""
    from ansambl.cli.output import console, print_pairs

    others = [str(one) for one in found.get("group") or [] if one != found.get("role")]
    pairs = [
        (speak("Answers"), str(found.get("ensemble") or "")),
        (speak("Role"), str(found.get("role") or "")),
        (speak("Model"), str(found.get("model") or "")),
        (speak("Layout"), str(found.get("layout") or "")),
        (speak("Shares with"), ", ".join(others)),
        (speak("Day"), str(found.get("date") or "")),
        (speak("Note"), str(found.get("note") or "")),
    ]
    print_pairs([(name, value) for name, value in pairs if value])
    out = console()
    shared = int(found.get("shared_messages") or 0)
    for index, message in enumerate(found.get("messages") or []):
        heading = str(message.get("role"))
        if found.get("role"):
            mark = speak("shared between roles") if index < shared else speak("this role's own")
            heading = f"{heading} ({mark})"
        out.print(f"\n{heading}", style="bold")
        out.print(str(message.get("content")))
    _print_knowledge(found.get("knowledge"))
    reasons = [str(one) for one in found.get("reasons") or []]
    if reasons:
        out.print(f"\n{speak('Why')}", style="bold")
        for reason in reasons:
            out.print(f"- {reason}")
    for role in found.get("roles") or []:
        out.print()
        print_explanation(role)


def _print_knowledge(found: dict[str, Any] | None) -> None:
    """What was searched for the question, what of it is given to the model, and what is not."""
    from ansambl.cli.output import console, print_pairs

    if not found:
        return
    out = console()
    out.print(f"\n{speak('Knowledge')}", style="bold")
    pairs = [
        (speak("Searched for"), str(found.get("query") or "")),
        (speak("Collections"), ", ".join(map(str, found.get("collections") or []))),
        (speak("Tokens"), str(found.get("tokens") or 0)),
        (speak("Not searched"), str(found.get("failure") or "")),
    ]
    print_pairs([(name, value) for name, value in pairs if value])
    for one in found.get("sources") or []:
        out.print(f"[{one.get('number')}] {_place(one)}, {one.get('tokens')}", markup=False)
    for one in found.get("left_out") or []:
        out.print(f"- {_place(one)}: {one.get('reason')}", markup=False)


def _place(one: dict[str, Any]) -> str:
    page = one.get("page")
    return f"{one.get('title')}" if page is None else f"{one.get('title')}, {speak('page')} {page}"
