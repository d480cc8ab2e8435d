"""The formats whose files hold JSON. The order matters where one format's values would pass for another's."""

from __future__ import annotations

from typing import Any

from ansambl.knowledge.importing import chatgpt, claude, lm_studio, messages, open_webui
from ansambl.knowledge.importing.formats import JsonFormat

FORMATS: tuple[JsonFormat, ...] = (
    open_webui.FORMAT,
    chatgpt.FORMAT,
    claude.FORMAT,
    lm_studio.FORMAT,
    messages.FORMAT,
)


def format_of(value: Any) -> JsonFormat | None:
    """The format of a JSON value; None where it is no conversation."""
    return next((one for one in FORMATS if one.recognises(value)), None)
