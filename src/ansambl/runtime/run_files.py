"""Files that an engine reads at its start: written for one run, private to us, and removed when the run ends.

They may hold the key of the run, for engines that take it from a file and not from the environment. Each instance has
one such folder, beside its log, because it has one run at a time.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ansambl.domain.engine import RUN_FOLDER, LaunchSpec
from ansambl.foundation.paths import PRIVATE_FILE, PRIVATE_FOLDER

_SUFFIX = ".run"


def run_folder(log: Path) -> Path:
    """Where the files of the run lie whose output goes to `log`."""
    return log.with_name(log.name.removesuffix(".log") + _SUFFIX)


def write_run_files(spec: LaunchSpec, log: Path) -> LaunchSpec:
    """Write the files of `spec`, and return it with the gaps that stand for their folder filled.

    A spec without files comes back as it is, and nothing is made for it.

    Raises:
        OSError: they cannot be written.
        ValueError: a file's name is not a plain one.
    """
    remove_run_files(log)
    if not spec.files:
        return spec
    folder = run_folder(log).absolute()
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True)
    for name, content in spec.files.items():
        if not name or Path(name).name != name or name in {".", ".."}:
            message = f"'{name}' is no plain name of a file"
            raise ValueError(message)
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content)
    where = str(folder)
    return replace(
        spec, argv=tuple(word.replace(RUN_FOLDER, where) for word in spec.argv),
        environment={name: value.replace(RUN_FOLDER, where) for name, value in spec.environment.items()},
        working_folder=spec.working_folder.replace(RUN_FOLDER, where) if spec.working_folder else None,
    )  # fmt: skip


def remove_run_files(log: Path) -> None:
    """Remove what was written for the run whose output goes to `log`; nothing there is no error."""
    shutil.rmtree(run_folder(log), ignore_errors=True)


def remove_leftover_files(logs: Path, keep: Iterable[Path] = ()) -> int:
    """Remove the files of runs that are gone from the folder `logs`; returns how many runs there were.

    `keep` are the logs of the engines that still run.
    """
    kept = {run_folder(one).absolute() for one in keep}
    gone = [one for one in logs.glob("*" + _SUFFIX) if one.is_dir() and one.absolute() not in kept]
    for folder in gone:
        shutil.rmtree(folder, ignore_errors=True)
    return len(gone)
