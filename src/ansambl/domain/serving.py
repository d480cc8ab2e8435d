"""What a running model can be asked for beyond the chat, as records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Operation(StrEnum):
    """One thing that an engine does for a client beside the chat, by the path where OpenAI's API has it.

    ``RERANK`` is that of Cohere and Jina, ``COUNTING`` is ``/v1/messages/count_tokens``. ``TRANSLATION`` is of
    speech, into English.
    """

    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RERANK = "rerank"
    TRANSCRIPTION = "transcription"
    TRANSLATION = "translation"
    SPEECH = "speech"
    IMAGES = "images"
    IMAGE_EDITS = "image_edits"
    MODERATION = "moderation"
    COUNTING = "counting"


@dataclass(frozen=True, slots=True)
class Serving:
    """What one instance serves itself.

    `engine` is its engine's title. `certain` are operations that it is known to do, `possible` those that may be tried,
    because nobody can tell before; whatever is in neither it cannot do. `native` are the dialects of the chat in which
    a request goes to it untouched, `salted` those of them in which it hears whose a request is (`SaltsCache`).
    `names_tools` is whether a request may name the tool to call.
    """

    engine: str
    certain: frozenset[Operation] = frozenset()
    possible: frozenset[Operation] = frozenset()
    native: frozenset[str] = frozenset()
    salted: frozenset[str] = frozenset()
    names_tools: bool = True

    def may(self, operation: Operation) -> bool:
        """Whether it is worth asking."""
        return operation in self.certain or operation in self.possible


UNKNOWN = Serving("", possible=frozenset(Operation))
"""An instance of which nothing is known: everything may be tried, and nothing is passed on untouched."""
