"""The settings as they may be shown: without keys, and without what is secret by its name or its shape."""

from __future__ import annotations

import re
from typing import Any

from ansambl.foundation.redaction import redact

HIDDEN = "set, hidden"

_SECRET_NAME = re.compile(r"key|token|secret|password", re.IGNORECASE)
# Settings of engines count tokens and have keys beside values.
_SECRET_SETTING = re.compile(r"api.?key|hf.?token|auth|secret|password", re.IGNORECASE)


def without_secrets(settings: dict[str, Any]) -> dict[str, Any]:
    """The dumped settings, changed: keys, secret environment values, and secrets in addresses and arguments hidden."""
    for model in settings["models"].values():
        if model["key"] is not None:
            model["key"] = HIDDEN
        model["environment"] = {
            name: HIDDEN if _SECRET_NAME.search(name) else value for name, value in model["environment"].items()
        }
        model["arguments"] = _arguments(model["arguments"])
        model["settings"] = {
            name: HIDDEN if _SECRET_SETTING.search(name) else value for name, value in model["settings"].items()
        }
        for name in ("address", "command"):
            model[name] = _masked(model[name])
    return settings


def _arguments(words: Any) -> list[str]:
    """Arguments whose option is named like a secret are hidden, as are those that look like one."""
    found: list[str] = []
    for word in words:
        option, equals, _ = word.partition("=")
        if found and found[-1].startswith("-") and "=" not in found[-1] and _SECRET_NAME.search(found[-1]):
            found.append(word if word.startswith("-") else HIDDEN)
        elif option.startswith("-") and equals and _SECRET_NAME.search(option):
            found.append(f"{option}={HIDDEN}")
        else:
            found.append(redact(word))
    return found


def _masked(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, (list, tuple)):
        return _arguments(value)
    return value
