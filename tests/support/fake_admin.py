"""A small real server that imitates what the console's pages ask of the admin API, for states nobody can provoke.

What it tells is set by a test while it runs; events are pushed as the product's stream would tell them, and a stream
that was lost goes on behind the id that the browser read last.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from ansambl.console.application import make_console

STARTED = 1_790_000_000.0
IN_SNAPSHOT = ("started", "default_model", "instances", "devices", "requests")


def instance(model: str, **fields: Any) -> dict[str, Any]:
    """An instance as the admin API tells it."""
    return {
        "model": model, "engine": "llama.cpp", "state": "ready", "address": None, "pid": 1, "attached": False,
        "adopted": False, "context": None, "parallel": None, "running": 0, "waiting": 0, "restarts": 0,
        "started": STARTED + 4, "load_seconds": 3.2, "memory": None, "message": None, "server": None, "rests_at": None,
        "loras": [], "sleep_levels": [], "residency": "in", "wanted": None, "reserved": {}, "parts": {},
        "measured": False,
        "waiting_by_class": {}, "speed": {"decode": None, "prefill": None}, "output_tokens": None,
        "cached_share": None, "kv_cache_share": None, "swaps": 0, "pinned": False, "pinned_by": None, **fields,
    }  # fmt: skip


def request_of(number: int, **fields: Any) -> dict[str, Any]:
    """A request as the admin API tells it."""
    return {
        "number": number, "id": f"req_{number}", "time": STARTED + number, "method": "POST",
        "path": "/v1/chat/completions", "key": "local", "name": "coder", "model": "big",
        "request_class": "interactive", "status": 200, "code": None, "seconds": 1.5, "queued": 0.0, "first": 0.25,
        "swaps": 0, "prompt_tokens": 1904, "cached_tokens": 1873, "output_tokens": 142, "streamed": True, **fields,
    }  # fmt: skip


def role(name: str, model: str = "big") -> dict[str, Any]:
    """A role as the admin API tells it."""
    return {"name": name, "description": "…", "instruction": "…", "model": model, "layout": "shared-prefix",
            "aliases": [], "origin": "shipped", "sampling": {}, "output_limit": None}  # fmt: skip


def state() -> dict[str, Any]:
    """A machine with one model of its own, which answers, and one of somebody else, which does not."""
    return {
        "version": "0.1.0", "pid": 4242, "started": STARTED, "address": "http://127.0.0.1:1", "default_model": "big",
        "instances": [
            instance("big", context=131072, parallel=4, running=1, restarts=1, memory=66_000_000_000,
                     reserved={"gpu0": 66_000_000_000}, measured=True,
                     parts={"gpu0": {"weights": 60_000_000_000, "kv_cache": 5_000_000_000, "overhead": 10**9}}),
            instance("remote", engine="openai-compatible", state="unreachable", attached=True, waiting=2,
                     message="Nothing answers at http://127.0.0.1:11434.", server="Ollama", residency=None),
        ],
        "devices": [
            {"device": "ram", "capacity": 128 * 2**30, "reserved": 0, "foreign": 8 * 2**30},
            {"device": "gpu0", "capacity": 80 * 2**30, "reserved": 66_000_000_000, "foreign": 2**30},
        ],
        "roles": [role(one) for one in ("coder", "reasoner", "philosopher")],
        "ensembles": [{"name": "council", "description": "All answer", "pattern": "council", "aliases": [],
                       "roles": ["coder", "reasoner", "philosopher"], "conductor": "reasoner", "origin": "shipped"}],
        "events": [
            {"time": STARTED + 4, "model": "big", "kind": "ready", "message": "It answers after 3.2 s."},
            {"time": STARTED + 900, "model": "big", "kind": "crashed", "message": "It was killed (SIGKILL)."},
            {"time": STARTED + 904, "model": "big", "kind": "ready", "message": "It answers again after 3.1 s."},
        ],
        "requests": {"answered": 12, "failed": 1, "running": 1}, "knowledge": None,
    }  # fmt: skip


@dataclass
class FakeAdmin:
    """The server, what it tells and what was done to it.

    `refusal` is what every question is answered with instead; `opened` holds behind which event each stream began,
    `watched` counts those that are open.
    """

    port: int = 0
    state: dict[str, Any] = field(default_factory=state)
    requests: list[dict[str, Any]] = field(default_factory=lambda: [request_of(1), request_of(2, status=503, code="x")])
    traffic: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=lambda: {"usage": [], "by_key": []})
    endpoints: list[str] = field(default_factory=lambda: ["chat", "admin", "admin:read"])
    posted: list[str] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    pushed: list[tuple[str, Any]] = field(default_factory=list)
    opened: list[str | None] = field(default_factory=list)
    cut: int = 0
    watched: int = 0
    _server: uvicorn.Server | None = None
    _thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def push(self, kind: str, data: Any) -> None:
        """An event for whoever watches."""
        self.pushed.append((kind, data))

    def change(self, model: str, **fields: Any) -> None:
        """An instance is otherwise now, and whoever watches is told."""
        found = next(one for one in self.state["instances"] if one["model"] == model)
        found.update(fields)
        self.push("instance", dict(found))

    def cut_streams(self) -> None:
        """Break all event streams, as a proxy between may do."""
        self.cut += 1

    # --- the server ---------------------------------------------------------------------------------------------------

    def start(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(self._app(), ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        assert self._server is not None
        assert self._thread is not None
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    def _app(self) -> Starlette:
        admin = Starlette(
            routes=[
                Route("/admin/api/me", self._me),
                Route("/admin/api/state", self._told(lambda: self.state)),
                Route("/admin/api/requests", self._told(lambda: {"requests": self.requests})),
                Route("/admin/api/traffic", self._told(lambda: self.traffic)),
                Route("/admin/api/usage", self._told(lambda: self.usage)),
                Route("/admin/api/keys", self._told(lambda: {"keys": []})),
                Route("/admin/api/events", self._events),
                Route("/admin/api/instances/{rest:path}", self._post, methods=["POST"]),
            ]
        )
        console = make_console(version="0.1.0", admin=admin)
        return Starlette(routes=[Mount("/admin/api", self._below(admin)), Mount("/", console)])

    def _below(self, admin: Starlette) -> Any:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await admin({**scope, "root_path": ""}, receive, send)

        return app

    def _told(self, what: Any) -> Any:
        async def answer(_: Request) -> Response:
            return self._refused() or JSONResponse(what())

        return answer

    def _refused(self) -> Response | None:
        if self.refusal is None:
            return None
        status, message = self.refusal
        return JSONResponse({"error": {"message": message, "code": "refused"}}, status)

    async def _me(self, _: Request) -> Response:
        return JSONResponse({"key": None, "name": None, "endpoints": self.endpoints, "names": None, "has_keys": False})

    async def _post(self, request: Request) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        self.posted.append(
            request.url.path.removeprefix("/admin/api/") + "?" * bool(request.url.query) + request.url.query
        )
        return JSONResponse({})

    async def _events(self, request: Request) -> Response:
        refused = self._refused()
        if refused is not None:
            return refused
        after = request.headers.get("last-event-id") or request.query_params.get("after")
        self.opened.append(after)
        # What is pushed once a browser knows that the stream is open comes in it.
        run = f"{self.state['started']:.0f}"
        known, _, number = (after or "").partition("-")
        at, first = int(number) if known == run else len(self.pushed), b""
        if known != run:
            snapshot = {"missed": after is not None, **{key: self.state[key] for key in IN_SNAPSHOT}}
            first = _frame(f"{run}-{at}", "snapshot", snapshot)
        return StreamingResponse(self._stream(run, at, first), media_type="text/event-stream")

    async def _stream(self, run: str, at: int, first: bytes) -> AsyncIterator[bytes]:
        cut, server = self.cut, self._server
        yield first
        self.watched += 1
        try:
            while self.cut == cut and server is not None and not server.should_exit:
                while at < len(self.pushed):
                    kind, data = self.pushed[at]
                    at += 1
                    yield _frame(f"{run}-{at}", kind, data)
                await asyncio.sleep(0.01)
        finally:
            self.watched -= 1


def _frame(event_id: str, kind: str, data: Any) -> bytes:
    return f"id: {event_id}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
