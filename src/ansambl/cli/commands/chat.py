"""``ansambl chat``: a conversation in the terminal, in which the role can change at every turn."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from ansambl.cli.options import Config
from ansambl.foundation.locales import speak

_UNKNOWN_CONTEXT = 4096


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("chat", help=speak("Talk with a role, an ensemble or a model."))(chat)


def chat(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help=speak("A role, an ensemble or a model; default: the model."))
    ] = None,
    past: Annotated[
        str | None,
        typer.Option("--continue", metavar="CONVERSATION", help=speak(
            "Go on with an imported conversation: its id, the beginning of it, or its title.")),
    ] = None,
    config: Config = None,
) -> None:  # fmt: skip
    """Talk."""
    from ansambl.cli.client import connect
    from ansambl.cli.output import note

    with connect(config) as client:
        state = client.state_document()
        conversation = _Conversation(client, name or str(state["default_model"]), known_names(state))
        if name is not None:
            conversation.choose(name)
        if past is not None:
            conversation.go_on(past, _context(state))
        note(speak("Talking with {name}. /role NAME changes the role, /roles lists them, /clear forgets, /quit leaves.")
             .format(name=conversation.name))  # fmt: skip
        while True:
            line = _read_line(f"{conversation.name}> ")
            if line is None or line.strip() == "/quit":
                return
            if line.strip():
                conversation.take(line.strip())


def _context(state: dict[str, Any]) -> int:
    """Tokens of the smallest context that any instance gives one conversation; the engine may say less than it."""
    known = [one["context"] // (one["parallel"] or 1) for one in state["instances"] if one.get("context")]
    return min(known, default=_UNKNOWN_CONTEXT)


def known_names(state: dict[str, Any]) -> dict[str, str]:
    """Every name that a request may carry, lower-cased, with what it stands for."""
    found: dict[str, str] = {}
    for one in (*state["roles"], *state["ensembles"]):
        for name in (one["name"], *one["aliases"]):
            found[name.casefold()] = one["name"]
    for one in state["instances"]:
        found[one["model"].casefold()] = one["model"]
    return found


def _read_line(prompt: str) -> str | None:
    """The next line; None at the end of input. Ctrl-C drops the line that was being typed."""
    if not sys.stdin.isatty():
        line = sys.stdin.readline()
        return line or None
    import readline  # noqa: F401 - gives input() editing and history

    try:
        return input(prompt)
    except EOFError:
        print()
        return None
    except KeyboardInterrupt:
        print()
        return ""


class _Conversation:
    """The messages so far and who answers the next one."""

    def __init__(self, client: Any, name: str, names: dict[str, str]) -> None:
        self.name = name
        self._client = client
        self._names = names
        self._messages: list[dict[str, str]] = []

    def take(self, line: str) -> None:
        """Do what a line says: a command, or the next message."""
        from ansambl.cli.output import note, say

        command, _, rest = line.partition(" ")
        if command == "/roles":
            say(", ".join(sorted(set(self._names.values()))))
        elif command == "/clear":
            self._messages.clear()
            note(speak("Forgotten."))
        elif command == "/role":
            self._switch(rest.strip())
        elif command.startswith("/") and " " not in line and "/" not in command[1:]:
            note(speak("There is no {command}; there are /role NAME, /roles, /clear, /quit.").format(command=command))
        else:
            self._ask(line)

    def go_on(self, wanted: str, context: int) -> None:
        """Take up a past conversation, with half of `context` (tokens), so that there is room to talk.

        Raises:
            UsageError: there is none of that name, or several.
        """
        from ansambl.cli.knowledge_access import RunningKnowledge
        from ansambl.cli.past_chats import find_conversation, show_last
        from ansambl.knowledge.importing.continuing import continuation

        found = find_conversation(RunningKnowledge(self._client), wanted)
        taken = continuation(found, context // 2)
        self._messages = [dict(one) for one in taken.messages]
        show_last(found, taken.left_out)

    def choose(self, name: str) -> None:
        """Set who answers.

        Raises:
            UnknownNameError: nobody has this name.
        """
        from ansambl.domain.errors import UnknownNameError
        from ansambl.domain.text import text

        found = self._names.get(name.casefold())
        if found is None:
            known = ", ".join(sorted(set(self._names.values())))
            raise UnknownNameError(text("there is no '{name}'; there are: {known}", name=name, known=known))
        self.name = found

    def _switch(self, name: str) -> None:
        from ansambl.cli.output import note
        from ansambl.domain.errors import UnknownNameError

        try:
            self.choose(name)
        except UnknownNameError as error:
            note(error.message.render(speak))

    def _ask(self, line: str) -> None:
        from ansambl.cli.answer import print_answer, print_sources
        from ansambl.cli.output import note
        from ansambl.domain.errors import AnsamblError

        messages = [*self._messages, {"role": "user", "content": line}]
        if len(messages) > 1 and messages[-2]["role"] == "user":
            # A past conversation may end with a question; many templates refuse two of them in a row.
            messages[-2:] = [{"role": "user", "content": f"{messages[-2]['content']}\n\n{line}"}]
        try:
            answer = print_answer(self._client.stream_chat({"model": self.name, "messages": messages}))
        except KeyboardInterrupt:
            print()
            note(speak("Stopped; this turn is forgotten."))
        except AnsamblError as error:
            note(speak("error: {message}").format(message=error.message.render(speak)))
        else:
            print_sources(self._client.sources)
            self._messages = [*messages, {"role": "assistant", "content": answer.content}]
