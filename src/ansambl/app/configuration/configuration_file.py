"""The configuration file: where it is, reading it, and the one setting that most commands need.

What stands in it is checked by `settings_file`, which is slower to load.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Any

from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import (
    DATA_VARIABLE,
    DataPaths,
    default_configuration_file,
    default_data_folder,
    expanded,
)

FILE_NAME = "ansambl.toml"
_LARGEST_FILE = 1_000_000


def find_file(chosen: Path | None) -> Path | None:
    """The configuration file: the chosen one, else ``./ansambl.toml``, else the user's own; None when there is none.

    Raises:
        ConfigurationError: the chosen file does not exist.
    """
    if chosen is not None:
        if not chosen.exists():
            raise ConfigurationError(
                text("the configuration file {path} does not exist; give another with --config, or none", path=chosen)
            )
        return chosen
    for candidate in (Path(FILE_NAME), default_configuration_file()):
        # A folder or a broken link of this name is a mistake that reading it will tell, not a reason to pass it over.
        if os.path.lexists(candidate):
            return candidate
    return None


def shown_path(file: Path) -> str:
    """The file as a person would name it from the current folder."""
    try:
        return str(file.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(file)


def read_file(file: Path) -> tuple[dict[str, Any], str]:
    """Return the parsed file and its text.

    Raises:
        ConfigurationError: it cannot be read, or it is not TOML; with the line.
    """
    shown = shown_path(file)
    try:
        raw = file.read_bytes() if file.stat().st_size <= _LARGEST_FILE else None
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigurationError(
            text("{file} cannot be read ({reason}); give another file with --config", file=shown, reason=reason)
        ) from None
    if raw is None:
        raise ConfigurationError(
            text("{file} is over 1 MB, which no configuration is; give another file with --config", file=shown)
        )
    try:
        source = raw.decode("utf-8-sig").replace("\r\n", "\n")
        return tomllib.loads(source), source
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigurationError(
            text("{file} line {line}: not UTF-8 text; save the file as UTF-8", file=shown, line=line)
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(_broken(shown, source, str(error))) from None
    except (RecursionError, ValueError):
        # Python's own limits, which TOML's parser does not make errors of its own.
        raise ConfigurationError(
            text("{file} has a number or a nesting that is too large to read; shorten it", file=shown)
        ) from None


def _broken(shown: str, source: str, message: str) -> Text:
    lines = source.splitlines()
    match = re.search(r" \(at (?:line (\d+), column \d+|end of document)\)$", message)
    number = int(match[1]) if match and match[1] else max(1, len(lines))
    reason = message[: match.start()] if match else message
    quoted = lines[number - 1].strip()[:60] if number <= len(lines) else ""
    return text(
        "{file} line {line}: not valid TOML ({reason}): {quoted}", file=shown, line=number, reason=reason, quoted=quoted
    )


def load_data_paths(chosen: Path | None = None) -> DataPaths:
    """The data folder alone, quickly and even when the rest of the configuration is wrong.

    Raises:
        ConfigurationError: the file cannot be read or is not TOML.
    """
    if not os.environ.get(DATA_VARIABLE):
        file = find_file(chosen)
        table = read_file(file)[0].get("data") if file else None
        folder = table.get("folder") if isinstance(table, dict) else None
        if file is not None and isinstance(folder, str) and folder:
            return DataPaths(absolute_path(folder, file))
    return DataPaths(default_data_folder())


def absolute_path(path: str, file: Path) -> Path:
    """What a path that stands in `file` means: relative ones are relative to the file's folder."""
    return Path(os.path.normpath(file.absolute().parent / expanded(path)))
