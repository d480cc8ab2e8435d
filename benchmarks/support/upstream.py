"""A fixed upstream that speaks OpenAI: the same JSON body, or the same chunks at a steady pace, whoever asks.

It is an asyncio protocol and does as little as it can, so that a benchmark measures the proxy before it.
Run as a program: ``python upstream.py PORT [CHUNKS PACE]``, PACE in seconds between two chunks; SIGTERM ends it.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from typing import cast

CHUNKS = int(sys.argv[2]) if len(sys.argv) > 2 else 100
PACE = float(sys.argv[3]) if len(sys.argv) > 3 else 0.005
"""Seconds between two chunks."""

_IDENTITY = {"id": "chatcmpl-5f0e2a41c3d84b7f9a6e", "created": 1767225600, "model": "fixed"}
_USAGE = {"prompt_tokens": 312, "completion_tokens": CHUNKS, "total_tokens": 312 + CHUNKS}


def _response(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _event(data: bytes) -> bytes:
    """One server-sent event as one chunk of the transfer encoding."""
    event = b"data: " + data + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


def _chunk(number: int) -> bytes:
    choice = {"index": 0, "delta": {"content": f" word{number:03d}"}, "logprobs": None, "finish_reason": None}
    body = {**_IDENTITY, "object": "chat.completion.chunk", "system_fingerprint": "fp_fixed", "choices": [choice]}
    return _event(json.dumps(body, separators=(",", ":")).encode())


_MODELS = _response(json.dumps({"object": "list", "data": [{"id": "fixed", "object": "model"}]}).encode())
_HEALTH = _response(b'{"status":"ok"}')
_UNKNOWN = _response(b'{"error":{"message":"no such path"}}', "404 Not Found")
_ANSWER = _response(
    json.dumps({
        **_IDENTITY, "object": "chat.completion", "usage": _USAGE,
        "choices": [{"index": 0, "finish_reason": "stop",
                     "message": {"role": "assistant", "content": "A fixed answer of a fixed length. " * 12}}],
    }).encode()
)  # fmt: skip
_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_STREAM = [_chunk(number % 1000) for number in range(CHUNKS)]
_STREAM_END = (
    _event(
        json.dumps({
            **_IDENTITY, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE
        }, separators=(",", ":")).encode()
    ) + _event(b"[DONE]") + b"0\r\n\r\n"
)  # fmt: skip


class Upstream(asyncio.Protocol):
    """One connection, kept alive; a request is answered when its body is complete."""

    def __init__(self) -> None:
        self._received = b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to answer."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, _error: Exception | None) -> None:
        """Stop a stream whose reader left."""
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        """Answer each request that is complete."""
        self._received += data
        while True:
            head, mark, rest = self._received.partition(b"\r\n\r\n")
            if not mark:
                return
            lowered = head.lower()
            if b"transfer-encoding: chunked" in lowered:
                body, end, after = rest.partition(b"0\r\n\r\n")
                if not end:
                    return
            else:
                _, named, value = lowered.partition(b"content-length:")
                length = int(value.split(b"\r\n", 1)[0]) if named else 0
                if len(rest) < length:
                    return
                body, after = rest[:length], rest[length:]
            self._received = after
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        method, path, *_ = head.split(b" ", 2)
        if method == b"POST" and path == b"/v1/chat/completions":
            if b'"stream":true' in body.replace(b" ", b""):
                self._transport.write(_STREAM_HEAD)
                loop = asyncio.get_running_loop()
                self._send(loop, 0, loop.time())
            else:
                self._transport.write(_ANSWER)
        else:
            self._transport.write({b"/v1/models": _MODELS, b"/health": _HEALTH}.get(path, _UNKNOWN))

    def _send(self, loop: asyncio.AbstractEventLoop, number: int, start: float) -> None:
        if number == CHUNKS:
            self._transport.write(_STREAM_END)
            self._timer = None
            return
        self._transport.write(_STREAM[number])
        # Counted from the start, so that one late chunk does not delay all that follow.
        self._timer = loop.call_at(start + (number + 1) * PACE, self._send, loop, number + 1, start)


def raise_open_files() -> None:
    """Let this process hold as many connections as the system allows it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(port: int) -> None:
    """Answer on a loopback port until cancelled."""
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port, backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    raise_open_files()
    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(int(sys.argv[1])))
    else:
        uvloop.run(serve(int(sys.argv[1])))
