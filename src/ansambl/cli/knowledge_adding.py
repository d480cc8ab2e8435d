"""What ``ansambl knowledge add``, ``import-chats`` and ``embed`` do: take in, tell, ask before hours of embedding."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from ansambl.cli.knowledge_progress import IngestBar, Interrupts, spoken_time
from ansambl.cli.knowledge_tables import print_report
from ansambl.cli.output import ask_yes, console, note, print_json, say
from ansambl.domain.errors import AnsamblError, UsageError
from ansambl.domain.text import text
from ansambl.foundation.locales import speak
from ansambl.foundation.paths import expanded

if TYPE_CHECKING:
    from ansambl.cli.knowledge_access import KnowledgeAccess

Document = dict[str, Any]

INTERRUPTED: Final = 130
LONG: Final = 60.0
"""Seconds of embedding with the bundled model before which the user is asked."""
FOLLOWED: Final = 120.0
"""Seconds for which a command watches an embedding that goes on in the running Ansambl without it."""
_COUNTED = ("added", "updated", "unchanged", "removed", "passages", "embedded", "repairs", "turns", "refused_count")


class Adding:
    """One command that takes in; `run` returns its exit code."""

    def __init__(self, access: KnowledgeAccess, *, chats: bool, as_json: bool, yes: bool) -> None:
        self._access = access
        self._chats = chats
        self._as_json = as_json
        self._yes = yes

    def run(self, wanted: Sequence[Document], *, embed: bool) -> int:
        """Take in one place after the other, and then give vectors to what has none.

        Returns:
            0 where something was taken in or nothing refused, 1 where all failed, 130 where Ctrl-C ended it.

        Raises:
            AnsamblError: the only place that was named cannot be taken in.
        """
        with Interrupts() as interrupts, IngestBar(console(error=True)) as bar:
            whole = _merged([])
            for one in wanted:
                if interrupts.stopped():
                    break
                whole = _merged([whole, self._taken_in(one, bar, interrupts, alone=len(wanted) == 1)])
            whole["stopped"] = stopped = interrupts.stopped() or whole["stopped"]
        taken = whole["added"] + whole["updated"] + whole["unchanged"] + whole["removed"]
        failed = bool(whole["refused_count"]) and not taken
        if not self._as_json:
            print_report(whole, chats=self._chats)
        if stopped:
            note(speak("Stopped. What was taken in stays; the same command goes on from there."))
        elif embed and not failed and self._embed():
            stopped = True
        if self._as_json:
            print_json({**whole, "pending": self._access.state()["pending"]})
        return INTERRUPTED if stopped else 1 if failed else 0

    def _taken_in(self, one: Document, bar: IngestBar, interrupts: Interrupts, *, alone: bool) -> Document:
        call = self._access.import_chats if self._chats else self._access.add
        try:
            return call(one, bar.show, interrupts.stopped)
        except AnsamblError as error:
            if alone:
                raise
            place = str(one.get("place", one.get("path")))
            refused = {"place": place, "reason": error.message.render(speak)}
            return {**_merged([]), "refused": [refused], "refused_count": 1}

    def run_embedding(self) -> int:
        """Give vectors to what has none; returns the exit code."""
        stopped = self._embed(asked_for=True)
        state = self._access.state()
        if self._as_json:
            print_json({"stopped": stopped, "pending": state["pending"], "model": state["model"]})
        elif not state["pending"]:
            say(speak("All passages have vectors."))
        return INTERRUPTED if stopped else 0

    def _embed(self, *, asked_for: bool = False) -> bool:
        """Give vectors where there is a model and the user agrees; whether Ctrl-C ended it."""
        state = self._access.state()
        if not state["pending"]:
            return False
        if not state["model"]:
            note(speak("There is no model of embeddings, so passages are found by their words alone. To have one: "
                       "pip install 'ansambl[knowledge]', or a model of embeddings under [models] of the "
                       "configuration."))  # fmt: skip
            return False
        if not self._asked(state):
            return False
        patience = None if asked_for or self._access.waits else FOLLOWED
        with Interrupts() as interrupts, IngestBar(console(error=True)) as bar:
            report = self._access.embed(bar.show, interrupts.stopped, patience)
            stopped = interrupts.stopped()
        if stopped:
            note(speak("Stopped. The vectors that were made stay; to go on: ansambl knowledge embed"))
        elif report is None:
            note(speak("The running Ansambl goes on making vectors; how far it is, says: ansambl knowledge list"))
        return stopped

    def _asked(self, state: Document) -> bool:
        """Whether the user agrees; who does not is told how to have it later."""
        later = speak("Its words can be searched now. To make the vectors later: ansambl knowledge embed --yes")
        try:
            agreed = self._agreed(state)
        except KeyboardInterrupt:
            note("")
            note(later)
            raise
        if not agreed:
            note(later)
        return agreed

    def _agreed(self, state: Document) -> bool:
        seconds = state["seconds_to_embed"]
        if not state["bundled"]:
            return True
        if seconds is None:
            from ansambl.knowledge.embedders.bundled import KNOWN_RATE

            seconds = state["pending"] / KNOWN_RATE
        if seconds <= LONG:
            return True
        note(
            speak("Passages: {count}; about {time} on this CPU with the bundled model. Words are searchable at once.")
            .format(count=f"{state['pending']:,}", time=spoken_time(seconds))
        )  # fmt: skip
        return ask_yes(speak("Make their vectors now?"), yes=self._yes)


def _merged(reports: Sequence[Document]) -> Document:
    """Several reports as one."""
    whole: Document = {name: sum(one[name] for one in reports) for name in _COUNTED}
    whole["refused"] = [refused for one in reports for refused in one["refused"]]
    whole["notes"] = [noted for one in reports for noted in one["notes"]]
    whole["since"] = min((one["since"] for one in reports if one["since"] is not None), default=None)
    whole["until"] = max((one["until"] for one in reports if one["until"] is not None), default=None)
    whole["seconds"] = sum(one["seconds"] for one in reports)
    whole["stopped"] = any(one.get("stopped", False) for one in reports)
    return whole


def is_address(place: str) -> bool:
    """Whether something that a user names is the address of a web page, and no path."""
    return place.lower().startswith(("http://", "https://"))


def place_for(wanted: str, *, keep: bool) -> str:
    """The place of a path or an address that a user names. A path is made absolute from where we are.

    Raises:
        UsageError: there is nothing, or it cannot be kept in step.
    """
    if not is_address(wanted):
        place = path_for(wanted)
        if keep and not expanded(wanted).is_dir():
            raise UsageError(text("'{place}' is no folder; only folders are kept in step", place=wanted[:300]))
        return place
    if keep:
        raise UsageError(text("a web page cannot be kept in step; leave out --watch, and add it again when it changed"))
    return wanted


def path_for(wanted: str) -> str:
    """The place of a path that a user names.

    Raises:
        UsageError: there is nothing.
    """
    from ansambl.knowledge.reading.roots import place_of

    path = expanded(wanted).absolute()
    try:
        path.lstat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(text("cannot read '{place}': {reason}", place=wanted[:300], reason=reason)) from None
    return place_of(path)


def moment_of(wanted: str, *, after: bool = False) -> float:
    """When a day begins that a user names, in seconds since the epoch; with `after` when the next one begins.

    Raises:
        UsageError: it is no day.
    """
    for form in ("%Y-%m-%d", "%d.%m.%Y"):
        try:
            # In the time of this machine: a day is meant as it was lived.
            day = datetime.strptime(wanted.strip(), form)  # noqa: DTZ007 - see above
            return (day + timedelta(days=1) if after else day).timestamp()
        except (ValueError, OverflowError, OSError):
            continue
    raise UsageError(text("'{day}' is no day; write it as 2025-08-07 or 07.08.2025", day=wanted[:40]))
