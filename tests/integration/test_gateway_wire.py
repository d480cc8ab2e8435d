"""The short ways to a client's connection are there under our server, and the long ones do the same."""

from __future__ import annotations

import pytest
from gateway_stage import LAST, connection, event, post, read_answer, request

from ansambl.gateway import asgi, exchange
from ansambl.gateway.wire import Wire

OF_ONE_ANSWER = {"x-request-id", "date", "x-ansambl-queued-ms"}


async def ask(running, *, stream):
    async with connection(running) as (reader, writer):
        writer.write(post(request(stream=stream)))
        return await read_answer(reader)


async def test_pieces_of_a_stream_are_written_at_once(running, monkeypatch):
    written = []
    write = Wire.write
    monkeypatch.setattr(Wire, "write", lambda self, piece: written.append(piece) or write(self, piece))
    running.engine.script = running.engine.stream(event("a"), event("b"), LAST)
    await ask(running, stream=True)
    assert b"".join(written) == event("a") + event("b") + LAST


@pytest.mark.parametrize("stream", [False, True])
async def test_both_ways_give_the_same_bytes(running, monkeypatch, stream):
    short = await ask(running, stream=stream)
    monkeypatch.setattr(exchange.Wire, "of", classmethod(lambda _cls, _send: None))
    monkeypatch.setattr(asgi, "tell_when_client_leaves", lambda _receive, _left: None)

    async def apart(send, head, body):
        await send(head)
        await send(body)

    monkeypatch.setattr(asgi, "send_together", apart)
    long = await ask(running, stream=stream)
    assert without_ids(long) == without_ids(short)


def without_ids(answer):
    """What differs between any two answers is left out."""
    found = []
    for part in answer if isinstance(answer, tuple) else (answer,):
        if isinstance(part, dict):
            found.append({name: value for name, value in part.items() if name not in OF_ONE_ANSWER})
        else:
            found.append(part)
    return found
