"""Settings read and written: every one is expressed, refused with its name, or named as one of the forecast only."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ansambl.domain.errors import NotSupportedError, UsageError
from ansambl.domain.names import nearest_names
from ansambl.domain.text import Text, text
from ansambl.domain.units import parse_bytes
from ansambl.engines.command_lines.records import CommandInputs, EngineCommand

MOST = 1 << 53
"""No setting is greater: beyond it a number read from JSON is no longer exact."""

_ALL = frozenset({"all", "auto", "-1"})
_SWITCH = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


class Kind(StrEnum):
    """What the value of a setting is."""

    WHOLE = "whole"
    NUMBER = "number"
    WORD = "word"
    SIZE = "size"
    LAYERS = "layers"
    SWITCH = "switch"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of an engine by the name that ``--set`` takes.

    `flag` is how the engine spells it; None where the engine's module writes it itself. A switch may have a word that
    puts it off. `extra` says that no memory forecast knows it: it goes onto the command line only. `forecast_only`
    says that it corrects the forecast and no flag expresses it. `refusal` says why the engine cannot be told it; a
    switch that stands as the engine has it anyway (`usual`) is not refused.
    """

    name: str
    flag: str | None = None
    kind: Kind = Kind.WORD
    off: str | None = None
    choices: tuple[str, ...] = ()
    extra: bool = False
    forecast_only: bool = False
    refusal: Text | None = None
    usual: bool = False


@dataclass(frozen=True, slots=True)
class EngineLines:
    """One engine: the formats that it runs, its settings, and the function that writes its command.

    `build` may raise UsageError or NotSupportedError.
    """

    name: str
    title: str
    formats: tuple[str, ...]
    settings: tuple[Setting, ...]
    build: Callable[[CommandInputs, Given], EngineCommand]


class Given:
    """The settings of one placement, checked against those that an engine has.

    Raises:
        NotSupportedError: the engine cannot be told one of them.
        UsageError: one is unknown, or its value makes no sense.
    """

    def __init__(self, engine: EngineLines, settings: Mapping[str, Any]) -> None:
        self._table = {one.name: one for one in engine.settings}
        self._title = engine.title
        self._values: dict[str, int | float | str | bool] = {}
        for name, value in settings.items():
            known = self._table.get(name)
            if known is None:
                raise self._unknown(name)
            if value is None:
                continue
            read = self._read(known, value)
            if known.refusal is not None and read is not None and read is not known.usual:
                raise NotSupportedError(
                    text("{engine} cannot be told {name}: {why}", engine=self._title, name=name, why=known.refusal)
                )
            if read is not None:
                self._values[name] = read

    def whole(self, name: str) -> int | None:
        """A whole number, None when it is not given."""
        value = self._values.get(name)
        return int(value) if value is not None else None

    def word(self, name: str) -> str | None:
        """One word, None when it is not given."""
        value = self._values.get(name)
        return None if value is None else str(value)

    def switch(self, name: str) -> bool | None:
        """On or off, None when it is not given or left to the engine (``auto``)."""
        value = self._values.get(name)
        return bool(value) if value is not None else None

    def flags(self) -> list[str]:
        """The words of all settings that have a flag, in the order of the engine's table."""
        words: list[str] = []
        for name, setting in self._table.items():
            value = self._values.get(name)
            if value is None or setting.flag is None:
                continue
            if setting.kind is Kind.SWITCH:
                words += [setting.flag] if value else [setting.off] if setting.off else []
            else:
                words += [setting.flag, written(value)]
        return words

    def forecast_only(self) -> tuple[str, ...]:
        """The names of those that change the forecast and that no flag expresses."""
        return tuple(name for name in self._values if self._table[name].forecast_only)

    def _read(self, setting: Setting, value: Any) -> int | float | str | bool | None:
        word = str(value).strip()
        if setting.kind is Kind.SWITCH:
            lowered = word.lower()
            if lowered != "auto" and lowered not in _SWITCH:
                raise UsageError(text("{name} is '{value}'; give on, off or auto", name=setting.name, value=word))
            return _SWITCH.get(lowered)
        if setting.kind is Kind.LAYERS and word.lower() in _ALL:
            return None
        if setting.kind is Kind.SIZE:
            return _size(setting, value)
        if setting.kind is Kind.WORD:
            if setting.choices and word not in setting.choices:
                raise UsageError(
                    text("{name} is '{value}'; {engine} takes {known}", name=setting.name, value=word,
                         engine=self._title, known=", ".join(setting.choices))
                )  # fmt: skip
            if not word or not word.isprintable():
                raise UsageError(text("{name} has no value; write for example --set {name}=VALUE", name=setting.name))
            return word
        return _number(setting, value)

    def _unknown(self, name: str) -> UsageError:
        near = nearest_names(name, self._table)
        return UsageError(
            text("{engine} has no setting '{name}'; the nearest ones are {nearest}", engine=self._title, name=name,
                 nearest=", ".join(near or sorted(self._table)))
        )  # fmt: skip


def _size(setting: Setting, value: Any) -> int:
    try:
        return parse_bytes(value)
    except UsageError:
        raise UsageError(
            text("{name} is '{value}'; give a size, for example 850MiB", name=setting.name, value=value)
        ) from None


def _number(setting: Setting, value: Any) -> int | float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= MOST:
        raise UsageError(
            text("{name} is {value}; give a number from {least} to {most}", name=setting.name, value=value, least=0,
                 most=MOST)
        )  # fmt: skip
    if setting.kind is not Kind.NUMBER and number != int(number):
        raise UsageError(text("{name} is {value}; give a whole number", name=setting.name, value=value))
    return int(number) if number == int(number) else number


def written(value: float | str | bool) -> str:
    """A value as a command line writes it."""
    return value if isinstance(value, str) else repr(value)
