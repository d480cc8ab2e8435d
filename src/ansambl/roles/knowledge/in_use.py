"""Knowledge as the gateway uses it: what searches, and what remembers."""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.roles.knowledge.memory import ConversationMemory, MemorySettings
from ansambl.roles.knowledge.reading import KnowledgeReader


@dataclass(frozen=True, slots=True)
class KnowledgeInUse:
    """What searches before an answer, and what remembers conversations after it."""

    reader: KnowledgeReader
    memory: ConversationMemory

    async def close(self) -> None:
        """Write what is not yet remembered, and begin no more searches. Before the knowledge itself is closed."""
        await self.memory.close()
        self.reader.close()


def no_knowledge() -> KnowledgeInUse:
    """Where there is none: roles answer without, and nothing is remembered."""
    return KnowledgeInUse(KnowledgeReader(lambda: None), ConversationMemory(lambda: None, MemorySettings))
