"""llama-swap's ``config.yaml`` (its config.example.yaml) as a configuration of ours."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit

from ansambl.app.importing.commands import ReadCommand, read_command
from ansambl.app.importing.draft import Draft
from ansambl.domain.errors import ConfigurationError
from ansambl.domain.text import Text, text
from ansambl.foundation.paths import expanded
from ansambl.model_catalog.printable import printable

_MAX_FILE, _MAX_TEXT, _ROUNDS = 512 << 10, 1 << 16, 20
_DEEP = re.compile(rb"(?:[\[{]\s*){60}")
"""Brackets in brackets that no configuration has, and over which the YAML reader takes seconds."""
_MACRO = re.compile(r"\$\{([A-Za-z0-9_.-]{1,200})\}")
_PORT = "PORT"
_MODEL_LEFT: dict[str, Text] = {
    "cmdStop": text("Ansambl ends what it started itself, with a signal first"),
    "filters": text("write a role with these values instead: [roles.NAME] with temperature, top_p and so on"),
    "metadata": text("there is no such setting"),
    "concurrencyLimit": text("what is too much waits in line; set 'parallel' for requests at once"),
    "sendLoadingState": text("there is no such setting"),
    "timeouts": text("there is no such setting"),
    "unlisted": text("every model is listed"),
}
_TOP_LEFT: dict[str, Text] = {
    "groups": text("which models run together follows from the memory that they need; 'pinned' keeps one loaded"),
    "matrix": text("which models run together follows from the memory that they need; 'pinned' keeps one loaded"),
    "apiKeys": text("keys are secrets and are not copied"),
}
_TOP_READ = {"models", "macros", "globalTTL", "hooks", "peers", "startPort"}
_MODEL_READ = {"cmd", "proxy", "aliases", "ttl", "env", "checkEndpoint", "useModelName", "macros", "name",
               "description"}  # fmt: skip


def import_llama_swap(path: Path, environment: Mapping[str, str]) -> Draft:
    """Read the file at `path`; macros that name variables are filled from `environment`.

    Raises:
        ConfigurationError: it cannot be read, or is not llama-swap's.
    """
    document = _read(path)
    draft = Draft(f"llama-swap ({path.name})")
    models = document.get("models")
    if not isinstance(models, dict) or not models:
        raise ConfigurationError(
            text("{path} names no models; give llama-swap's config.yaml, which has a table 'models'", path=str(path))
        )
    for key in document:
        if key in _TOP_LEFT:
            draft.leave(str(key), _TOP_LEFT[key])
        elif key not in _TOP_READ:
            draft.leave(str(key), text("there is no such setting"))
    reader = _Models(draft, document, path.absolute().parent, environment)
    for name, model in models.items():
        reader.add(str(name), model)
    _preload(draft, document.get("hooks"), reader.names)
    _peers(draft, document.get("peers"))
    return draft


def _read(path: Path) -> dict[Any, Any]:
    import yaml

    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError as failure:
        raise ConfigurationError(
            text("{path} cannot be read ({reason}); give the path of llama-swap's config.yaml", path=str(path),
                 reason=failure.strerror or str(failure))
        ) from failure  # fmt: skip
    if len(content) > _MAX_FILE or _DEEP.search(content):
        raise ConfigurationError(
            text("{path} is too large or too deep for a configuration; give another file", path=str(path))
        )
    try:
        found = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError, ValueError) as failure:
        mark = getattr(failure, "problem_mark", None)
        where = f"{path} line {mark.line + 1}" if mark is not None else str(path)
        reason = getattr(failure, "problem", None) or str(failure)
        raise ConfigurationError(
            text("{where}: not valid YAML ({reason}); correct it", where=where, reason=printable(reason, 160))
        ) from failure
    if not isinstance(found, dict):
        raise ConfigurationError(
            text("{path} names no models; give llama-swap's config.yaml, which has a table 'models'", path=str(path))
        )
    return found


class _UnknownMacroError(ValueError):
    """A macro that nobody defines."""


class _Models:
    """Takes models over one by one. `names` maps llama-swap's names to those of the tables."""

    def __init__(self, draft: Draft, document: Mapping[Any, Any], base: Path, environment: Mapping[str, str]) -> None:
        self._draft = draft
        self._macros = _macros(document.get("macros"))
        self._base = base
        self._environment = environment
        self._ttl = document.get("globalTTL")
        self.names: dict[str, str] = {}

    def add(self, name: str, model: Any) -> None:
        where = f"models.{name}"
        if not isinstance(model, dict):
            self._draft.leave(where, text("it is no table"))
            return
        macros = {**self._macros, **_macros(model.get("macros")), _PORT: "{port}", "MODEL_ID": name}
        try:
            table = self._table(name, model, macros)
        except _UnknownMacroError as unknown:
            self._draft.leave(where, text("its macro {macro} is not defined", macro=f"${{{unknown}}}"))
            return
        except ValueError as failure:
            self._draft.leave(where, text("its command cannot be read ({reason})", reason=printable(failure)))
            return
        if table is None:
            return
        named = self._draft.model_name(name)
        self.names[name] = named
        wanted = [name, *_names(model.get("aliases")), *table.pop("aliases", [])]
        if aliases := self._draft.aliases(where, wanted, named):
            table["aliases"] = aliases
        self._others(where, model, table)
        self._draft.models[named] = table

    def _table(self, name: str, model: Mapping[Any, Any], macros: Mapping[str, str]) -> dict[str, Any] | None:
        where = f"models.{name}"
        # Before the macros, for a comment may name one that there is not; and after, for macros have comments, too.
        command = _without_comments(self._filled(_without_comments(_word(model.get("cmd"))), macros))
        proxy = self._filled(model.get("proxy") or "", macros)
        if not command:
            self._draft.leave(where, text("it has no 'cmd'"))
            return None
        words = shlex.split(command)
        read = read_command(words)
        environment = self._variables(where, model.get("env"), macros)
        if read is not None:
            table = self._known(where, read)
            for key in ("useModelName", "checkEndpoint"):
                if model.get(key):
                    self._draft.leave(f"{where}.{key}", text("Ansambl knows it of an engine that it starts itself"))
        else:
            own = self._own_command(where, command, words, proxy)
            if own is None:
                return None
            table = {"command": own}
            upstream = model.get("useModelName")
            if isinstance(upstream, str) and upstream:
                table["name"] = upstream
            if model.get("checkEndpoint") not in (None, "/health", "/v1/models"):
                self._draft.leave(f"{where}.checkEndpoint", text("Ansambl asks /v1/models whether it is ready"))
        gpus = environment.pop("CUDA_VISIBLE_DEVICES", None) if read is not None else None
        if gpus is not None and re.fullmatch(r"\d+(,\d+)*", gpus):
            table["gpus"] = [int(one) for one in gpus.split(",")]
        elif gpus is not None:
            environment["CUDA_VISIBLE_DEVICES"] = gpus
        if environment:
            table["environment"] = environment
        return table

    def _known(self, where: str, read: ReadCommand) -> dict[str, Any]:
        for reason in read.left:
            self._draft.leave(where, reason)
        engine = str(read.table["engine"])
        if read.program is not None:
            programs = self._draft.engines.setdefault(engine, {"program": read.program})
            if programs["program"] != read.program:
                self._draft.leave(
                    where, text("its program {program} is not the one of the other models; all of them use {other}",
                                program=read.program, other=programs["program"])
                )  # fmt: skip
        for key in ("checkpoint", "mmproj", "draft"):
            if key in read.table:
                read.table[key] = self._path(where, str(read.table[key]))
        return read.table

    def _path(self, where: str, path: str) -> str:
        found = expanded(path)
        if found.is_absolute():
            return str(found)
        if (self._base / found).exists():
            return str(self._base / found)
        if found.suffix:
            self._draft.leave(where, text("{path} is relative to where llama-swap was started: write the whole path",
                                          path=path))  # fmt: skip
            # A bare name would be looked for among Ansambl's own models.
            return path if path.count("/") != 1 else f"./{path}"
        return path

    def _own_command(self, where: str, command: str, words: list[str], proxy: str) -> str | None:
        plain = " ".join(command.split())
        if any("{port}" in word for word in words):
            return plain
        try:
            port = urlsplit(proxy).port
        except ValueError:
            port = None
        numbers = re.findall(rf"(?<![\w.]){port}(?![\w.])", plain) if port else []
        if len(numbers) == 1:
            return re.sub(rf"(?<![\w.]){port}(?![\w.])", "{port}", plain)
        self._draft.leave(where, text("its command does not say which word is the port; Ansambl chooses a free one and "
                                      "puts it where {port} stands", port="{port}"))  # fmt: skip
        return None

    def _variables(self, where: str, listed: Any, macros: Mapping[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in listed if isinstance(listed, list) else []:
            name, equals, value = self._filled(one, macros).partition("=")
            if not equals or not name:
                self._draft.leave(f"{where}.env", text("'{word}' is not NAME=value", word=printable(_word(one))))
            else:
                found[name] = value
        return found

    def _others(self, where: str, model: Mapping[Any, Any], table: dict[str, Any]) -> None:
        ttl = model.get("ttl")
        ttl = self._ttl if ttl in (None, -1) else ttl
        if isinstance(ttl, int) and not isinstance(ttl, bool) and ttl > 0:
            table["ttl"] = ttl
        about = [one for one in (model.get("name"), model.get("description")) if isinstance(one, str) and one]
        if about:
            table["description"] = printable(": ".join(about), 400)
        for key, value in model.items():
            if key in _MODEL_LEFT and value not in (None, False, 0, "", {}):
                self._draft.leave(f"{where}.{key}", _MODEL_LEFT[key])
            elif key not in _MODEL_LEFT and key not in _MODEL_READ:
                self._draft.leave(f"{where}.{key}", text("there is no such setting"))

    def _filled(self, value: Any, macros: Mapping[str, str]) -> str:
        """The text with its macros replaced; macros may stand in macros."""
        words = _word(value)
        for _ in range(_ROUNDS):
            if len(words) > _MAX_TEXT:
                message = "it is longer than any command"
                raise ValueError(message)
            replaced = _MACRO.sub(lambda match: self._macro(match[1], macros), words)
            if replaced == words:
                return words
            words = replaced
        message = "its macros go round in circles"
        raise ValueError(message)

    def _macro(self, name: str, macros: Mapping[str, str]) -> str:
        of_environment = name.startswith("env.")
        value = self._environment.get(name.removeprefix("env.")) if of_environment else macros.get(name)
        if value is None:
            raise _UnknownMacroError(name)
        return value


def _macros(table: Any) -> dict[str, str]:
    items = table.items() if isinstance(table, dict) else ()
    return {str(name): _word(value) for name, value in items}


def _word(value: Any) -> str:
    """A word or number as text; nothing for all else: lists in lists may be longer as text than any memory."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (str, int, float)) else ""


def _without_comments(command: str) -> str:
    """A command of several lines without those that are comments; a backslash before a line's end is no word."""
    lines = [line for line in command.replace("\\\n", "\n").splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).strip()


def _names(listed: Any) -> list[str]:
    """Aliases: words, or tables with an ``id``."""
    found = [one.get("id") if isinstance(one, dict) else one for one in (listed if isinstance(listed, list) else [])]
    return [one for one in found if isinstance(one, str) and one.strip() == one and one]


def _preload(draft: Draft, hooks: Any, names: Mapping[str, str]) -> None:
    start = hooks.get("on_startup") if isinstance(hooks, dict) else None
    wanted = start.get("preload") if isinstance(start, dict) else None
    for one in wanted if isinstance(wanted, list) else []:
        if _word(one) in names:
            draft.models[names[_word(one)]]["pinned"] = True
        else:
            draft.leave("hooks.on_startup.preload", text("there is no model '{name}'", name=printable(_word(one))))


def _peers(draft: Draft, peers: Any) -> None:
    """Models at other addresses: attached, each by its name there."""
    for peer, one in peers.items() if isinstance(peers, dict) else ():
        proxy = one.get("proxy") if isinstance(one, dict) else None
        models = one.get("models") if isinstance(one, dict) else None
        where = f"peers.{peer}"
        if not isinstance(proxy, str) or not isinstance(models, list):
            draft.leave(where, text("it names no address or no models"))
            continue
        key = one.get("apiKey")
        variable = re.fullmatch(r"\$\{env\.([A-Za-z_]\w*)\}", key) if isinstance(key, str) else None
        if key and variable is None:
            draft.leave(f"{where}.apiKey", text("keys are secrets and are not copied: put it into an environment "
                                                "variable and name that as key_env"))  # fmt: skip
        for name in filter(None, map(_word, models)):
            table = draft.model_name(PurePath(name).name)
            draft.models[table] = {
                "address": proxy.rstrip("/") + "/v1", "name": name, **({"key_env": variable[1]} if variable else {}),
                **({"aliases": aliases} if (aliases := draft.aliases(where, [name], table)) else {}),
            }  # fmt: skip
        for extra in sorted(set(one) - {"proxy", "models", "apiKey"}):
            draft.leave(f"{where}.{extra}", text("there is no such setting"))
