"""Checking the configuration and joining it with the command line, with where each value came from."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ansambl.app.configuration.configuration_file import FILE_NAME, absolute_path, find_file, read_file, shown_path
from ansambl.app.configuration.knowledge_settings import KnowledgeSettings
from ansambl.app.configuration.settings import ENGINES_IN_CONTEXT, Settings
from ansambl.app.configuration.settings_lines import KeyPath, key_lines, line_of, written_path
from ansambl.app.configuration.settings_problems import problem_of
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import DATA_VARIABLE, DataPaths, expanded

DEFAULT, COMMAND_LINE = "default", "command line"


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """The effective settings.

    `file` is the configuration file, None when there is none. `origins` maps each key (as written in TOML) to
    ``"default"``, ``"FILE:LINE"``, ``"command line"`` or ``"environment NAME"``; `tables` maps tables likewise.
    """

    settings: Settings
    file: Path | None
    origins: Mapping[str, str]
    tables: Mapping[str, str] = field(default_factory=dict)

    @property
    def paths(self) -> DataPaths:
        """The data folder."""
        return DataPaths(Path(self.settings.data.folder))

    def problem(self, path: KeyPath, message: Text) -> ConfigurationError:
        """An error about one key that shows only when the parts are joined, with the key's place."""
        return self.located((path,), text("{key}: {problem}", key=written_path(path), problem=message))

    def located(self, paths: Iterable[KeyPath], message: Text) -> ConfigurationError:
        """An error whose words name its key already, with the place of the first of `paths` that was written."""
        keys = tuple(paths)
        for path in keys:
            for length in range(len(path), 1, -1):
                key = written_path(path[:length])
                origin = self.origins.get(key, DEFAULT)
                origin = self.tables.get(key, DEFAULT) if origin == DEFAULT else origin
                if origin == DEFAULT:
                    continue
                file, _, line = origin.rpartition(":")
                if line.isdigit():
                    placed = text("{file} line {line}: {problem}", file=file, line=line, problem=message)
                    return ConfigurationError(placed, keys=keys)
                return ConfigurationError(text("{place}: {problem}", place=origin, problem=message), keys=keys)
        return ConfigurationError(message, keys=keys)


def known_engines() -> tuple[str, ...]:
    """Every name of an engine that a configuration may write, without loading one."""
    from ansambl.engines.registry import engine_names

    return engine_names()


def load_settings(
    chosen: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    *,
    engines: Iterable[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> LoadedSettings:
    """Read the configuration and join it with the environment and the command line.

    Args:
        chosen: the file that ``--config`` names; None looks in the usual places.
        overrides: dotted key to value from the command line, for example ``{"gateway.port": 9000}``; None is unset.
        engines: the names of the engines that exist, the registry's when left out.
        environment: variables, the process's own when left out.

    Raises:
        ConfigurationError: one line that names the file, the line, the key, what is wrong and what to do.
    """
    file = find_file(chosen)
    data, source = read_file(file) if file else ({}, "")
    lines = key_lines(source)
    places = _add_overrides(data, overrides or {}, os.environ if environment is None else environment)
    known = known_engines() if engines is None else tuple(engines)
    try:
        settings = Settings.model_validate(data, context={ENGINES_IN_CONTEXT: known})
    except ValidationError as error:
        raise ConfigurationError(_first_problem(error, data, file, lines, places)) from None
    settings = _with_absolute_paths(settings, file)
    origins: dict[str, str] = {}
    for path in _leaves(settings.model_dump()):
        if path in places:
            origins[written_path(path)] = places[path]
        elif file is not None and path in lines:
            origins[written_path(path)] = f"{shown_path(file)}:{lines[path]}"
        else:
            origins[written_path(path)] = DEFAULT
    tables = {written_path(path): f"{shown_path(file)}:{line}" for path, line in lines.items()} if file else {}
    return LoadedSettings(settings, file, origins, tables)


def _add_overrides(
    data: dict[str, Any], overrides: Mapping[str, Any], environment: Mapping[str, str]
) -> dict[KeyPath, str]:
    """Write what stands above the file into `data`; return where each such key came from."""
    layers: list[tuple[KeyPath, Any, str]] = []
    folder = environment.get(DATA_VARIABLE)
    if folder:
        absolute = str(expanded(folder).absolute())
        layers.append((("data", "folder"), absolute, f"environment {DATA_VARIABLE}"))
    layers.extend((tuple(key.split(".")), value, COMMAND_LINE) for key, value in overrides.items() if value is not None)
    places: dict[KeyPath, str] = {}
    for path, value, place in layers:
        table: Any = data
        for part in path[:-1]:
            table = table.setdefault(part, {}) if isinstance(table, dict) else None
        if isinstance(table, dict):
            table[path[-1]] = copy.deepcopy(value)
            places[path] = place
    return places


def _first_problem(
    error: ValidationError,
    data: Mapping[str, Any],
    file: Path | None,
    lines: Mapping[KeyPath, int],
    places: Mapping[KeyPath, str],
) -> Text:
    found = []
    for one in error.errors(include_url=False):
        path, problem = problem_of(one, data)
        line = None if path in places else line_of(path, lines)
        if line is not None and file is not None:
            problem = text("{file} line {line}: {problem}", file=shown_path(file), line=line, problem=problem)
        elif path in places:
            problem = text("{place}: {problem}", place=places[path], problem=problem)
        found.append((line or 0, problem))
    found.sort(key=lambda one: one[0])
    first = found[0][1]
    return text("{first} (and {count} more)", first=first, count=len(found) - 1) if len(found) > 1 else first


def _with_absolute_paths(settings: Settings, file: Path | None) -> Settings:
    """Paths in a file are relative to the file, so that it means the same wherever a command is run."""
    base = file or Path(FILE_NAME)
    folder = str(absolute_path(settings.data.folder, base))
    models = {
        name: model.model_copy(update={"checkpoint": _checkpoint(model.checkpoint, base)})
        for name, model in settings.models.items()
    }
    files = {
        key: str(absolute_path(path, base))
        for key in ("tls_certificate", "tls_key")
        if (path := getattr(settings.gateway, key)) is not None
    }
    return settings.model_copy(
        update={
            "knowledge": _knowledge_with_absolute_paths(settings.knowledge, base),
            "data": settings.data.model_copy(update={"folder": folder}),
            "models": models,
            "gateway": settings.gateway.model_copy(update=files),
        }
    )


def _knowledge_with_absolute_paths(knowledge: KnowledgeSettings, base: Path) -> KnowledgeSettings:
    def all_of(paths: Iterable[str]) -> tuple[str, ...]:
        return tuple(str(absolute_path(one, base)) for one in paths)

    collections = {
        name: one.model_copy(update={"folders": all_of(one.folders)}) for name, one in knowledge.collections.items()
    }
    return knowledge.model_copy(update={"roots": all_of(knowledge.roots), "collections": collections})


def _checkpoint(reference: str | None, base: Path) -> str | None:
    if reference is None:
        return None
    path = absolute_path(reference, base)
    # A folder is a checkpoint only where it says what model it is; any other of that name is not meant.
    here = path.is_file() or (path / "config.json").is_file()
    return str(path) if reference.startswith(("./", "../", "~")) or here else reference


def _leaves(value: Mapping[str, Any], path: KeyPath = ()) -> list[KeyPath]:
    found: list[KeyPath] = []
    for name, inner in value.items():
        if isinstance(inner, dict) and inner:
            found.extend(_leaves(inner, (*path, name)))
        else:
            found.append((*path, name))
    return found
