"""A gateway under a real uvicorn, in front of a scripted engine on a real socket; the stage of its tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import openai
import pytest
from instance_defaults import InstanceDefaults
from prometheus_client.parser import text_string_to_metric_families
from secrets_watch import heard

from ansambl.access.door import OpenDoor, OwnersVisit
from ansambl.app.listening import bind
from ansambl.app.web import WebServer
from ansambl.domain.instance import Endpoint, InstanceState, InstanceStatus
from ansambl.domain.role import ModelName
from ansambl.gateway.front.connections import Connections
from ansambl.gateway.routes import Gateway
from ansambl.roles.catalog import build_catalog
from ansambl.roles.resolver import Resolver
from ansambl.roles.service import RoleService
from ansambl.roles.turns import TurnMemory
from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.upstream import Upstream

LIMIT = 2**20
USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 2,
    "total_tokens": 9,
    "prompt_tokens_details": {"cached_tokens": 4},
}
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "there",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()


def event(content):
    delta = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "there"}
    return b"data: %b\n\n" % json.dumps({**delta, "choices": [{"index": 0, "delta": {"content": content}}]}).encode()


LAST = (
    b"data: %b\n\ndata: [DONE]\n\n"
    % json.dumps(
        {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "there", "choices": [], "usage": USAGE}
    ).encode()
)


@dataclass
class Call:
    """One request as the scripted engine saw it."""

    body: bytes
    head: bytes = b""
    began: float = field(default_factory=time.perf_counter)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    left_at: float = 0.0

    @property
    def path(self):
        return self.head.split(b" ", 2)[1].decode()


class ScriptedEngine:
    """Answers each connection's requests with `script`, and notices when the other side closes."""

    def __init__(self):
        self.calls = []
        self.connections = 0
        self.script = self.answer_whole
        self._tasks = set()

    async def start(self):
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self):
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader, writer):
        self.connections += 1
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
                call = Call(await reader.readexactly(length), head)
                self.calls.append(call)
                # One request at a time is sent, so what is read now is the end of the connection.
                watch = asyncio.get_running_loop().create_task(self._watch(reader, call))
                try:
                    if await self.script(call, writer) is not True:
                        return
                finally:
                    watch.cancel()
                    await asyncio.gather(watch, return_exceptions=True)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    @staticmethod
    async def _watch(reader, call):
        try:
            if not await reader.read(1):
                call.left_at = time.perf_counter()
                call.left.set()
        except ConnectionError:
            call.left_at = time.perf_counter()
            call.left.set()

    async def answer_whole(self, call, writer):
        if b'"stream":true' in call.body:
            return await self.stream(event("a"), event("b"), LAST)(call, writer)
        writer.write(reply(ANSWER))
        await writer.drain()
        return True

    @staticmethod
    def stream(*parts, end=True):
        async def script(call, writer):
            writer.write(STREAM_HEAD)
            for part in parts:
                writer.write(b"%x\r\n%b\r\n" % (len(part), part))
                await writer.drain()
            if end:
                writer.write(b"0\r\n\r\n")
                await writer.drain()
            return end

        return script

    @staticmethod
    def fixed(content):
        async def script(call, writer):
            writer.write(content)
            await writer.drain()

        return script


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def reply(body, status=b"200 OK", kind=b"application/json"):
    return b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (status, kind, len(body), body)


class Attached(InstanceDefaults):
    """An instance that somebody else runs."""

    def __init__(self, model, port, parallel=None):
        self.model, self.port, self.parallel = model, port, parallel
        self.state = InstanceState.READY
        self.loaded = asyncio.Event()
        self.loaded.set()
        self.suspected = 0
        self.engine_name = "there"

    async def ensure_ready(self):
        await self.loaded.wait()
        return Endpoint(f"http://127.0.0.1:{self.port}/v1", name=self.engine_name)

    def suspect(self):
        self.suspected += 1

    def proven(self):
        pass

    async def stop(self):
        return

    def conversations(self):
        return None

    def shares_prefixes(self):
        return None

    def status(self):
        return InstanceStatus(self.model, "scripted", self.state, parallel=self.parallel)

    def log_tail(self, lines=200):
        return []


@dataclass
class Running:
    """All parts of one test."""

    engine: ScriptedEngine
    instance: Attached
    gateway: Gateway
    port: int
    coordinator: Coordinator
    service: RoleService
    connections: Connections = field(default_factory=Connections)

    def client(self):
        return openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{self.port}/v1", api_key="any", max_retries=0, timeout=20,
        )  # fmt: skip

    def metric(self, name, /, **labels):
        families = text_string_to_metric_families(self.gateway.metrics.page().decode())
        return sum(
            one.value
            for family in families
            for one in family.samples
            if one.name == name and labels.items() <= one.labels.items()
        )


class DoorOf:
    """Lets everybody in as the same caller."""

    has_keys = True

    def __init__(self, caller):
        self.visit = OwnersVisit()
        self.visit.caller = caller

    def is_proven(self, credentials):
        return True

    def known(self, credentials):
        return self.visit.caller

    def admit(self, credentials, endpoint):
        if endpoint is not None:
            self.visit.caller.require(endpoint)
        return self.visit


@pytest.fixture
async def running():
    async with a_gateway() as found:
        yield found


@asynccontextmanager
async def a_gateway(
    *, coordinator=Coordinator, parallel=None, others=(), roles=None, ensembles=None, door=None, knowledge=None,
    trials=None, **web,
):  # fmt: skip
    """A running gateway. `others` are models beside "big" on the same engine, `parallel` is their places.

    What else is given is for `WebServer`.
    """
    engine = ScriptedEngine()
    await engine.start()
    instance = Attached("big", engine.port, parallel)
    instances = [instance, *(Attached(name, engine.port, parallel) for name in others)]
    coordinator = coordinator(instances, Upstream())
    models = [ModelName("big", aliases=("large",)), ModelName("50%25"), *map(ModelName, others)]
    catalog = build_catalog(roles or {}, ensembles or {}, models)
    service = RoleService(catalog, TurnMemory())
    gateway = Gateway(
        Resolver(catalog), service, coordinator, body_limit=LIMIT, door=door or OpenDoor(), knowledge=knowledge,
        trials=trials,
    )  # fmt: skip
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    connections = web.pop("connections", Connections())
    server = WebServer(gateway, listener, connections, **web)
    await server.start()
    try:
        yield Running(engine, instance, gateway, port, coordinator, service, connections)
    finally:
        await server.stop()
        await coordinator.stop()
        await engine.stop()


def request(model="big", **fields):
    messages = [{"role": "user", "content": "hello"}]
    return json.dumps({"model": model, "messages": messages, **fields}, separators=(",", ":")).encode()


def post(body, path="/v1/chat/completions", **headers):
    lines = {"host": "localhost", "content_length": len(body), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


@asynccontextmanager
async def connection(running):
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def raw(running, content):
    """Send bytes, read one whole answer: status, headers and body (chunks joined; a missing end fails)."""
    async with connection(running) as (reader, writer):
        writer.write(content)
        return await read_answer(reader)


async def read_answer(reader):
    return await read_rest(reader, await read_head(reader))


async def read_head(reader):
    return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode("latin-1")


async def read_rest(reader, head):
    status = int(head.split()[1])
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
        heard(f"an answer with status {status}", f"{head}".encode() + body)
        return status, headers, body
    body = b""
    while True:
        size = int(await asyncio.wait_for(reader.readline(), 20), 16)
        chunk = await reader.readexactly(size + 2)
        if not size:
            heard(f"a stream with status {status}", f"{head}".encode() + body)
            return status, headers, body
        body += chunk[:-2]


def loading(running):
    """From now on the model is being loaded; `load` ends that."""
    running.instance.loaded.clear()
    running.instance.state = InstanceState.STARTING


def load(running):
    """The model has been loaded."""
    running.instance.state = InstanceState.READY
    running.instance.loaded.set()


def error_of(body):
    found = json.loads(body)
    assert set(found) == {"error"}
    assert {"message", "type", "param", "code"} <= set(found["error"])
    return found["error"]


async def until(condition, what, limit=10.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"did not happen in time: {what}"
        await asyncio.sleep(0.002)
