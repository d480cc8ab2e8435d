"""Writes the configuration of a plan that is put into effect: whole, tried first, the old one kept beside it."""

from __future__ import annotations

import codecs
import os
import time
from collections.abc import Callable
from pathlib import Path

from ansambl.app.configuration.settings_file import LoadedSettings
from ansambl.app.plan_change import Change, existing
from ansambl.domain.errors import CheckpointError, ConfigurationError, RequestError
from ansambl.domain.text import text
from ansambl.domain.units import format_bytes
from ansambl.foundation.paths import PRIVATE_FILE, write_atomically


class PlanChangedError(RequestError):
    """What would happen is no longer what the owner agreed to."""

    status = 409
    code = "plan_changed"


def check_change(change: Change) -> None:
    """Refuse what cannot be done whoever agrees.

    Raises:
        CheckpointError: the disk has no room.
        ConfigurationError: the file cannot be written there.
    """
    if change.lacking:
        raise CheckpointError(
            text("the plan needs {size} more in {folder}, where {free} are free; free {lacking} there",
                 size=format_bytes(change.size), folder=str(change.folder), free=format_bytes(change.free),
                 lacking=format_bytes(change.lacking))
        )  # fmt: skip
    folder = existing(change.file.resolve().parent)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise _unwritable(change.file, os.strerror(13))


def write_configuration(change: Change, check: Callable[[Path], LoadedSettings]) -> Path | None:
    """Write the new file whole or not at all, the old one kept beside it; return where that is, None without one.

    `check` reads a configuration; it is given the new one before it takes the old one's place.

    Raises:
        ConfigurationError: the new one could not be used, the old one has changed meanwhile, or it cannot be written.
    """
    file = change.file.resolve()
    content = change.source.encode()
    mode = PRIVATE_FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        raw = file.read_bytes() if file.exists() else b""
        # One that was emptied or removed meanwhile was changed, too.
        if raw.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n") != change.old.encode():
            raise PlanChangedError(text("the configuration file was changed meanwhile; look at the plan again"))
        if raw:
            mode = file.stat().st_mode & 0o777
            # As its owner's editor writes it.
            if b"\r\n" in raw:
                content = content.replace(b"\n", b"\r\n")
            if raw.startswith(codecs.BOM_UTF8):
                content = codecs.BOM_UTF8 + content
        trial = file.with_name(f".{file.name}.trial")
        write_atomically(trial, content, mode)
        try:
            check(trial)
        finally:
            trial.unlink(missing_ok=True)
        backup = None
        if raw:
            backup = _unused(file)
            write_atomically(backup, raw, mode)
        write_atomically(file, content, mode)
    except OSError as error:
        raise _unwritable(file, error.strerror or str(error)) from None
    return backup


def put_back(change: Change, backup: Path | None) -> None:
    """Undo `write_configuration`."""
    file = change.file.resolve()
    if backup is None:
        if change.creates:
            file.unlink(missing_ok=True)
        else:
            file.write_bytes(b"")
        return
    write_atomically(file, backup.read_bytes(), backup.stat().st_mode & 0o777)
    backup.unlink(missing_ok=True)


def _unused(file: Path) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    return next(
        one for number in range(1, 1000)
        if not (one := file.with_name(f"{file.name}.{stamp}{f'-{number}' if number > 1 else ''}.bak")).exists()
    )  # fmt: skip


def _unwritable(file: Path, reason: str) -> ConfigurationError:
    return ConfigurationError(
        text("the configuration file {file} cannot be written ({reason}); put the tables of the plan into your "
             "configuration yourself", file=str(file), reason=reason)
    )  # fmt: skip
