"""Downloads with a progress bar on standard error."""

from __future__ import annotations

import sys
from pathlib import Path

from ansambl.domain.model import Checkpoint
from ansambl.foundation.locales import speak


def pull_embedded(models_folder: Path) -> Checkpoint:
    """Fetch the embedded model, showing the progress on a terminal.

    Raises:
        CheckpointError: it could not be fetched.
    """
    from ansambl.cli.output import console
    from ansambl.model_catalog import embedded

    if not sys.stderr.isatty():
        return embedded.pull(models_folder, lambda _done, _total: None)
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    with Progress(*columns, console=console(error=True), transient=True) as bar:
        task = bar.add_task(speak("Fetching"), total=None)
        return embedded.pull(models_folder, lambda done, total: bar.update(task, completed=done, total=total))
