"""Event streams as ASGI end with their client, with Ansambl, and with who does not read; so does work."""

from __future__ import annotations

import asyncio

import pytest

from ansambl.api import leaving
from ansambl.api.leaving import ClientLeftError, EventStream, frame, while_client_stays


class Client:
    """The other side of one request. What it was sent stands in `sent`; `gone` is set when it leaves."""

    def __init__(self, *, reads=True):
        self.sent, self.gone, self.reads = [], asyncio.Event(), reads

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if message["type"] == "http.response.body" and not self.reads:
            await asyncio.Event().wait()
        self.sent.append(message)

    @property
    def body(self):
        return b"".join(one.get("body", b"") for one in self.sent)

    @property
    def whole(self):
        return self.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


class Source:
    """Events, one after another; notes whether it was closed and how much was asked for."""

    def __init__(self, last=None):
        self.last, self.asked, self.closed = last, 0, False

    async def events(self):
        try:
            while self.last is None or self.asked < self.last:
                self.asked += 1
                yield frame("tick", {"number": self.asked})
                await asyncio.sleep(0)
        finally:
            self.closed = True


def begin(source, client, closing=None):
    stream = EventStream(source.events(), closing or asyncio.Event())
    return asyncio.create_task(stream({"type": "http"}, client.receive, client.send))


async def test_a_stream_ends_with_its_source():
    source, client = Source(2), Client()
    await asyncio.wait_for(begin(source, client), 5)
    headers = dict(client.sent[0]["headers"])
    assert headers[b"content-type"].startswith(b"text/event-stream")
    assert b"content-length" not in headers
    assert client.body == b'event: tick\ndata: {"number":1}\n\nevent: tick\ndata: {"number":2}\n\n'
    assert client.whole


async def test_a_stream_ends_with_its_client_and_its_source_is_closed():
    source, client = Source(), Client()
    answer = begin(source, client)
    while source.asked < 3:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0)
    client.gone.set()
    await asyncio.wait_for(answer, 5)
    assert source.closed


async def test_a_stream_ends_when_ansambl_stops():
    source, client, closing = Source(), Client(), asyncio.Event()
    answer = begin(source, client, closing)
    await asyncio.sleep(0)
    closing.set()
    await asyncio.wait_for(answer, 5)
    assert (source.closed, client.whole) == (True, True)


async def test_who_does_not_read_is_asked_for_nothing_more_and_keeps_no_stop_waiting(monkeypatch):
    monkeypatch.setattr(leaving, "_LAST_WORDS", 0.01)
    source, client, closing = Source(), Client(reads=False), asyncio.Event()
    answer = begin(source, client, closing)
    for _ in range(50):
        await asyncio.sleep(0)
    assert source.asked == 1
    closing.set()
    await asyncio.wait_for(answer, 5)
    assert source.closed


async def test_who_does_not_read_for_long_is_let_go(monkeypatch):
    monkeypatch.setattr(leaving, "_PATIENCE", 0.01)
    source, client = Source(), Client(reads=False)
    await asyncio.wait_for(begin(source, client), 5)
    assert (source.asked, source.closed, client.whole) == (1, True, False)


async def test_a_stream_does_not_last_for_ever(monkeypatch):
    monkeypatch.setattr(EventStream, "longest", 0.01)
    source, client = Source(), Client()
    await asyncio.wait_for(begin(source, client), 5)
    assert (source.closed, client.whole) == (True, True)


async def test_work_ends_with_its_client():
    client, ended = Client(), []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    doing = asyncio.create_task(while_client_stays(client.receive, work()))
    await asyncio.sleep(0)
    client.gone.set()
    with pytest.raises(ClientLeftError):
        await asyncio.wait_for(doing, 5)
    await asyncio.sleep(0)
    assert ended == [True]


async def test_work_that_is_done_is_answered():
    async def work():
        return 5

    assert await while_client_stays(Client().receive, work()) == 5
