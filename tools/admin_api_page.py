"""The reference page of the admin API, made from its OpenAPI document."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from ansambl.access.key_door import KeyDoor
from ansambl.api import PREFIX
from ansambl.api.guarding import needed
from ansambl.api.routes import make_admin_api
from ansambl.foundation.clock import RealClock

_HEAD = """\
The admin API stands under `/admin/api` and describes itself at `/admin/api/openapi.json`; the routes for clients do
so at `/openapi.json`. How to use it: [steer it from scripts](../how-to/steer-from-scripts.md).

A route needs the right `admin:read` or `admin`; an [API key](../how-to/keys.md) may have either. The admin token in
`state.json` of the data folder has both; each start makes another one. The state is free for programs of this
machine as long as no key exists. Errors have the shape `{"error": {"message", "type", "param", "code"}}`; the
message is in the language of `Accept-Language`. Documents grow: new keys may come, none is renamed.
"""

_EVENTS = """\
## The event stream

`GET /admin/api/events` answers with server-sent events. Each has an `id`; with the header `Last-Event-ID` (or
`?after=ID`) a stream goes on behind that event, as long as it is one of the last 1,000. Else it begins with a
snapshot whose `missed` is true. A comment comes after 15 seconds of silence. At most 100 streams are open at once,
and all end when Ansambl stops.

| Event | `data` |
|---|---|
| `snapshot` | `instances`, `devices`, `requests`, `version`, `started`, `default_model` of the state; and `missed` |
| `instance` | one instance as in the state, when anything of it changed: its state, its queue, its memory, its pin |
| `removed` | `model`: there is no such instance any more |
| `devices` | `devices` as in the state, when reservations changed, or what other programs hold by more than 0.5 % |
| `load` | `model`: it is being loaded or woken |
| `rest` | `model` goes to sleep at `level`, or stops (null), to make room for the model `wanted` if that is not null |
| `requests` | what `begun` and `ended`, no contents; `running`, `answered`, `failed` in all; `left_out` beyond 100 |
| `event` | `time`, `model`, `kind`, `message`: what happened to an instance, as `ansambl status` shows it |
| `job` | long work on knowledge as `GET /knowledge/jobs` tells it: when it begins, ends, and once a second between |
| `pull` | a model that is fetched, as `GET /models/pulls` tells it: when it begins, ends, and once a second between |
| `install` | an engine that is installed, as `GET /engines/installs` tells it: as often as a `pull` |
| `stopping` | Ansambl stops, and the stream ends |

Changes are told together, at most four times a second. Nothing is looked at while nobody watches.

The streams of logs send `line` events with `line`, and `gap` with `bytes` where lines are missing: the file was
emptied, or whoever reads was a megabyte behind. Secrets are masked.
"""


def _document() -> dict[str, Any]:
    anything: Any = SimpleNamespace()
    return make_admin_api(
        anything, anything, KeyDoor("", RealClock()), anything, is_local=lambda _: True, planning=anything,
        watching=anything, reading=anything, keys=anything, knowledge=anything, knowledge_work=anything,
    ).openapi()  # fmt: skip


def page(notice: str) -> str:
    """``docs/reference/admin-api.md``."""
    document = _document()
    lines = ["# The admin API\n", notice, _HEAD]
    for tag in document["tags"]:
        rows = [
            _row(path, method, operation)
            for path, item in document["paths"].items()
            for method, operation in item.items()
            if tag["name"] in operation["tags"]
        ]
        if rows:
            lines += [f"## {tag['name']}\n", f"{tag['description']}\n", "| Route | Right | What it does |"]
            lines += ["|---|---|---|", *rows, ""]
    lines.append(_EVENTS)
    return "\n".join(lines)


def _row(path: str, method: str, operation: dict[str, Any]) -> str:
    right = needed(method.upper(), path)
    shown = path.removeprefix(PREFIX)
    options = [
        f"`{one['name']}`: {one.get('description') or _bounds(one['schema'])}"
        for one in operation.get("parameters", ())
        if one["in"] == "query"
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    name = body.get("$ref", "").rpartition("/")[2]
    words = " ".join(str(operation.get("description") or operation.get("summary")).split())
    parts = [words, *([f"Body: `{name}`."] if name else []), *options]
    cells = (f"`{method.upper()} {shown}`", f"`{right.value}`" if right is not None else "", "<br>".join(parts))
    return "| " + " | ".join(one.replace("|", "\\|") for one in cells) + " |"


def _bounds(schema: dict[str, Any]) -> str:
    inner = next((one for one in schema.get("anyOf", ()) if one.get("type") != "null"), schema)
    least, most = inner.get("minimum"), inner.get("maximum")
    return f"{least} to {most}" if most is not None else f"at least {least}" if least is not None else inner["type"]
