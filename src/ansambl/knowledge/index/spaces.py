"""How the vectors of different models are kept apart on a server. Pure."""

from __future__ import annotations

import zlib

from ansambl.knowledge.embedding import VectorSpace


def space_mark(space: VectorSpace | None) -> str:
    """A short mark of a space for names: another model or another length has another one."""
    return f"{zlib.crc32(f'{space.model}/{space.dimension}'.encode()):08x}" if space else "words"
