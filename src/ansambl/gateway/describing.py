"""The gateway's own description as an OpenAPI document, made from its table of routes.

What each route takes and gives stands in `descriptions`; the dialects' own documents say far more, so these schemas say
what is required and of which type it is, and let everything else pass, as the routes do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansambl import __version__
from ansambl.gateway.descriptions import ADDITIONAL, DESCRIPTIONS, SCHEMAS, TAGS, Described
from ansambl.gateway.route import Route

_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, as OpenAI's clients send it."},
    "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "As Anthropic's clients do."},
}
_MEANINGS = {
    400: "The request can never succeed as it is.",
    401: "A key is needed, or what was sent is none.",
    403: "The key may not do this, or the request comes from a foreign page or name.",
    404: "No role, ensemble or model has this name; the message has the nearest.",
    406: "The client reads no JSON.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    415: "The body is sent in an encoding or as a type that is not read.",
    429: "A limit of the key is reached; Retry-After says when to ask again.",
    501: "No engine here can do this; the message says what would add it.",
    502: "The engine failed.",
    503: "Not now; Retry-After says when to ask again, where that helps.",
}
_ASKED = (400, 404, 408, 413, 415, 501, 502, 503)
"""What may go wrong with every request that has a body."""


def document(routes: Mapping[str, Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes.

    Raises:
        KeyError: one of them is not described.
    """
    paths: dict[str, Any] = {}
    for path, route in routes.items():
        paths[path] = {route.method.lower(): _operation(path, route, DESCRIPTIONS[path])}
    for path, (method, found) in ADDITIONAL.items():
        paths[path] = {method: _operation(path, None, found)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ansambl",
            "summary": "What clients of other services ask, answered by the models of this machine.",
            "version": __version__,
        },
        "tags": TAGS,
        "paths": dict(sorted(paths.items())),
        "security": [{name: []} for name in _SECURITY],
        "components": {"schemas": SCHEMAS, "securitySchemes": _SECURITY},
    }


def _operation(path: str, route: Route | None, found: Described) -> dict[str, Any]:
    public = route is not None and route.public
    statuses = set(found.fails)
    if not public:
        statuses |= {401, 403, 429}
    if found.takes is not None:
        statuses |= set(_ASKED)
    answers: dict[str, Any] = {}
    if found.gives is not None:
        content = {"application/json": {"schema": _schema(found.gives)}}
        answers["200"] = {"description": found.answer, "content": {**content, **_others(found)}}
    elif found.streams is not None:
        answers["200"] = {"description": found.answer, "content": _others(found)}
    for status in sorted(statuses):
        answers[str(status)] = {
            "description": _MEANINGS[status],
            "content": {"application/json": {"schema": _schema(found.errors)}},
        }
    for status, name in found.more.items():
        answers[str(status)] = {
            "description": found.answer, "content": {"application/json": {"schema": _schema(name)}},
        }  # fmt: skip
    answers |= {str(status): {"description": "Taken note of."} for status in found.empty}
    operation: dict[str, Any] = {
        "summary": found.summary, "tags": [found.tag], "operationId": _operation_id(path, route), "responses": answers,
    }  # fmt: skip
    if found.takes is not None:
        body: dict[str, Any] = {"schema": _schema(found.takes)}
        if found.example is not None:
            body["example"] = found.example
        operation["requestBody"] = {"required": found.body_required, "content": {found.takes_type: body}}
    if "{" in path:
        operation["parameters"] = [
            {"name": one, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for one in re.findall(r"\{(\w+)\}", path)
        ]
    if public:
        operation["security"] = []
    return operation


def _others(found: Described) -> dict[str, Any]:
    return {} if found.streams is None else {found.streams: {}}


def _schema(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _operation_id(path: str, route: Route | None) -> str:
    method = route.method.lower() if route is not None else "get"
    return "_".join([method, *re.findall(r"[a-z0-9]+", path)])
