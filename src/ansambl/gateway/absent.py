"""Paths of OpenAI's API that Ansambl has no use for: what they are answered, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

from ansambl.domain.errors import AnsamblError, NotSupportedError
from ansambl.domain.text import Text, text
from ansambl.gateway.asgi import route_error
from ansambl.gateway.operations import NOT_SERVED

_ROOT = "/v1/"
_KEEPS_NOTHING = text(
    "Ansambl keeps nothing for its clients under {path}; send what would be there with the request itself."
)
_INSTEAD: Mapping[str, Text] = {
    "batches": text("Ansambl has no batches; send each request with the header X-Ansambl-Class: batch."),
    "messages/batches": text("Ansambl has no batches; send each request with the header X-Ansambl-Class: batch."),
    "files": Text(_KEEPS_NOTHING.template, {"path": "/v1/files"}),
    "uploads": Text(_KEEPS_NOTHING.template, {"path": "/v1/uploads"}),
    "vector_stores": Text(_KEEPS_NOTHING.template, {"path": "/v1/vector_stores"}),
    "assistants": Text(_KEEPS_NOTHING.template, {"path": "/v1/assistants"}),
    "threads": Text(_KEEPS_NOTHING.template, {"path": "/v1/threads"}),
    "conversations": Text(_KEEPS_NOTHING.template, {"path": "/v1/conversations"}),
    "responses/resp_": text("Ansambl keeps no responses; send the earlier turns with the next request."),
    "fine_tuning": text("Ansambl trains nothing by request; a LoRA adapter that exists is added with: ansambl lora "
                        "add"),
    "realtime": text("Ansambl has no realtime sessions; a stream of POST /v1/chat/completions is the quickest."),
    "videos": text("No engine that Ansambl knows makes videos."),
}  # fmt: skip
"""By what follows ``/v1/``; what is below it means the same. One that ends with ``_`` is how a name there begins."""


def absent(method: str, path: str) -> AnsamblError:
    """The error for a path that has no route: 501 for one of OpenAI's own, else 404."""
    if not path.startswith(_ROOT):
        return route_error(method, path)
    inside = path.removeprefix(_ROOT)
    for name, instead in _INSTEAD.items():
        if inside == name or inside.startswith(name if name.endswith("_") else f"{name}/"):
            return NotSupportedError(instead, code=NOT_SERVED)
    return route_error(method, path)
