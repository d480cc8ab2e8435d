"""What every table of the configuration is made of: fields with their documentation, amounts with units, names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue

from ansambl.domain.errors import UsageError
from ansambl.domain.text import Text, text
from ansambl.domain.units import Bytes, Seconds, parse_bytes, parse_seconds

_LONGEST_NAME = 100


class SettingError(ValueError):
    """A value that cannot be used. `key` names the key inside the table that was being checked."""

    def __init__(self, message: Text, key: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.key = key


def setting(default: Any, description: str, *, unit: str = "", shown_default: str = "", **limits: Any) -> Any:
    """A field with what the reference page says of it.

    `unit` is the unit or the way to write it; `shown_default` replaces a default that depends on the machine.
    """
    extra: dict[str, JsonValue] = {"unit": unit, "shown_default": shown_default}
    if callable(default):
        return Field(default_factory=default, description=description, json_schema_extra=extra, **limits)
    return Field(default=default, description=description, json_schema_extra=extra, **limits)


def _amount(parse: Callable[[Any], float]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value is None:
            return None
        try:
            return parse(value)
        except UsageError as error:
            raise SettingError(error.message) from None

    return check


def _check_name(name: str) -> str:
    if not name or len(name) > _LONGEST_NAME or any(one.isspace() or not one.isprintable() for one in name):
        raise SettingError(
            text(
                "'{name}' cannot be a name; use 1 to {limit} characters without spaces", name=name, limit=_LONGEST_NAME
            )
        )
    return name


Size = Annotated[Bytes, BeforeValidator(_amount(parse_bytes))]
Duration = Annotated[Seconds, BeforeValidator(_amount(parse_seconds))]
Name = Annotated[str, BeforeValidator(lambda value: _check_name(value) if isinstance(value, str) else value)]
Names = Annotated[tuple[Name, ...], Field(strict=False)]
Words = Annotated[tuple[str, ...], Field(strict=False)]
Numbers = Annotated[tuple[Annotated[int, Field(ge=0, strict=True)], ...], Field(strict=False)]


class Table(BaseModel):
    """A table of the file: unknown keys are refused, and types are what TOML says they are."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True, allow_inf_nan=False)
