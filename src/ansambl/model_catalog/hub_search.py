"""Repositories of a hub that words find, by the hub's own search (``GET /api/models?search=…``).

Nothing is sent but the words, and to the hub itself the user's own token where there is one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

import msgspec

from ansambl.domain.errors import CheckpointError, UsageError
from ansambl.domain.text import text
from ansambl.model_catalog.printable import printable
from ansambl.model_catalog.references import parse_reference
from ansambl.model_catalog.web import Web, endpoint

MOST = 50
"""Repositories that one search may ask for."""
_MAX_ANSWER, _MAX_WORDS, _SPARE = 8 << 20, 200, 3
_FORMATS = {"gguf", "safetensors", "mlx", "exl3", "exl2"}
_NOT_MODELS = {"lora", "peft", "diffusers", "text-to-image", "automatic-speech-recognition", "text-to-speech",
               "image-classification", "text-to-video", "text-classification", "token-classification"}  # fmt: skip
_WORD = re.compile(r"[a-z0-9]+", re.IGNORECASE)


class _Row(msgspec.Struct):
    id: Annotated[str, msgspec.Meta(min_length=3, max_length=200)]
    downloads: Annotated[int, msgspec.Meta(ge=0)] | None = None
    likes: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tags: list[str] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FoundRepository:
    """A repository that the search names. `downloads` are those of the last 30 days, None where the hub is silent."""

    repo: str
    downloads: int | None
    tags: frozenset[str]


def search_repositories(web: Web, words: str, limit: int) -> tuple[FoundRepository, ...]:
    """At most `limit` repositories with weights of language models, those that are fetched most first.

    Raises:
        UsageError: the words hold nothing to search for.
        CheckpointError: the answer is not the hub's.
        UnavailableError: the hub cannot be reached.
    """
    wanted = " ".join(words.split())
    if not _WORD.search(wanted) or len(wanted) > _MAX_WORDS or not wanted.isprintable():
        raise UsageError(
            text("'{words}' holds nothing to search for; give words of a model's name, for example: qwen3 coder",
                 words=printable(wanted))
        )  # fmt: skip
    # Some of what is found holds no weights that any engine here reads, so more is asked for than is shown.
    query = {"search": wanted, "sort": "downloads", "direction": "-1", "limit": str(min(limit, MOST) * _SPARE)}
    content = web.whole(f"{endpoint()}/api/models?{urlencode(query)}", _MAX_ANSWER)
    try:
        rows = msgspec.json.decode(content, type=list[_Row])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as failure:
        raise CheckpointError(
            text("what the hub says to a search is not as its interface wants it ({reason}); check HF_ENDPOINT",
                 reason=printable(failure, 120))
        ) from failure  # fmt: skip
    found = []
    for row in rows:
        tags = frozenset(one.lower() for one in row.tags)
        reference = parse_reference(row.id)
        if reference is not None and reference.repo == row.id and tags & _FORMATS and not tags & _NOT_MODELS:
            found.append(FoundRepository(row.id, row.downloads, tags))
    return tuple(found[:limit])
