"""What a memory forecast is made from, and how its settings are read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansambl.domain.architecture import Architecture
from ansambl.domain.device import PlannedMachine
from ansambl.domain.errors import UsageError
from ansambl.domain.footprint import WeightBytes
from ansambl.domain.names import nearest_names
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes, parse_bytes
from ansambl.planner.memory.extras import NO_EXTRAS, Extras, require_known

LONGEST_CONTEXT = 100_000_000
"""Tokens; beyond any model, and small enough that no product of sizes becomes absurd."""
MOST_PARALLEL = 65_536
"""Sequences at once; the same."""


@dataclass(frozen=True, slots=True)
class MemoryInputs:
    """One placement to forecast.

    `context` is tokens per sequence, `parallel` sequences at once, `kv_type` the KV cache's number format or
    ``"K/V"`` where both differ (``"q8_0/q4_0"``). `settings` are the engine's own, by name; what is left out has the
    engine's default. `extras` are what is loaded beside the model.

    Raises:
        UsageError: context or parallel makes no sense.
        NotSupportedError: the model's layers or widths are not known.
    """

    architecture: Architecture
    weights: WeightBytes
    machine: PlannedMachine
    context: int
    parallel: int = 1
    kv_type: str = "f16"
    settings: Mapping[str, Any] = field(default_factory=dict)
    extras: Extras = NO_EXTRAS

    def __post_init__(self) -> None:
        require_known(self.architecture)
        for name, value, most in (
            ("context", self.context, LONGEST_CONTEXT),
            ("parallel", self.parallel, MOST_PARALLEL),
        ):
            if not 1 <= value <= most:
                raise UsageError(
                    text("{name} is {value}; give a whole number from 1 to {most}", name=name, value=value, most=most)
                )


class UnknownSettingError(UsageError):
    """An engine has no such setting, or no such KV type; another engine may have it."""


class Settings:
    """An engine's settings with types checked; every error names the setting."""

    def __init__(self, given: Mapping[str, Any], known: frozenset[str], engine: str) -> None:
        for name in given:
            if name not in known:
                near = nearest_names(name, known)
                raise UnknownSettingError(
                    text("{engine} has no setting '{name}' that changes its memory; the nearest are {near}",
                         engine=engine, name=name, near=", ".join(near))
                    if near
                    else text("{engine} has no setting '{name}' that changes its memory; known are {known}",
                              engine=engine, name=name, known=", ".join(sorted(known)))
                )  # fmt: skip
        self._given = given
        self._engine = engine

    def has(self, name: str) -> bool:
        """Whether it was set at all."""
        return self._given.get(name) is not None

    def whole(self, name: str, default: int, least: int = 1, most: int = 1 << 50) -> int:
        """A whole number within limits."""
        number = self.number(name, default, least, most)
        if number != int(number):
            raise UsageError(text("{name} is {value}; give a whole number", name=name, value=number))
        return int(number)

    def number(self, name: str, default: float, least: float, most: float) -> float:
        """A number within limits; a string is read as one."""
        value = self._given.get(name)
        if value is None:
            return default
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = float("nan")
        if isinstance(value, bool) or not least <= number <= most:
            raise UsageError(
                text("{name} is {value}; give a number from {least} to {most}",
                     name=name, value=value, least=least, most=most)
            )  # fmt: skip
        return number

    def switch(self, name: str, default: bool) -> bool:
        """On or off, also as words; ``"auto"`` is the default."""
        value = self._given.get(name)
        words = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False, "auto": default}
        if value is None:
            return default
        if isinstance(value, bool):
            return value
        if str(value).lower() not in words:
            raise UsageError(text("{name} is '{value}'; give on, off or auto", name=name, value=value))
        return words[str(value).lower()]

    def size(self, name: str) -> Bytes | None:
        """A size in bytes, also written as ``"850MiB"``; None when it was not set."""
        value = self._given.get(name)
        if value is None:
            return None
        try:
            return parse_bytes(value)
        except UsageError:
            raise UsageError(
                text("{name} is '{value}'; give a size, for example 850MiB", name=name, value=value)
            ) from None

    def one_of(self, name: str, default: str, known: tuple[str, ...]) -> str:
        """One of the words in `known`."""
        value = self.word(name, default).lower()
        if value not in known:
            raise UsageError(
                text("{name} is '{value}'; give one of {known}", name=name, value=value, known=", ".join(known))
            )
        return value

    def contradiction(self, one: str, other: str, why: Text) -> UsageError:
        """The error that says that two settings do not go together, naming both."""
        return UsageError(
            text("{one} = {first} and {other} = {second} contradict each other: {why}", one=one, other=other,
                 first=self._given.get(one), second=self._given.get(other), why=why)
        )  # fmt: skip

    def needs_version(self, name: str, version: tuple[int, ...], first: tuple[int, ...], written: str) -> None:
        """Refuse a setting that the engine's version does not have yet; `written` is how people write `first`."""
        if self.has(name) and version < first:
            raise UsageError(
                text("{name} needs {engine} {first} or newer, and engine_version is {version}", name=name,
                     engine=self._engine, first=written, version=self._given.get("engine_version"))
            )  # fmt: skip

    def word(self, name: str, default: str) -> str:
        """One word as it is."""
        value = self._given.get(name)
        return default if value is None else str(value)

    def version(self, default: tuple[int, ...]) -> tuple[int, ...]:
        """``engine_version`` as numbers: ``"0.10.1"`` is (0, 10, 1) and llama.cpp's ``"b9272"`` is (9272,)."""
        value = self._given.get("engine_version")
        if value is None:
            return default
        match = re.match(r"[vb]?(\d+(?:\.\d+){0,3})", str(value))
        if not match:
            raise UsageError(
                text("engine_version is '{value}'; write for example 0.21.0, or b9272 for llama.cpp", value=value)
            )
        return tuple(int(part) for part in match[1].split("."))
