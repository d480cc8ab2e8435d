"""A real Chromium, and a small real server that imitates what the console asks of Ansambl."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Error, Page, sync_playwright
from product import Started, running_product
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route

from ansambl.console.application import make_console

SCREENSHOTS = Path(__file__).resolve().parents[2] / "test-output" / "screenshots"
ARGUMENTS = [
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    # Names of foreign pages that lead to this machine, as an attacker's own name server can say it.
    "--host-resolver-rules=MAP *.example 127.0.0.1",
]
PATIENCE = 15_000

NASTY_NAME = '<img src=x onerror="window.hacked=1"><b>role</b>'
NASTY_MARKDOWN = """# <script>window.hacked=1</script>

<img src=x onerror="window.hacked=1"> and <svg onload=window.hacked=1></svg>

[click](javascript:window.hacked=1) [data](data:text/html,<script>window.hacked=1</script>) [vb](vbscript:x)
[spaces]( java\tscript:window.hacked=1 ) ![image](http://example.com/pixel.png) [good](https://example.com/a_(b))

<https://example.com/auto> javascript:window.hacked=1 <javascript:window.hacked=1>

| a <b onclick="window.hacked=1">x</b> | b |
|---|--:|
| `<script>window.hacked=1</script>` | [x](JaVaScRiPt:window.hacked=1) |

```html" onload="window.hacked=1
<script>window.hacked=1</script>
```
"""
SHOWCASE = """Here is a **compact** way, with *two* caveats:

```python
def duplicates(folder: Path) -> dict[str, list[Path]]:
    by_digest = defaultdict(list)
    for path in folder.rglob("*"):
        if path.is_file():
            by_digest[sha256(path.read_bytes()).hexdigest()].append(path)
    return {digest: paths for digest, paths in by_digest.items() if len(paths) > 1}
```

### What matters

1. It reads whole files: use `hashlib.file_digest` for large ones.
2. Symbolic links are followed:
   - add `path.is_symlink()` to skip them;
   - hard links count as duplicates.

> Compare sizes first, it saves most of the reading.

| Files | Time |
|---|--:|
| 1,000 | 0.4 s |
| 10,000 | 3.9 s |

See <https://docs.python.org/3/library/hashlib.html>.
"""


CITING = "It is so [1], and again [2, 1]. Not `[1]`, nor [9], nor [2](https://example.com/)."
ACCOUNTS: dict[str, dict[str, Any]] = {
    "parts": {
        "branches": [
            {"role": name, "model": "big", "state": "answered", "seconds": seconds,
             "first_seconds": 0.31, "message": None,
             "usage": {"completion_tokens": 40, "prompt_tokens": 900, "prompt_tokens_details": {"cached_tokens": 890}}}
            for name, seconds in (("coder", 1.5), ("reasoner", 2.5), ("reasoner", 3.5))
        ],
        "sharing": [],
    },
    "cite": {
        "sources": [
            {"number": 1, "title": '<img src=x onerror="window.hacked=1">', "page": 12, "cited": True,
             "text": "<script>window.hacked=1</script> the passage", "url": "javascript:window.hacked=1",
             "link": "/console/knowledge/documents/5?passage=3"},
            {"number": 2, "title": "notes.md", "page": None, "cited": True, "text": "the second",
             "url": "javascript:window.hacked=1"},
            {"number": 3, "title": "other.md", "page": None, "cited": False, "text": "the third", "url": "/x"},
        ],
        "knowledge": {"query": "x", "collections": ["notes"], "failure": None},
    },
}  # fmt: skip
"""Our own object in the last event of an answer, by what was asked."""


def state_document(address: str) -> dict[str, Any]:
    """What GET /admin/api/state answers."""
    role = {"instruction": "…", "model": "big", "layout": "shared-prefix", "origin": "shipped", "sampling": {}}
    return {
        "version": "0.1.0", "pid": 4242, "started": 1_790_000_000.0, "address": address, "default_model": "big",
        "instances": [
            {"model": "big", "engine": "llama.cpp", "state": "ready", "address": "http://127.0.0.1:9", "pid": 4243,
             "attached": False, "adopted": False, "context": 131072, "parallel": 4, "running": 1, "waiting": 0,
             "restarts": 1, "started": 1_790_000_004.0, "load_seconds": 3.2, "memory": 66_000_000_000,
             "message": None, "server": None},
            {"model": "remote", "engine": "openai-compatible", "state": "unreachable", "attached": True, "running": 0,
             "waiting": 2, "restarts": 0, "message": "Nothing answers at http://127.0.0.1:11434.", "server": "Ollama"},
        ],
        "roles": [{"name": name, "description": about, "aliases": aliases, **role} for name, about, aliases in ROLES],
        "ensembles": [{"name": "council", "description": "All answer, one merges", "pattern": "council",
                       "roles": ["coder", "reasoner", "philosopher"], "conductor": "reasoner", "aliases": ["совет"],
                       "origin": "shipped"}],
        "events": [
            {"time": 1_790_000_004.0, "model": "big", "kind": "ready", "message": "It answers after 3.2 s."},
            {"time": 1_790_000_900.0, "model": "big", "kind": "crashed", "message": "It was killed (SIGKILL)."},
            {"time": 1_790_000_904.0, "model": "big", "kind": "ready", "message": "It answers again after 3.1 s."},
        ],
        "requests": {"answered": 12, "failed": 1, "running": 1},
    }  # fmt: skip


ROLES = [
    ("coder", "Writes and mends code: the code first, then what matters about it", ["кодер"]),
    ("reasoner", "Thinks a question through in steps, checks the result and names its assumptions", ["мыслитель"]),
    ("brief", "Answers in one to three sentences", ["кратко"]),
    ("philosopher", "Weighs a question from several sides and says what speaks for each", ["философ"]),
]


@dataclass
class FakeAnsambl:
    """The server and what it saw. `extra_models` are listed beside the usual ones."""

    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list)
    languages: list[str | None] = field(default_factory=list)
    left: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)
    asking: set[str] = field(default_factory=set)
    """The names whose answers are being written now."""
    extra_models: list[dict[str, Any]] = field(default_factory=list)
    runs_on: str = "big"
    needs_key: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    fails_once: set[str] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/admin/api/state", self._state),
                Route("/admin/api/events", self._events),
                Route("/admin/api/knowledge/conversations/{id}", self._past),
                Mount(
                    "/", make_console(version="0.1.0", admin=Starlette(routes=[Route("/admin/api/state", self._state)]))
                ),
            ]
        )

    async def _models(self, request: Request) -> Response:
        if self.needs_key:
            return JSONResponse({"error": {"message": "An API key is needed."}}, 401)
        models = {"models": [self.runs_on], "capabilities": ["completion"]}
        listed = [
            *({"id": name, "name": name, "description": about, "kind": "role", "aliases": aliases, **models}
              for name, about, aliases in ROLES),
            {"id": "council", "name": "council", "description": "All answer, one merges", "kind": "ensemble",
             "aliases": ["совет"], **models},
            {"id": "auto", "name": "auto", "description": "One is chosen", "kind": "ensemble", "aliases": [], **models},
            {"id": "big", "name": "big", "description": "The resident model", "kind": "model", "aliases": [], **models},
            {"id": "vectors", "name": "vectors", "description": "", "kind": "model", "aliases": [],
             "capabilities": ["embedding"]},
            *self.extra_models,
        ]  # fmt: skip
        return JSONResponse({"object": "list", "data": listed})

    async def _state(self, request: Request) -> Response:
        self.languages.append(request.headers.get("accept-language"))
        return JSONResponse(self.state)

    async def _events(self, request: Request) -> Response:
        """The live stream: a snapshot, then each instance that changes."""

        async def stream() -> AsyncIterator[bytes]:
            known: dict[str, Any] = {}
            parts = ("instances", "requests", "default_model", "started")
            yield _told("snapshot", {"devices": [], **{one: self.state[one] for one in parts}})
            while not self.closing.is_set():
                for one in self.state["instances"]:
                    if known.get(one["model"], one) != one:
                        yield _told("instance", one)
                    known[one["model"]] = copy.deepcopy(one)
                await asyncio.sleep(0.05)

        return StreamingResponse(stream(), media_type="text/event-stream")

    async def _past(self, request: Request) -> Response:
        said = [("system", "Be kind."), ("user", "An old question"), ("assistant", "An old **answer**"), ("user", "Hm")]
        turns = [{"speaker": who, "text": what, "time": None, "author": "gpt-4o"} for who, what in said]
        return JSONResponse({"title": NASTY_NAME, "turns": turns})

    async def _chat(self, request: Request) -> Response:
        if self.needs_key:
            return JSONResponse({"error": {"message": "An API key is needed."}}, 401)
        body = await request.json()
        self.requests.append(body)
        asked = body["messages"][-1]["content"]
        if asked == "refuse" and "refuse" not in self.fails_once:
            self.fails_once.add("refuse")
            error = {"message": "The model 'big' is not ready; it is loading.", "type": "unavailable"}
            return JSONResponse({"error": error}, 503)
        if asked == "limit":
            return JSONResponse({"error": {"message": "Too many requests."}}, 429, {"retry-after": "7"})
        headers = {"x-ansambl-instance": "big", "x-ansambl-queued-ms": "1250", "x-ansambl-swaps": "1"}
        stream = self._watched(body["model"], self._stream(body, asked))
        return StreamingResponse(stream, media_type="text/event-stream", headers={} if asked == "queue" else headers)

    async def _watched(self, name: str, stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        self.asking.add(name)
        try:
            async for one in stream:
                yield one
        finally:
            self.asking.discard(name)

    async def _until_released(self) -> None:
        while not self.release.is_set():  # noqa: ASYNC110 - the test is another thread
            await asyncio.sleep(0.01)

    async def _stream(self, body: dict[str, Any], asked: str) -> AsyncIterator[bytes]:
        if asked == "slow":
            try:
                while True:
                    yield _delta(content="word ")
                    await asyncio.sleep(0.02)
            finally:
                self.left.set()
        if asked == "think":
            yield _delta(reasoning_content="**coder**\n\nFirst I look at *both* sides.")
            await self._until_released()
        if asked == "queue":
            yield b": 'big' is loaded: 3 of 60 GiB\n\n"
            await self._until_released()
            yield b": x-ansambl-instance: big; x-ansambl-queued-ms: 8250; x-ansambl-swaps: 1\n\n"
        if asked == "parts":
            for name, words in (("coder", "Write it."), ("reasoner", "Prove it.")):
                yield _delta(reasoning_content=f"**{name}**\n\n")
                yield _delta(reasoning_content=words)
            await self._until_released()
        if asked == "route":
            yield _delta(reasoning_content="**reasoner** – it asks <b>why</b>\n\n")
        if asked in ("break", "vanish"):
            yield _delta(content="The beginning of")
        if asked == "break" and "break" not in self.fails_once:
            self.fails_once.add("break")
            yield _event({"error": {"message": "The engine of 'big' stopped: out of memory.", "type": "engine_error"}})
            return
        if asked == "vanish":
            return
        said = {"markup": NASTY_MARKDOWN, "showcase": SHOWCASE, "cite": CITING}.get(
            asked, f"{body['model']} read {len(body['messages'])} messages."
        )
        for at in range(0, len(said), 7):
            yield _delta(content=said[at : at + 7])
            await asyncio.sleep(0.001)
        yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": 1904, "completion_tokens": 142, "prompt_tokens_details": {"cached_tokens": 1873}}
        yield _event({"choices": [], "usage": usage, "ansambl": ACCOUNTS.get(asked, {})})
        yield b"data: [DONE]\n\n"


def _told(kind: str, data: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()


def _event(payload: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def _delta(**delta: str) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


class Served:
    """The application under uvicorn in a thread; `stop` and `start` imitate Ansambl going away and coming back."""

    def __init__(self, fake: FakeAnsambl) -> None:
        self.fake = fake
        self.start()

    def start(self) -> None:
        self.fake.closing.clear()
        listener = socket.create_server(("127.0.0.1", self.fake.port))
        self.fake.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.fake.app(), ws="none", lifespan="off", log_config=None, timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.fake.release.set()
        self.fake.closing.set()
        self._server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def served() -> Iterator[Served]:
    fake = FakeAnsambl()
    one = Served(fake)
    fake.state = copy.deepcopy(state_document(fake.address))
    yield one
    one.stop()


@pytest.fixture
def fake(served: Served) -> FakeAnsambl:
    return served.fake


def find_chromium() -> str | None:
    """The system's Chromium; None leaves the choice to Playwright's own."""
    wanted = os.environ.get("CHROMIUM_PATH")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return wanted or next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    # For a module, not for the session: Playwright's loop must not run beside that of asynchronous tests.
    with sync_playwright() as playwright:
        arguments = [*ARGUMENTS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else ARGUMENTS
        try:
            browser = playwright.chromium.launch(executable_path=find_chromium(), args=arguments)
        except Error as error:
            reason = str(error).strip().splitlines()[0]
            pytest.skip(f"no Chromium to drive ({reason}); run `make browser`, or set CHROMIUM_PATH")
        yield browser
        browser.close()


@dataclass
class Watched:
    """A page and what went wrong in it. `expected` holds beginnings of console errors that the test provokes."""

    page: Page
    context: BrowserContext
    problems: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()

    def check(self) -> None:
        found = [one for one in self.problems if not one.startswith(self.expected or ("\0",))]
        assert not found
        assert not self.outside
        assert self.page.evaluate("window.hacked") is None


OpenPage = Callable[..., Watched]


@pytest.fixture(scope="module")
def configuration() -> str:
    """The contents of the product's file; a module that wants another has a fixture of this name."""
    return ""


@pytest.fixture(scope="module")
def product(
    tmp_path_factory: pytest.TempPathFactory, embedded_model_folder: Path, configuration: str
) -> Iterator[Started]:
    """The real product on the embedded model, for a file whose tests leave it as they found it."""
    folder = tmp_path_factory.mktemp("product")
    with running_product(folder, embedded_model_folder, configuration, "--offline") as started:
        yield started


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[OpenPage]:
    """Opens pages that are checked at the end: no console error, no page error, no request outside loopback."""
    opened: list[Watched] = []

    def open_one(
        address: str, *, width: int = 1280, height: int = 800, language: str = "en", **options: Any
    ) -> Watched:
        locale = {"en": "en-GB", "ru": "ru-RU"}[language]
        context = chromium.new_context(viewport={"width": width, "height": height}, locale=locale, **options)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        watched = Watched(page, context)
        page.on("console", lambda one: watched.problems.append(one.text) if one.type in ("error", "warning") else None)
        page.on("pageerror", lambda one: watched.problems.append(f"page error: {one}"))
        page.on("request", lambda one: _note_outside(watched, one.url))
        opened.append(watched)
        page.goto(address)
        return watched

    yield open_one
    for one in opened:
        one.check()
        one.context.close()


def _note_outside(watched: Watched, address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("blob", "data") and parts.hostname not in ("127.0.0.1", "localhost"):
        watched.outside.append(address)


@pytest.fixture
def screenshot() -> Callable[[Page, str], None]:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=SCREENSHOTS / f"{name}.png", animations="disabled")

    return take
