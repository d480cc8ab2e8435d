"""How far the taking in of documents is, on a terminal and elsewhere; and ending it by Ctrl-C with nothing lost."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from ansambl.domain.figures import number_words
from ansambl.foundation.locales import speak
from ansambl.foundation.terminals import harmless

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

_NAME = 40
"""Letters of a document's name beside its bar."""
_LINE_EVERY = 5.0
"""Seconds between two lines where there is no terminal."""


class IngestBar:
    """A bar with rate, time left and the present document; a line every few seconds where `console` is no terminal."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._now = now
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._said = now()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def show(self, one: dict[str, Any]) -> None:
        """Show how far it is; `one` is a progress document of the admin API."""
        name = f"{_stages().get(one['stage'], one['stage'])}"
        if not self._console.is_terminal:
            self._say(name, one)
            return
        if self._progress is None:
            self._progress = _started(self._console)
        if self._task is None or one["stage"] != self._stage:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task = self._progress.add_task(name, total=None, count="", rate="", left="", current="")
            self._stage = one["stage"]
        self._progress.update(
            self._task, completed=one["done"], total=one["total"], count=_count(one), rate=_rate(one), left=_left(one),
            current=_shortened(harmless(one["current"])),
        )  # fmt: skip

    def _say(self, name: str, one: dict[str, Any]) -> None:
        if self._now() - self._said < _LINE_EVERY:
            return
        self._said = self._now()
        parts = [f"{name}: {_count(one)}", _rate(one), _left(one)]
        self._console.print(harmless(", ".join(part for part in parts if part)), style="dim")

    def close(self) -> None:
        """Take the bar away and bring the cursor back."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = self._task = None


def _started(console: Console) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    columns = [TextColumn("{task.description}", markup=False), BarColumn(bar_width=24)]
    columns += [TextColumn(f"{{task.fields[{name}]}}", markup=False) for name in ("count", "rate", "left", "current")]
    progress = Progress(*columns, console=console, transient=True)
    progress.start()
    return progress


def _stages() -> dict[str, str]:
    return {"reading": speak("Reading"), "embedding": speak("Embedding"), "indexing": speak("Indexing")}


def _count(one: dict[str, Any]) -> str:
    return f"{one['done']:,}" if one["total"] is None else f"{one['done']:,}/{one['total']:,}"


def _rate(one: dict[str, Any]) -> str:
    return "" if one["rate"] is None else speak("{rate} a second").format(rate=number_words(one["rate"], ",.1f", speak))


def _left(one: dict[str, Any]) -> str:
    return "" if one["left"] is None else speak("{time} left").format(time=spoken_time(one["left"]))


def _shortened(name: str) -> str:
    """The end of a path, which tells documents apart."""
    flat = " ".join(name.split())
    return flat if len(flat) <= _NAME else "…" + flat[-_NAME + 1 :]


def spoken_time(seconds: float) -> str:
    """A span of time in one unit, for people: no more exact than such a forecast is."""
    if seconds < 90:
        return speak("{count} s").format(count=max(1, round(seconds)))
    if seconds < 120 * 60:
        return speak("{count} min").format(count=round(seconds / 60))
    return speak("{count} h").format(count=round(seconds / 3600))


class Interrupts:
    """While it lasts, the first Ctrl-C asks for an end (`stopped`), and the second one ends at once."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._before: Any = None

    def stopped(self) -> bool:
        """Whether an end was asked for."""
        return self._asked.is_set()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked.is_set():
            signal.default_int_handler(number, frame)
        self._asked.set()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
