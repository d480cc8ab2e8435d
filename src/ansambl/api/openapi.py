"""The admin API's own description, completed: who may ask, which errors come, and how it is let in."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from ansambl.api import PREFIX
from ansambl.api.errors import MEANINGS, ErrorDocument

TAGS = [
    {"name": "State", "description": "What runs now, and stopping it."},
    {"name": "Watching", "description": "Events and logs, as they happen or as they stand."},
    {"name": "Instances", "description": "Models in memory: load, unload, pin, sleep, LoRA adapters."},
    {"name": "Planning", "description": "What to run, what fits, what works. Changes nothing."},
    {"name": "Reading", "description": "Usage, requests, checks, settings, models and engines."},
    {"name": "Models", "description": "Models found on the hub, fetched as jobs, and removed; LoRA adapters."},
    {"name": "Engines", "description": "Engines installed as jobs, and removed."},
    {"name": "Roles", "description": "Roles: reading, changing, versions, export and import."},
    {"name": "Ensembles", "description": "Ensembles, in the same way."},
    {"name": "Configuration", "description": "The configuration file, read again."},
    {"name": "Keys", "description": "API keys: what each may do, and its limits."},
    {"name": "Knowledge", "description": "Documents and past conversations: taking in, finding, forgetting."},
]

SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or the admin token of state.json."},
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "x-api-key",
        "description": "The same, as some clients send it.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "ansambl_session",
        "description": "A session of the console.",
    },
}
"""How a request may show who asks. Each alone is enough; while no key exists, programs of this machine need none for
what is free."""

_STREAM_EVENT = {
    "type": "object",
    "title": "StreamEvent",
    "description": "One event of a stream. Its kind is `event`; `data` is a JSON object.",
    "required": ["event", "data"],
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
}
_EVERYWHERE = (401, 403, 429)
_METHODS = ("get", "put", "post", "delete", "patch")


def describe(app: FastAPI) -> None:
    """Have `app` answer with the completed description."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None or "x-complete" not in app.openapi_schema.get("info", {}):
            app.openapi_schema = complete(made())
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add what every route has in common: errors in our shape, and the ways to be let in."""
    document["tags"] = TAGS
    document["info"]["x-complete"] = True
    document["security"] = [{name: []} for name in SCHEMES]
    parts = document.setdefault("components", {})
    parts["securitySchemes"] = SCHEMES
    schemas = parts.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    template = "#/components/schemas/{model}"
    error = ErrorDocument.model_json_schema(ref_template=template)
    schemas.update(error.pop("$defs"))
    schemas["ErrorDocument"] = error
    schemas["StreamEvent"] = _STREAM_EVENT
    for path in document["paths"].values():
        for method, operation in path.items():
            if method in _METHODS:
                _complete_operation(operation)
    document["paths"] = dict(sorted(document["paths"].items()))
    return document


def _complete_operation(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    statuses = set(_EVERYWHERE)
    if "requestBody" in operation:
        statuses |= {400, 413, 415, 422}
    if "422" in answers:
        statuses.add(422)
    for status in statuses:
        answers[str(status)] = _error(status)
    operation["responses"] = dict(sorted(answers.items()))


def _error(status: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "description": MEANINGS[status],
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorDocument"}}},
    }
    if status == 429:
        found["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    return found


OPENAPI_PATH = f"{PREFIX}/openapi.json"
