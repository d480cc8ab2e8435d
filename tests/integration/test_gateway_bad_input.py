"""Bad bodies and bad engines, for every dialect on real sockets: an error that says so, and nothing lost for others."""

import asyncio
import json
import time

import pytest
from gateway_stage import ANSWER, LAST, STREAM_HEAD, a_gateway, error_of, event, post, raw, reply, request

HELLO = [{"role": "user", "content": "hello"}]
GOOD = {
    "/v1/chat/completions": {"messages": HELLO},
    "/v1/messages": {"messages": HELLO, "max_tokens": 9},
    "/v1/responses": {"input": "hello"},
    "/v1/completions": {"prompt": "hello"},
    "/v1/embeddings": {"input": "hello"},
    "/v1/rerank": {"query": "hello", "documents": ["a", "b"]},
    "/api/chat": {"messages": HELLO},
    "/api/generate": {"prompt": "hello"},
    "/api/embed": {"input": "hello"},
}
# What any of these paths may be answered with: an embedding, a ranking and a chat completion at once.
ANYTHING = json.dumps(
    {**json.loads(ANSWER), "data": [{"index": 0, "embedding": [0.1, 0.2]}],
     "results": [{"index": 0, "relevance_score": 0.5}]}
).encode()  # fmt: skip
CHAT = b'"messages":[{"role":"user","content":"x"}],"input":"x","prompt":"x","query":"x","documents":["x"]'
UNREADABLE = {
    "nothing": b"", "spaces": b"   ", "null": b"null", "a number": b"1", "a string": b'"x"', "a list": b"[]",
    "the half of it": b'{"model":"big","mess', "more than one": b'{"model":"big"}{}',
    "single quotes": b"{'model':'big'}",
    "a comment": b'{"model":"big",/**/%b}' % CHAT,
    "invalid UTF-8": b'{"model":"\xff\xfe",%b}' % CHAT,
    "UTF-16": '{"model":"big"}'.encode("utf-16"), "a bare NUL": b'{"model":"big\x00",%b}' % CHAT,
    "NaN": b'{"model":"big","temperature":NaN,%b}' % CHAT, "Infinity": b'{"model":"big","top_p":-Infinity,%b}' % CHAT,
    "100,000 lists": b"[" * 100_000,
    "100,000 closed lists": b'{"model":"big","x":%b%b,%b}' % (b"[" * 100_000, b"]" * 100_000, CHAT),
    "100,000 objects": b'{"model":"big",%b,"tools":%b1%b}' % (CHAT, b'{"a":' * 100_000, b"}" * 100_000),
}  # fmt: skip
ODD = {
    "a lone surrogate": b'{"model":"big",%b}' % CHAT.replace(b'"x"', rb'"\ud800"'),
    "a surrogate as name": b'{"model":"\\udfff",%b}' % CHAT,
    "1e999": b'{"model":"big","temperature":1e999,"max_tokens":1e999,%b}' % CHAT,
    "5,000 digits": b'{"model":"big","max_tokens":%b,%b}' % (b"9" * 5000, CHAT),
    "names twice": b'{"model":"nobody","model":"big",%b,%b}' % (CHAT, CHAT),
    "a long name": b'{"model":"%b",%b}' % (b"a" * 500_000, CHAT),
    "50,000 keys": b'{"model":"big",%b,%b}' % (b",".join(b'"k%d":1' % one for one in range(50_000)), CHAT),
}  # fmt: skip
WRONG = [None, True, -1, 1.5, 1e308, 10**30, "", "x", "\x00", [], [None], [[]], {}, {"a": 1}, [{}]]
FIELDS = {
    "/v1/chat/completions": "messages tools tool_choice stream stream_options max_tokens response_format stop ansambl",
    "/v1/messages": "messages system tools tool_choice stream max_tokens stop_sequences thinking metadata temperature",
    "/v1/responses": "input instructions tools tool_choice stream text reasoning max_output_tokens store",
    "/v1/completions": "prompt stream max_tokens stop suffix n best_of",
    "/v1/embeddings": "input encoding_format dimensions",
    "/v1/rerank": "query documents top_n",
    "/api/chat": "messages tools stream options format think keep_alive images",
    "/api/generate": "prompt system stream options format raw images suffix context",
    "/api/embed": "input options truncate dimensions keep_alive",
}
REFUSALS = range(400, 500)
AT_ONCE = 20


def check_shape(path, body):
    """Whether an error looks as clients of this dialect expect it."""
    if path.startswith("/api/"):
        assert isinstance(json.loads(body)["error"], str)
    elif path == "/v1/messages":
        found = json.loads(body)
        assert found["type"] == "error"
        assert {"type", "message"} <= set(found["error"])
    else:
        assert error_of(body)["message"]


def asked(path, **fields):
    return post(json.dumps({"model": "big", **GOOD[path], **fields}).encode(), path)


@pytest.mark.parametrize("path", GOOD)
async def test_bodies_that_nobody_can_read(path):
    async with a_gateway() as running:
        for name, body in UNREADABLE.items():
            began = time.monotonic()
            status, _, said = await raw(running, post(body, path))
            assert status in REFUSALS, (name, said[:200])
            check_shape(path, said)
            assert len(said) < 2000, name
            assert time.monotonic() - began < 5, name
        assert not running.engine.calls
        assert running.gateway.answering.running == 0


@pytest.mark.parametrize("path", GOOD)
async def test_odd_bodies_are_answered_or_refused(path):
    async with a_gateway() as running:
        running.engine.script = running.engine.fixed(reply(ANYTHING))
        for name, body in ODD.items():
            status, _, said = await raw(running, post(body, path))
            assert status == 200 or status in REFUSALS, (name, said[:200])
            if status != 200:
                check_shape(path, said)
                assert len(said) < 4000, name


@pytest.mark.parametrize("path", GOOD)
async def test_wrong_types_in_every_field_break_nothing(path):
    async with a_gateway() as running:
        running.engine.script = running.engine.fixed(reply(ANYTHING))
        cases = [(field, value) for field in FIELDS[path].split() for value in WRONG]
        for at in range(0, len(cases), AT_ONCE):
            some = cases[at : at + AT_ONCE]
            found = await asyncio.gather(*(raw(running, asked(path, **{field: value})) for field, value in some))
            for case, (status, _, said) in zip(some, found, strict=True):
                # The engine answers whole, so what was asked for as a stream may be its fault.
                assert status in {200, 501, 502} or status in REFUSALS, (case, said[:200])
                if status != 200:
                    check_shape(path, said)
        assert (await raw(running, asked(path)))[0] == 200


@pytest.mark.parametrize("path", GOOD)
async def test_an_unknown_name_gets_its_nearest_ones(path):
    async with a_gateway(others=["qwen-coder"]) as running:
        status, _, said = await raw(running, asked(path, model="qwen-codr"))
        assert status == 404
        check_shape(path, said)
        assert b"qwen-coder" in said


def chunks(*parts, end=True):
    return STREAM_HEAD + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in parts) + (b"0\r\n\r\n" if end else b"")


NO_ANSWER = {
    "no HTTP": b"garbage\r\n\r\n", "nothing": b"", "half a head": b"HTTP/1.1 200 OK\r\ncontent-type: text/ev",
    "no status": b"HTTP/1.1 abc OK\r\n\r\n", "an impossible status": reply(b"{}", b"999 Odd"),
    "a web page": reply(b"<html>", kind=b"text/html"), "an empty answer": reply(b""), "half of JSON": reply(b"{bad"),
    "a short answer": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{}",
    "an endless header": b"HTTP/1.1 200 OK\r\nx: " + b"a" * 1_000_000 + b"\r\ncontent-length: 2\r\n\r\n{}",
    "100,000 lists": reply(b"[" * 100_000), "a chunk without a size": STREAM_HEAD + b"zz\r\n",
    "a false encoding": reply(b"hello", b"200 OK\r\ncontent-encoding: gzip"),
}  # fmt: skip
NO_STREAM = {
    "no events": chunks(b"hello world\n\n"), "half an event": chunks(b'data: {"choices":'),
    "no end mark": chunks(event("a")), "cut off": chunks(event("a"), end=False),
    "cut off in a chunk": STREAM_HEAD + b"ffff\r\ndata: {", "a line without end": chunks(*[b"x" * 1_000_000] * 20),
    "comments alone": chunks(b": hi\n\n" * 1000), "an error in it": chunks(b'data: {"error":{"message":"oom"}}\n\n'),
}  # fmt: skip
ODD_EVENTS = {
    "broken JSON": chunks(event("a"), b"data: {nope\n\n", LAST), "no objects": chunks(b"data: []\n\ndata: 5\n\n", LAST),
    "invalid UTF-8": chunks(b"data: \xff\xfe\n\n", LAST),
    "100,000 lists": chunks(b"data: " + b"[" * 100_000 + b"\n\n", LAST),
}  # fmt: skip
CHATS = ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/api/chat", "/api/generate"]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("path", CHATS)
async def test_what_an_engine_breaks_is_told_in_the_clients_dialect(path, stream):
    async with a_gateway() as running:
        for name, content in {**NO_ANSWER, **(NO_STREAM if stream else {})}.items():
            running.engine.script = running.engine.fixed(content)
            status, headers, said = await raw(running, asked(path, stream=stream))
            if status == 200 and headers["content-type"].startswith(("text/event-stream", "application/x-ndjson")):
                # An event behind the status line, or what the engine itself said in its stream.
                assert b"error" in said, name
            else:
                assert status >= 500, (name, status, said[:200])
                check_shape(path, said)
        running.engine.script = running.engine.answer_whole
        assert (await raw(running, post(request())))[0] == 200


@pytest.mark.parametrize("path", CHATS)
async def test_odd_events_of_an_engine_end_in_an_answer_or_an_error(path):
    async with a_gateway() as running:
        for name, content in ODD_EVENTS.items():
            running.engine.script = running.engine.fixed(content)
            status, _, said = await raw(running, asked(path, stream=True))
            assert status in {200, 502}, (name, said[:200])
        running.engine.script = running.engine.answer_whole
        assert (await raw(running, post(request())))[0] == 200
