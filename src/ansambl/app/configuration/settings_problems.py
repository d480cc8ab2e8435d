"""What pydantic found wrong with the settings, as sentences that name the key and say what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from ansambl.app.configuration.setting_types import SettingError
from ansambl.app.configuration.settings import Settings
from ansambl.app.configuration.settings_lines import KeyPath, written_path
from ansambl.domain.names import nearest_names
from ansambl.domain.text import Text, text

_SHOWN = 60


def problem_of(error: ErrorDetails, data: Mapping[str, Any]) -> tuple[KeyPath, Text]:
    """Return the key that one of pydantic's errors is about, and the sentence about it."""
    path: KeyPath = tuple(error["loc"])
    if path and path[-1] == "[key]":
        path = path[:-1]
    if error["type"] == "extra_forbidden":
        return _unknown_key(path, data)
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, SettingError):
        path = (*path, cause.key) if cause.key is not None else path
        return path, text("{key}: {problem}", key=written_path(path), problem=cause.message)
    return path, _SENTENCES.get(error["type"], _other)(written_path(path), error)


def _shown(value: object) -> str:
    words = f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return words if len(words) <= _SHOWN else words[: _SHOWN - 1] + "…"


def _other(key: str, error: ErrorDetails) -> Text:
    return text("{key}: {problem}", key=key, problem=error["msg"])


def _choice(key: str, error: ErrorDetails) -> Text:
    choices = [one.strip("'") for one in error["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    nearest = nearest_names(str(error["input"]), choices, 1)
    if nearest:
        return text('{key} cannot be {value}; did you mean "{nearest}"?',
                    key=key, value=_shown(error["input"]), nearest=nearest[0])  # fmt: skip
    return text("{key} cannot be {value}; it is one of: {choices}",
                key=key, value=_shown(error["input"]), choices=", ".join(f'"{one}"' for one in choices))  # fmt: skip


def _whole_number(key: str, error: ErrorDetails) -> Text:
    return text("{key} must be a whole number, not {value}", key=key, value=_shown(error["input"]))


def _number(key: str, error: ErrorDetails) -> Text:
    return text("{key} must be a number, not {value}", key=key, value=_shown(error["input"]))


def _boolean(key: str, error: ErrorDetails) -> Text:
    return text("{key} must be true or false, not {value}", key=key, value=_shown(error["input"]))


def _words(key: str, error: ErrorDetails) -> Text:
    return text("{key} must be text in quotes, not {value}", key=key, value=_shown(error["input"]))


def _list(key: str, error: ErrorDetails) -> Text:
    if key.endswith(".gpus"):
        return text("{key} must be a list such as [0, 1], not {value}", key=key, value=_shown(error["input"]))
    return text('{key} must be a list such as ["a", "b"], not {value}', key=key, value=_shown(error["input"]))


def _table(key: str, error: ErrorDetails) -> Text:
    return text("{key} must be a table such as [{key}], not {value}", key=key, value=_shown(error["input"]))


def _at_least(key: str, error: ErrorDetails) -> Text:
    limit = error["ctx"]["ge"]
    return text("{key} is {value}; the least is {limit}", key=key, value=_shown(error["input"]), limit=limit)


def _more_than(key: str, error: ErrorDetails) -> Text:
    limit = error["ctx"]["gt"]
    return text("{key} is {value}; it must be more than {limit}", key=key, value=_shown(error["input"]), limit=limit)


def _at_most(key: str, error: ErrorDetails) -> Text:
    limit = error["ctx"]["le"]
    return text("{key} is {value}; the most is {limit}", key=key, value=_shown(error["input"]), limit=limit)


def _empty(key: str, _error: ErrorDetails) -> Text:
    return text("{key} is empty; give it a value, or leave the key out", key=key)


def _missing(key: str, _error: ErrorDetails) -> Text:
    return text("{key} is missing; set it", key=key)


_SENTENCES: dict[str, Callable[[str, ErrorDetails], Text]] = {
    "literal_error": _choice,
    "int_type": _whole_number,
    "int_from_float": _whole_number,
    "float_type": _number,
    "finite_number": _number,
    "bool_type": _boolean,
    "string_type": _words,
    "tuple_type": _list,
    "list_type": _list,
    "dict_type": _table,
    "model_type": _table,
    "model_attributes_type": _table,
    "greater_than_equal": _at_least,
    "greater_than": _more_than,
    "less_than_equal": _at_most,
    "missing": _missing,
    "too_short": _empty,
    "string_too_short": _empty,
}


def table_type(annotation: object) -> type[BaseModel] | None:
    """The table that a field's type describes, or that a mapping of names holds; None for plain values."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    inner = [one for one in (table_type(argument) for argument in get_args(annotation)) if one is not None]
    return inner[0] if inner else None


def _is_named(annotation: object) -> bool:
    """Whether a field holds tables under names that the user chose."""
    return table_type(annotation) is not None and not isinstance(annotation, type)


def _table_at(path: KeyPath) -> type[BaseModel] | None:
    """The kind of table at a path; None below plain values."""
    table: type[BaseModel] | None = Settings
    parts = iter(path)
    for part in parts:
        field = table.model_fields.get(str(part)) if table else None
        table = table_type(field.annotation) if field else None
        if field and _is_named(field.annotation):
            next(parts, None)
    return table


def _unknown_key(path: KeyPath, data: Mapping[str, Any]) -> tuple[KeyPath, Text]:
    parent, name = path[:-1], str(path[-1])
    known = list((_table_at(parent) or Settings).model_fields)
    # A table is not meant to be a plain key of the same name: [model.big] is [models.big], not tasks.model.
    elsewhere = None if _is_table(path, data) else next((one for one in _plain_keys() if one[-1] == name), None)
    if elsewhere is not None:
        return path, _did_you_mean(path, elsewhere)
    inner = _first_inner(path, data)
    nearest = nearest_names(name, known, 1)
    if nearest:
        suggestion: KeyPath = (*parent, nearest[0])
        table = _table_at(suggestion) if inner else None
        if inner and table is not None:
            inner_nearest = nearest_names(inner, table.model_fields, 1)
            return (*path, inner), _did_you_mean((*path, inner), (*suggestion, *inner_nearest))
        return path, _did_you_mean(path, suggestion)
    return path, text("unknown key '{key}'; known here: {known}", key=written_path(path), known=", ".join(known))


def _did_you_mean(path: KeyPath, nearest: KeyPath) -> Text:
    return text("unknown key '{key}'; did you mean '{nearest}'?", key=written_path(path), nearest=written_path(nearest))


def _is_table(path: KeyPath, data: Mapping[str, Any]) -> bool:
    return isinstance(_value_at(path, data), dict)


def _value_at(path: KeyPath, data: Mapping[str, Any]) -> Any:
    value: Any = data
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _first_inner(path: KeyPath, data: Mapping[str, Any]) -> str | None:
    """The first key in the table at `path`, when it is a table that holds plain values."""
    value = _value_at(path, data)
    if isinstance(value, dict) and value:
        name, inner = next(iter(value.items()))
        return None if isinstance(inner, dict) else str(name)
    return None


def _plain_keys() -> Iterator[KeyPath]:
    """The keys of the tables that are not named by the user."""
    for name, field in Settings.model_fields.items():
        table = table_type(field.annotation)
        if table is not None and not _is_named(field.annotation):
            yield from ((name, key) for key in table.model_fields)
