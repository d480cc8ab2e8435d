"""A fake engine as a real process: OpenAI chat with an engine's timing, a prefix cache, and faults on request.

Run as ``python -m ansambl.testing.fake_engine_server --port N [--script NAME[:VALUE],…]``. Scripts:

* ``slow-start:SECONDS``: answers 503 until then, as an engine does that loads its model
* ``crash-at-start``: ends with status 1 and a line saying so
* ``out-of-memory``: prints what an engine prints then, and ends with status 1
* ``crash-mid-stream:TOKENS``: dies of a segmentation fault after that many tokens of an answer
* ``hang``: accepts chat requests and never answers; ``hang-everything``: health and models too
* ``hang-mid-stream:TOKENS``: sends no more after that many tokens of an answer
* ``garbage``, ``not-http``, ``close-after-head``, ``hang-after-head``, ``hang-pinging``: see `fake_faults`
* ``error-500``: refuses chat requests with a server error
* ``needs-key:KEY``: asks for that bearer token (by default for ``ANSAMBL_ENGINE_KEY`` of the environment, if set)
* ``tokens:N``: every answer has N tokens, instead of an echo of the last user message
* ``restores-nothing``: restoring a slot's state is answered as if it worked, and the slot is empty
* ``saves-nothing``: the state of a slot can be neither saved nor restored
* ``no-template``: ``/apply-template`` is refused
* ``sleep-keeps``: it says that it sleeps and keeps its memory; ``wake-fails``: it cannot be woken; ``wake-rubbish``: it
  answers rubbish afterwards

With ``--slot-save-path FOLDER/`` it has llama.cpp's slots: ``/apply-template``, ``/tokenize``, ``/completion`` of token
numbers, ``/slots/N?action=save|restore``, and ``id_slot`` in chat requests, each slot with a prefix of its own.

With ``--memory MIB`` it holds that much and has vLLM's sleep; with ``--lora NAME`` (several times) llama.cpp's LoRA
adapters, with ``--loads-loras`` vLLM's (see `fake_abilities`).

``GET /_requests`` tells every chat request that came: headers without secrets, the body as text, how it ended
(``running``, ``finished``, ``cancelled``, ``failed``) and how many tokens were sent.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansambl.testing.fake_abilities import RUBBISH, Answer, FakeLoras, FakeSleep
from ansambl.testing.fake_faults import Faults, parse_script
from ansambl.testing.fake_http import MAX_HEAD, Reader, Request, read_request, send, send_chunk, send_head
from ansambl.testing.fake_slots import FakeSlots, PrefixCache, content_of, render, tokenize

_SECRET_HEADERS = frozenset({"authorization", "x-api-key", "cookie"})
_OUT_OF_MEMORY = (
    "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 81920.00 MiB on device 0: cudaMalloc failed: out of memory"
)

ANSWER_PREFIX = "You said: "
"""How an answer begins; the last user message follows."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How the fake behaves: rates in tokens per second, `script` by name with the value after the colon."""

    model: str = "fake"
    context: int = 8192
    slots: int = 1
    decode_rate: float = 500.0
    prefill_rate: float = 20_000.0
    script: Mapping[str, str] = field(default_factory=dict)
    state_folder: str | None = None
    memory: int = 0
    loras: tuple[str, ...] = ()
    loads_loras: bool = False

    def number(self, name: str) -> float | None:
        """The value of a script as a number; None when the script is not on."""
        return float(self.script[name]) if name in self.script else None


@dataclass(slots=True)
class Recorded:
    """A chat request as it came, and what became of it."""

    path: str
    headers: dict[str, str]
    body: str
    state: str = "running"
    tokens_sent: int = 0


class FakeEngine:
    """The server. Everything lives on one event loop."""

    def __init__(self, behaviour: Behaviour, key: str | None) -> None:
        self._behaviour = behaviour
        self._key = key
        self._cache = PrefixCache(behaviour.slots)
        self._slots = FakeSlots(self._cache, behaviour.state_folder, behaviour.script, behaviour.prefill_rate)
        self._sleep = FakeSleep(behaviour.memory, behaviour.script)
        self._faults = Faults(behaviour.script)
        self._loras = FakeLoras(
            behaviour.model, behaviour.loras, loads=behaviour.loads_loras, slots=behaviour.slots
        )  # fmt: skip
        self._places = asyncio.Semaphore(behaviour.slots)
        self._began = time.monotonic()
        self._requests: list[Recorded] = []
        self._counters = {"prompt": 0, "cached": 0, "output": 0, "running": 0, "waiting": 0, "steps": 0}

    def protocol(self) -> asyncio.StreamReaderProtocol:
        """What speaks on a new connection."""
        reader = Reader(limit=MAX_HEAD, loop=asyncio.get_running_loop())
        return asyncio.StreamReaderProtocol(reader, lambda _, writer: self._serve(reader, writer))

    async def _serve(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
            while (request := await read_request(reader)) is not None:
                await self._answer(request, reader, writer)
                await writer.drain()
                if request.last:
                    break
        writer.close()

    async def _answer(self, request: Request, reader: Reader, writer: asyncio.StreamWriter) -> None:
        if "hang-everything" in self._behaviour.script and request.path != "/_requests":
            await reader.gone.wait()
            raise ConnectionResetError
        if request.path == "/_requests":
            send(writer, 200, [dataclasses.asdict(one) for one in self._requests])
        elif time.monotonic() - self._began < (self._behaviour.number("slow-start") or 0.0):
            send(writer, 503, _error("Loading model", "unavailable_error"))
        elif request.path == "/health":
            send(writer, 200, {"status": "ok"})
        elif self._key and request.headers.get("authorization") != f"Bearer {self._key}":
            send(writer, 401, _error("Invalid API Key", "authentication_error"))
        elif request.path == "/v1/models":
            send(writer, 200, {"object": "list", "data": [self._model(), *self._loras.models()]})
        elif request.path == "/metrics":
            send(writer, 200, self._metrics())
        elif request.path == "/v1/chat/completions" and request.method == "POST":
            await self._chat(request, reader, writer)
        elif (answer := await self._ability(request)) is not None:
            send(writer, *answer)
        else:
            send(writer, 404, _error("File Not Found", "not_found_error"))

    async def _ability(self, request: Request) -> Answer | None:
        found = self._sleep.answer(request) or self._loras.answer(request)
        return found if found is not None else await self._slots.answer(request)

    def _model(self) -> dict[str, Any]:
        return {"id": self._behaviour.model, "object": "model", "owned_by": "fake",
                "meta": {"n_ctx_train": self._behaviour.context}}  # fmt: skip

    def _metrics(self) -> str:
        names = {"prompt": "prompt_tokens_total", "cached": "prompt_tokens_cached_total",
                 "output": "tokens_predicted_total", "steps": "n_decode_total", "running": "requests_processing",
                 "waiting": "requests_deferred"}  # fmt: skip
        return "".join(f"llamacpp:{name} {self._counters[key]}\n" for key, name in names.items())

    async def _chat(self, request: Request, reader: Reader, writer: asyncio.StreamWriter) -> None:
        headers = {name: value for name, value in request.headers.items() if name not in _SECRET_HEADERS}
        record = Recorded(request.path, headers, request.body.decode("utf-8", "replace"))
        self._requests.append(record)
        script = self._behaviour.script
        if "hang" in script:
            await reader.gone.wait()
            record.state = "cancelled"
            raise ConnectionResetError
        if "error-500" in script:
            record.state = "failed"
            return send(writer, 500, _error("the fake was told to fail", "server_error"))
        try:
            body = json.loads(request.body)
            prompt = tokenize(render(body["messages"]))
            answer = self._words(body)
        except (ValueError, KeyError, TypeError, AttributeError):
            record.state = "failed"
            return send(writer, 400, _error("cannot read the request", "invalid_request_error"))
        if self._loras.unknown(body):
            record.state = "failed"
            return send(writer, 404, _error(f"The model `{body['model']}` does not exist.", "NotFoundError"))
        if len(prompt) >= self._behaviour.context:
            record.state = "failed"
            return send(writer, 400, {"error": {
                "code": 400, "type": "exceed_context_size_error", "n_prompt_tokens": len(prompt),
                "n_ctx": self._behaviour.context,
                "message": "the request exceeds the available context size, try increasing it",
            }})  # fmt: skip
        if self._faults.left():
            record.state = "failed"
            return await self._faults.answer(reader, writer, stream=bool(body.get("stream")))
        gone = asyncio.ensure_future(reader.gone.wait())
        work = asyncio.ensure_future(self._generate(body, prompt, answer, record, writer))
        try:
            await asyncio.wait([gone, work], return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise ConnectionResetError
            work.result()
            record.state = "finished"
        except ConnectionError:
            record.state = "cancelled"
            raise
        finally:
            for task in (gone, work):
                task.cancel()
            await asyncio.wait([gone, work])
        return None

    def _words(self, body: dict[str, Any]) -> list[str]:
        count = self._behaviour.number("tokens")
        if count is not None:
            return [f" word{index}" for index in range(int(count))]
        said = next((content_of(one) for one in reversed(body["messages"]) if one.get("role") == "user"), "")
        return tokenize(ANSWER_PREFIX + said)

    async def _generate(
        self, body: dict[str, Any], prompt: list[str], answer: list[str], record: Recorded, writer: asyncio.StreamWriter
    ) -> None:
        self._counters["waiting"] += 1
        try:
            await self._sleep.awake.wait()
            await self._places.acquire()
        finally:
            self._counters["waiting"] -= 1
        slot, cached = await self._cache.take(prompt, body.get("id_slot"))
        adapter, changed = self._loras.begin(slot, body)
        cached = 0 if changed else cached
        answer = answer if adapter is None else [f"[{adapter}] ", *answer]
        answer = [RUBBISH] * len(answer) if self._sleep.damaged else answer
        self._counters["running"] += 1
        done: list[str] = []
        try:
            await asyncio.sleep((len(prompt) - cached) / self._behaviour.prefill_rate)
            self._counters["prompt"] += len(prompt) - cached
            self._counters["cached"] += cached
            limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(answer)
            room = self._behaviour.context - len(prompt)
            pieces = answer[: min(int(limit), room)]
            reply = _Reply(body, self._behaviour.model, len(prompt), cached, cut=len(pieces) < len(answer))
            await reply.write(writer, self._decode(pieces, done, record))
        finally:
            self._counters["running"] -= 1
            self._counters["output"] += len(done)
            self._cache.give_back(slot, [*prompt, *done])
            self._places.release()

    async def _decode(self, pieces: list[str], done: list[str], record: Recorded) -> AsyncIterator[str]:
        crash_after = self._behaviour.number("crash-mid-stream")
        hang_after = self._behaviour.number("hang-mid-stream")
        for piece in pieces:
            await asyncio.sleep(1 / self._behaviour.decode_rate)
            done.append(piece)
            self._counters["steps"] += 1
            yield piece
            # Counted after the consumer has written it.
            record.tokens_sent += 1
            if hang_after is not None and record.tokens_sent >= hang_after:
                await asyncio.Event().wait()
            if crash_after is not None and record.tokens_sent >= crash_after:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                os.kill(os.getpid(), signal.SIGSEGV)


class _Reply:
    """One answer in OpenAI's format, streamed or whole."""

    def __init__(self, body: dict[str, Any], model: str, prompt: int, cached: int, *, cut: bool) -> None:
        self._stream = body.get("stream") is True
        self._with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        self._head = {"id": f"chatcmpl-fake-{time.time_ns()}", "created": int(time.time()), "model": model}
        self._prompt, self._cached = prompt, cached
        self._reason = "length" if cut else "stop"

    async def write(self, writer: asyncio.StreamWriter, pieces: AsyncIterator[str]) -> None:
        """Write the answer as its `pieces` come."""
        if not self._stream:
            words = [piece async for piece in pieces]
            message = {"role": "assistant", "content": "".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": self._reason}
            send(writer, 200, {**self._head, "object": "chat.completion", "choices": [choice],
                                "usage": self._usage(len(words))})  # fmt: skip
            return
        send_head(writer, 200, "text/event-stream", "Transfer-Encoding: chunked")
        self._event(writer, {"role": "assistant", "content": None})
        count = 0
        async for piece in pieces:
            self._event(writer, {"content": piece})
            await writer.drain()
            count += 1
        self._event(writer, {}, self._reason)
        if self._with_usage:
            send_chunk(writer, _data({**self._head, "object": "chat.completion.chunk", "choices": [],
                                  "usage": self._usage(count)}))  # fmt: skip
        send_chunk(writer, b"data: [DONE]\n\n")
        send_chunk(writer, b"")

    def _event(self, writer: asyncio.StreamWriter, delta: dict[str, Any], reason: str | None = None) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        send_chunk(writer, _data({**self._head, "object": "chat.completion.chunk", "choices": [choice]}))

    def _usage(self, output: int) -> dict[str, Any]:
        return {"prompt_tokens": self._prompt, "completion_tokens": output, "total_tokens": self._prompt + output,
                "prompt_tokens_details": {"cached_tokens": self._cached}}  # fmt: skip


def _data(content: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(content).encode() + b"\n\n"


def _error(message: str, kind: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind}}


def _say(line: str) -> None:
    print(line, flush=True)  # noqa: T201 - standard output is an engine's log


async def _main(host: str, port: int, behaviour: Behaviour, key: str | None) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    engine = FakeEngine(behaviour, key)
    try:
        server = await loop.create_server(engine.protocol, host, port)
    except OSError as failure:
        _say(f"error: couldn't bind HTTP server socket, hostname: {host}, port: {port}: {failure.strerror}")
        return 1
    _say(f"fake engine listens on http://{host}:{server.sockets[0].getsockname()[1]}")
    await stop.wait()
    server.close()
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Read the command line and serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="fake_engine_server", description="A fake engine for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", default="", help="faults, comma-separated: NAME or NAME:VALUE")
    usual = Behaviour()
    parser.add_argument("--model", default=usual.model)
    parser.add_argument("--context", type=int, default=usual.context)
    parser.add_argument("--slots", type=int, default=usual.slots)
    parser.add_argument("--slot-save-path", help="folder for the states of slots, with a slash at its end")
    parser.add_argument("--tokens-per-second", type=float, default=usual.decode_rate)
    parser.add_argument("--prefill-per-second", type=float, default=usual.prefill_rate)
    parser.add_argument("--memory", type=int, default=usual.memory, help="MiB that it holds and gives back asleep")
    parser.add_argument("--lora", action="append", default=[], help="a LoRA adapter, as llama.cpp has them")
    parser.add_argument("--loads-loras", action="store_true", help="LoRA adapters as vLLM has them")
    given = parser.parse_args(arguments)
    try:
        script = parse_script(given.script)
    except ValueError as failure:
        parser.error(str(failure))
    if "crash-at-start" in script:
        _say("fatal: the fake was told to crash at its start")
        return 1
    if "out-of-memory" in script:
        _say(_OUT_OF_MEMORY)
        _say("error: failed to load model")
        return 1
    behaviour = Behaviour(
        model=given.model, context=given.context, slots=given.slots, decode_rate=given.tokens_per_second,
        prefill_rate=given.prefill_per_second, script=script, state_folder=given.slot_save_path, memory=given.memory,
        loras=tuple(given.lora), loads_loras=given.loads_loras,
    )  # fmt: skip
    key = script.get("needs-key") or os.environ.get("ANSAMBL_ENGINE_KEY") or None
    return asyncio.run(_main(given.host, given.port, behaviour, key))


if __name__ == "__main__":
    sys.exit(main())
