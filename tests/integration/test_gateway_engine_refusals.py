"""What an engine says when it refuses reaches the client of every dialect, with when it wants to be asked again."""

import json

import pytest
from gateway_stage import post, raw, request, running

__all__ = ["running"]

BUSY = json.dumps({"error": {"message": "too busy now", "type": "overloaded"}}).encode()
MESSAGE = {"model": "big", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}


def busy(retry_after):
    return b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\nretry-after: %b\r\ncontent-length: %d\r\n\r\n%b" % (
        retry_after,
        len(BUSY),
        BUSY,
    )


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", request()),
        ("/v1/chat/completions", request(stream=True)),
        ("/v1/completions", json.dumps({"model": "big", "prompt": "hello"}).encode()),
        ("/v1/embeddings", json.dumps({"model": "big", "input": "hello"}).encode()),
        ("/v1/responses", json.dumps({"model": "big", "input": "hello"}).encode()),
        ("/v1/messages", json.dumps(MESSAGE).encode()),
        ("/api/chat", json.dumps({"model": "big", "messages": MESSAGE["messages"], "stream": False}).encode()),
    ],
)
async def test_when_an_engine_wants_to_be_asked_again_reaches_its_clients(running, path, body):
    running.engine.script = running.engine.fixed(busy(b"7"))
    status, headers, answer = await raw(running, post(body, path))
    assert (status, headers["retry-after"]) == (503, "7")
    assert b"too busy now" in answer


@pytest.mark.parametrize("written", [b"Wed, 21 Oct 2015 07:28:00 GMT", b"-1", b"1e9", b"9" * 40])
async def test_what_is_no_number_of_seconds_is_not_handed_on(running, written):
    running.engine.script = running.engine.fixed(busy(written))
    status, headers, _ = await raw(running, post(request()))
    assert status == 503
    assert "retry-after" not in headers
