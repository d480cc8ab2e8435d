"""Progress bars: of downloads, and of steps of work."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ansambl.cli.output import console
from ansambl.domain.model import Checkpoint
from ansambl.domain.units import size_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from ansambl.engines.install.records import Stage


_NAME = 48
"""Letters of a file's name beside its bar."""


class DownloadBar:
    """A bar that appears when the first bytes are shown; nothing where `console` is no terminal.

    With several files there is a line for each that is on its way, below the bar of all.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._all: TaskID | None = None
        self._files: dict[str, TaskID] = {}

    def show(self, done: int, total: int) -> None:
        """Show that `done` of `total` bytes have arrived."""
        if not self._console.is_terminal:
            return
        progress = self._started()
        if self._all is None:
            self._all = progress.add_task(speak("Fetching"), total=total)
        progress.update(self._all, completed=done, total=total)

    def file(self, name: str, done: int, total: int) -> None:
        """Show how far one file is; it goes away when it is whole."""
        if not self._console.is_terminal:
            return
        progress = self._started()
        if done >= total:
            task = self._files.pop(name, None)
            if task is not None:
                progress.remove_task(task)
            return
        if name not in self._files:
            self._files[name] = progress.add_task(_shortened(name), total=total)
        progress.update(self._files[name], completed=done, total=total)

    def close(self) -> None:
        """Take the bar away and bring the cursor back; also when the download failed."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _started(self) -> Progress:
        from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn
        from rich.text import Text

        class Amounts(ProgressColumn):
            """How much is here, and how quickly it comes; rich's own columns know English units only."""

            def render(self, task: Task) -> Text:
                words = f"{size_words(int(task.completed), speak)} / {size_words(int(task.total or 0), speak)}"
                speed = task.finished_speed or task.speed
                rate = speak("{size}/s").format(size=size_words(int(speed), speak)) if speed else ""
                return Text(f"{words} {rate}".rstrip())

        if self._progress is None:
            self._progress = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(), Amounts(), console=self._console,
                transient=True,
            )  # fmt: skip
            self._progress.start()
        return self._progress


def _shortened(name: str) -> str:
    """The end of a path, which tells files apart."""
    return name if len(name) <= _NAME else "…" + name[-_NAME + 1 :]


def pull_embedded(models_folder: Path) -> Checkpoint:
    """Fetch the embedded model, showing the progress on standard error when that is a terminal.

    Raises:
        CheckpointError: it could not be fetched.
    """
    from ansambl.model_catalog import embedded

    with closing(DownloadBar(console(error=True))) as bar:
        return embedded.pull(models_folder, bar.show)


class StageBar:
    """Shows the stages of an installation: a bar where their length is known, one line each where there is no terminal.

    What a stage counts (packages, bytes, steps) stands beside its bar.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._shown = ""

    def show(self, stage: Stage) -> None:
        """Show how far a stage is."""
        name = stage.name.render(speak)
        if not self._console.is_terminal:
            if name != self._shown:
                self._console.print(f"{name}…", style="dim")
            self._shown = name
            return
        if self._progress is None:
            self._progress = self._start()
        if self._task is None or name != self._shown:
            if self._task is not None:
                self._progress.remove_task(self._task)
            self._task, self._shown = self._progress.add_task(name, total=None, count=""), name
        self._progress.update(self._task, completed=stage.done, total=stage.total or None, count=_count(stage))

    def close(self) -> None:
        """Take the bar away and bring the cursor back."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _start(self) -> Progress:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn(),
            console=self._console, transient=True,
        )  # fmt: skip
        progress.start()
        return progress


def _count(stage: Stage) -> str:
    if not stage.total:
        return ""
    if stage.counts == "bytes":
        return f"{size_words(stage.done, speak)} / {size_words(stage.total, speak)}"
    return f"{stage.done}/{stage.total}"


class StepBar:
    """A bar over steps of work, `done` of `total` of them behind us; nothing where standard error is no terminal."""

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self._bar: Progress | None = None
        out = console(error=True)
        if out.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=out, transient=True)
            self._bar.add_task(title, total=total, completed=done)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def step(self) -> None:
        """One more step is done."""
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])
