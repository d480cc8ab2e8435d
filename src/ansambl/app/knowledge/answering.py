"""The knowledge of the running product as roles use it: what is read, and which conversations are remembered."""

from __future__ import annotations

from ansambl.access.door import Door
from ansambl.access.key_door import KeyDoor
from ansambl.app.knowledge.running import RunningKnowledge
from ansambl.roles.knowledge.in_use import KnowledgeInUse
from ansambl.roles.knowledge.memory import ConversationMemory, MemorySettings
from ansambl.roles.knowledge.reading import KnowledgeReader


def knowledge_in_use(knowledge: RunningKnowledge, door: Door | None) -> KnowledgeInUse:
    """What roles read, and what remembers, by the settings that are in effect when it is asked.

    Nothing is opened where nothing was ever added and nothing is to be remembered.
    """
    return KnowledgeInUse(
        KnowledgeReader(lambda: knowledge if knowledge.exists else None),
        ConversationMemory(lambda: knowledge, lambda: _memory(knowledge, door)),
    )


def _memory(knowledge: RunningKnowledge, door: Door | None) -> MemorySettings:
    settings = knowledge.settings
    if not settings.memory:
        return MemorySettings()
    names, keys = settings.memory_roles, settings.memory_keys
    return MemorySettings(
        True,
        settings.memory_collection,
        None if names is None else frozenset(names),
        None if keys is None else _ids(frozenset(keys), door),
    )


def _ids(wanted: frozenset[str], door: Door | None) -> frozenset[str]:
    """The ids of keys that are given by name or id."""
    known = door.all_keys() if isinstance(door, KeyDoor) else ()
    return wanted | frozenset(one.id for one in known if one.name in wanted)
