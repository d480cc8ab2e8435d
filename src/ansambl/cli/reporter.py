"""What ``ansambl up`` shows on a terminal while Ansambl starts and stops."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ansambl.app.configuration.settings import EMBEDDED
from ansambl.cli.output import ask_yes
from ansambl.cli.progress import DownloadBar
from ansambl.cli.proposal import ask_beside, proposal_lines
from ansambl.domain.plan import Attachment
from ansambl.domain.text import Text
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from rich.console import Console

    from ansambl.app.first_plan import Proposal
    from ansambl.app.running_state import RunningState
    from ansambl.app.wiring import Product

_QUESTION = "Write a haiku about loops"

_WITH_KEY = '      -H "authorization: Bearer $ANSAMBL_KEY" \\\n'
"""The line of the example where a key is needed; it stands in a variable, so that no history keeps it."""


class TerminalReporter:
    """Implements `ansambl.app.lifecycle.Reporter` on a console. `yes` answers its questions."""

    def __init__(self, console: Console, *, yes: bool) -> None:
        self._console = console
        self._yes = yes
        self._bar = DownloadBar(console)

    def close(self) -> None:
        """Take away what is not to stay on the terminal."""
        self._bar.close()

    def say(self, message: Text) -> None:
        """One line about what is happening."""
        self._line(message.render(speak), "dim")

    def warn(self, message: Text) -> None:
        """One line about what went wrong while the rest goes on."""
        self._line(speak("warning: {message}").format(message=message.render(speak)), "yellow")

    def fetching(self, done: int, total: int) -> None:
        """Bytes of the embedded model that have arrived."""
        self._bar.show(done, total)

    def offer(self, found: Attachment) -> bool:
        """Ask whether a server that was found running shall answer; without a terminal say how to use it."""
        self._line(
            speak("{server} is running here, at {address}, with the model {model}.").format(
                server=found.server, address=found.address, model=found.name
            )
        )
        if self._yes:
            self._line(speak("Roles and council run on it."))
            return True
        if sys.stdin.isatty() and self._console.is_terminal:
            question = speak("Shall roles and council run on it, instead of the tiny embedded model?")
            return ask_yes(question, yes=False, default=True)
        self._line(speak("To run roles and council on it, start with --yes, or put this into ansambl.toml:"))
        self._line(f'\n    [models.main]\n    address = "{found.address}"\n    name = "{found.name}"\n')
        return False

    async def consent(self, proposal: Proposal) -> bool | None:
        """Show what could be fetched and run here; ask on a terminal, else say how to have it and return None."""
        for line in proposal_lines(proposal):
            self._line(line)
        if self._yes:
            return True
        if not (sys.stdin.isatty() and self._console.is_terminal):
            self._line("  " + speak("To fetch and run it, start with --yes. All options: ansambl plan"), "dim")
            return None
        answer = await ask_beside(
            self._console, speak("Fetch it now and run it? Ansambl goes on answering meanwhile. {choice}").format(
                choice=speak("[y/N]"))
        )  # fmt: skip
        if answer is False:
            self._line(speak("Not fetched, and not asked again. All options: ansambl plan"), "dim")
        return answer

    def ready(self, running: RunningState, product: Product) -> None:
        """Say where everything is and give one command to try."""
        catalog = product.catalog
        names = ", ".join((*catalog.roles, *catalog.ensembles, *catalog.models))
        address = running.address
        needs_key = product.door.has_keys
        api = speak("{address}/v1 (OpenAI; with an API key)") if needs_key else speak("{address}/v1 (OpenAI; any key)")
        rows = (
            (speak("Console"), f"{address}/"),
            (speak("API"), api.format(address=address)),
            (speak("Models"), names),
        )
        self._line("")
        width = max(len(title) for title, _ in rows)
        for title, value in rows:
            self._line(f"  {title.ljust(width)}  {value}")
        self._line("\n  " + speak("Try it:"))
        self._line(
            f"    curl {address}/v1/chat/completions -H 'content-type: application/json' \\\n"
            f"{_WITH_KEY if needs_key else ''}"
            f"""      -d '{{"model": "coder", "messages": [{{"role": "user", "content": "{_QUESTION}"}}]}}'"""
        )
        if any(one.name == EMBEDDED for one in catalog.models.values()):
            self._line(
                "\n  "
                + speak(
                    "The embedded model is a demonstration: tiny, English only. For real work give Ansambl a GGUF file "
                    "or the address of a running engine under [models] in ansambl.toml."
                )
            )
        self._line("\n  " + speak("Ctrl-C stops everything."))

    def _line(self, line: str, style: str = "") -> None:
        self._bar.close()
        self._console.print(line, style=style)
