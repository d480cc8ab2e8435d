"""A document that is ready to be kept: read, divided and analysed, all of it in a child process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ansambl.domain.knowledge import Material, Passage
from ansambl.domain.past_conversation import PastConversation


@dataclass(frozen=True, slots=True)
class Prepared:
    """`terms` belongs to `passages` one by one. `digest` is the hash of what was read (hexadecimal).

    `conversation` is the whole one that a material was made of, None for other documents.
    """

    material: Material
    passages: tuple[Passage, ...]
    terms: tuple[Mapping[str, int], ...]
    digest: str
    conversation: PastConversation | None = None
