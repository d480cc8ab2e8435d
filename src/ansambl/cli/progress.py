"""Progress bars: of downloads, and of steps of work."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ansambl.cli.output import console
from ansambl.domain.model import Checkpoint
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class DownloadBar:
    """A bar that appears when the first bytes are shown; nothing where `console` is no terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: tuple[Progress, TaskID] | None = None

    def show(self, done: int, total: int) -> None:
        """Show that `done` of `total` bytes have arrived."""
        if not self._console.is_terminal:
            return
        if self._bar is None:
            self._bar = self._start(total)
        progress, task = self._bar
        progress.update(task, completed=done, total=total)

    def close(self) -> None:
        """Take the bar away and bring the cursor back; also when the download failed."""
        if self._bar is not None:
            self._bar[0].stop()
            self._bar = None

    def _start(self, total: int) -> tuple[Progress, TaskID]:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        progress = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn(),
            console=self._console, transient=True,
        )  # fmt: skip
        progress.start()
        return progress, progress.add_task(speak("Fetching"), total=total)


def pull_embedded(models_folder: Path) -> Checkpoint:
    """Fetch the embedded model, showing the progress on standard error when that is a terminal.

    Raises:
        CheckpointError: it could not be fetched.
    """
    from ansambl.model_catalog import embedded

    with closing(DownloadBar(console(error=True))) as bar:
        return embedded.pull(models_folder, bar.show)


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
