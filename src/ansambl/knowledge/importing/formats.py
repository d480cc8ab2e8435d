"""What an export's format is to the importer: one module each, one line in `registry`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ansambl.domain.past_conversation import PastConversation


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """A format whose file holds one JSON value for each conversation.

    `recognises` tells from a value alone whether it is of this format; it must be right about the others' values.
    `read` makes the conversation, whatever is missing or wrong inside; None where there is nothing said in it. Its
    second argument is the file's name, for formats that keep the id there. Both are pure.
    """

    source: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any, str], PastConversation | None]
