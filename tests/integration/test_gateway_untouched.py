"""What nobody here needs to change goes through as it came: requests to the engine, streams to the client."""

from __future__ import annotations

import json
import re

import pytest
from gateway_stage import LAST, STREAM_HEAD, event, post, raw, reply, request

ODD_FIELDS = {
    "numbers": b'"temperature":0.10,"seed":18446744073709551615,"logit_bias":{"50256":-1E2,"7":1.0},"x":1.50e+3',
    "escapes": b'"user":"\\u041f\\/\\ud83d\\ude00\\u0000","stop":["\\n","\xc3\xa9\xe2\x80\xa8"]',
    "objects": b'"metadata":{"b":1,"a":{"c":[ ]}},"unknown":null,"tools":[{"type":"function","function":{"name":"f"}}]',
    "deep": b'"deep":' + b"[" * 200 + b"]" * 200,
    "names": b'"\xd0\xbf\xd0\xbe\xd0\xbb\xd0\xb5":1,"a b":2,"A":3,"a":4',
    "probabilities": b'"n_probs":5,"logprobs":true,"top_logprobs":2,"n":3',
}
HEAD = b'{"model":"big","messages":[{"role":"user","content":"\\u0445","name":"n","x":{"y":1.0}}],'
OK = reply(b'{"choices":[{"index":0,"message":{"role":"assistant","content":"a"},"finish_reason":"stop"}]}')

ODD_STREAMS = {
    "crlf": [event("a").replace(b"\n", b"\r\n"), event("b").replace(b"\n", b"\r\n"), b"data: [DONE]\r\n\r\n"],
    "comments": [b": waiting\n\n", b":\n\n", event("a"), b": \xd0\xb6\n\n", LAST],
    "named events": [b"event: message\nid: 7\nretry: 10\n" + event("a"), b"event: end\n" + LAST],
    "no space after the colon": [event("a").replace(b"data: ", b"data:"), b"data:[DONE]\n\n"],
    "much space": [event("a").replace(b"data: ", b"data:     "), b"data:   [DONE]  \n\n"],
    "several lines of data": [event("a"), b'data: {"choices":\ndata: []}\n\n', LAST],
    "empty lines": [b"\n\n\n", event("a"), b"\n\n", LAST, b"\n"],
    "unknown fields": [event("a").replace(b'"object"', b'"x":[1.0,{"y":"\\u0000"}],"object"'), LAST],
    "a byte order mark": [b"\xef\xbb\xbf" + event("a"), LAST],
    "no end mark": [event("a"), event("b").replace(b'"index": 0', b'"index": 0, "finish_reason": "stop"')],
    "words after the end": [event("a"), LAST, b": bye\n\n"],
    "broken utf-8": [event("a"), event("a").replace(b'"a"', b'"\xff\xfe"'), LAST],
    "no blank line at the end": [event("a"), LAST.rstrip(b"\n") + b"\n"],
}


async def sent(running, body):
    running.engine.script = running.engine.fixed(OK)
    status, _, answer = await raw(running, post(body, content_type="application/json"))
    assert status == 200, answer
    return running.engine.calls[-1].body


@pytest.mark.parametrize("fields", ODD_FIELDS.values(), ids=ODD_FIELDS)
async def test_a_plain_models_request_is_the_clients_but_for_the_name(running, fields):
    body = HEAD + fields + b"}"
    assert await sent(running, body) == body.replace(b'"model":"big"', b'"model":"there"')


async def test_spaces_between_fields_are_all_that_a_request_may_lose(running):
    body = b' {\r\n\t"model" : "big" , "messages":\n[ {"role": "user",  "content": "hi"} ] ,"x" : { "y" :1.0 }\n} '
    assert await sent(running, body) == (
        b'{"model":"there","messages":[ {"role": "user",  "content": "hi"} ],"x":{ "y" :1.0 }}'
    )


async def test_a_whole_answer_is_the_engines(running):
    answer = (
        b'\n{ "id" : "x", "choices":[{"index":0,"message":{"role":"assistant","content":"\\u0430\xd0\xb0","x":1.0},'
        b'"logprobs":{"content":[{"token":"a","logprob":-1E-3}]},"finish_reason":"stop"}],"y":[ 1.50 ]}\r\n'
    )
    running.engine.script = running.engine.fixed(reply(answer, kind=b"application/json; charset=latin-1"))
    status, headers, body = await raw(running, post(request()))
    assert (status, body, headers["content-type"]) == (200, answer, "application/json; charset=latin-1")


@pytest.mark.parametrize("parts", ODD_STREAMS.values(), ids=ODD_STREAMS)
async def test_a_stream_is_the_engines(running, parts):
    running.engine.script = running.engine.stream(*parts)
    status, headers, body = await raw(running, post(request(stream=True)))
    assert (status, body) == (200, b"".join(parts))
    assert headers["content-type"].startswith("text/event-stream")


@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
async def test_a_stream_is_the_engines_wherever_it_is_cut(running, ends):
    stream = (b": hello\n\nevent: x\n" + event("а😀") + LAST).replace(b"\n", ends)
    for at in range(1, len(stream)):
        running.engine.script = running.engine.stream(stream[:at], stream[at:])
        assert (await raw(running, post(request(stream=True))))[2] == stream, at
    running.engine.script = running.engine.stream(*(stream[at : at + 1] for at in range(len(stream))))
    assert (await raw(running, post(request(stream=True))))[2] == stream


async def test_an_engine_that_streams_without_chunks_is_the_same(running):
    """Some engines say the end of a stream by closing the connection."""
    stream = event("a") + LAST
    head = re.sub(rb"transfer-encoding: chunked\r\n", b"connection: close\r\n", STREAM_HEAD)
    running.engine.script = running.engine.fixed(head + stream)
    assert (await raw(running, post(request(stream=True))))[2] == stream


async def test_a_roles_request_keeps_what_is_not_its_own(running):
    """A role writes messages and the sampling that the client left open; all else stays the client's bytes."""
    body = b'{"model":"coder","messages":[{"role":"user","content":"hi"}],"temperature":0.10,"x":{ "y":1.0 },"n":1}'
    found = await sent(running, body)
    for field in (b'"temperature":0.10', b'"x":{ "y":1.0 }', b'"n":1'):
        assert field in found
    assert set(json.loads(found)) >= {"model", "messages", "temperature", "x", "n"}
