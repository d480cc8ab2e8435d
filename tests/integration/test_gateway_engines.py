"""What engines do beside the chat, through the gateway: completions, vectors, scores, speech and images."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import struct

import openai
import pytest
from gateway_stage import (
    DoorOf,
    a_gateway,
    connection,
    error_of,
    post,
    raw,
    read_head,
    read_rest,
    reply,
    request,
    until,
)

from ansambl.domain.access import Caller, Endpoint
from ansambl.domain.serving import Operation, Serving
from ansambl.gateway import keep_alive
from ansambl.gateway.engine_routes import ASKINGS

COMPLETION = json.dumps(
    {
        "id": "cmpl-1", "object": "text_completion", "created": 1, "model": "there",
        "choices": [{"text": " Paris", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 6}, "timings": {"x": 1.0},
    }, indent=1
).encode()  # fmt: skip
PIECES = tuple(
    b'data: {"id":"c","object":"text_completion","choices":[{"text":"%b","index":0,"finish_reason":%b}]%b}\n\n' % one
    for one in (
        (b"Pa", b"null", b""),
        (b"ris", b'"stop"', b',"timings":{"prompt_n":3,"cache_n":2,"predicted_n":2}'),
    )
)
VECTORS = [[0.5, -0.25], [0.125, 3.0]]
FLOATS = json.dumps(
    {
        "object": "list", "model": "there", "data": [
            {"object": "embedding", "index": index, "embedding": one} for index, one in enumerate(VECTORS)
        ], "usage": {"prompt_tokens": 4, "total_tokens": 4}, "extra": [1],
    }
).encode()  # fmt: skip
SCORES = b'{"results":[{"index":1,"relevance_score":0.9}],"usage":{"total_tokens":8}}'
NOT_FOUND = reply(b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}', b"404 Not Found")


def of_numbers(words):
    content = base64.b64decode(words)
    return list(struct.unpack(f"<{len(content) // 4}f", content))


def posted(running, path, fields, **headers):
    body = fields if isinstance(fields, bytes) else json.dumps(fields, separators=(",", ":")).encode()
    return raw(running, post(body, path, **headers))


@pytest.fixture
async def client(running):
    async with running.client() as found:
        yield found


@pytest.fixture
async def coder():
    roles = {"coder": {"instruction": "Write code.", "model": "big"}}
    async with a_gateway(roles=roles, others=("small",)) as found:
        yield found


async def test_a_completion_goes_out_and_comes_back_as_it_is(running):
    running.engine.script = running.engine.fixed(reply(COMPLETION))
    sent = b'{"prompt": ["a",  "b"], "model":"large" ,"max_tokens":3, "unknown":{"x": [1, 2]}}'
    status, headers, body = await posted(running, "/v1/completions", sent)
    assert (status, body) == (200, COMPLETION)
    assert headers["x-ansambl-instance"] == "big"
    [call] = running.engine.calls
    assert call.path == "/v1/completions"
    assert call.body == b'{"prompt":["a",  "b"],"model":"there","max_tokens":3,"unknown":{"x": [1, 2]}}'
    assert running.metric("ansambl_prompt_tokens_total", name="big") == 5
    assert running.metric("ansambl_generation_tokens_total", name="big") == 1


async def test_a_streamed_completion_is_handed_on_byte_for_byte_and_counted(running):
    running.engine.script = running.engine.stream(*PIECES, b"data: [DONE]\n\n")
    status, headers, body = await posted(running, "/v1/completions", {"model": "big", "prompt": "x", "stream": True})
    assert (status, body) == (200, b"".join(PIECES) + b"data: [DONE]\n\n")
    assert headers["content-type"].startswith("text/event-stream")
    # Nobody asked for the usage, so the engine's own timings are what is counted.
    assert running.metric("ansambl_prompt_tokens_total", name="big") == 5
    assert running.metric("ansambl_cached_tokens_total", name="big") == 2
    assert running.metric("ansambl_generation_tokens_total", name="big") == 2


async def test_a_stream_that_breaks_off_ends_with_an_error(running):
    running.engine.script = running.engine.stream(PIECES[0], b'data: {"half')
    status, _, body = await posted(running, "/v1/completions", {"model": "big", "prompt": "x", "stream": True})
    assert status == 200
    assert body.startswith(PIECES[0])
    last = body.removeprefix(PIECES[0]).removeprefix(b"data: ")
    assert error_of(last)["type"] == "engine_error"


async def test_a_completion_whose_client_left_is_given_up(running):
    async def begins(call, writer):
        await running.engine.stream(PIECES[0], end=False)(call, writer)
        await call.left.wait()

    running.engine.script = begins
    async with connection(running) as (reader, writer):
        writer.write(post(b'{"model":"big","prompt":"x","stream":true}', "/v1/completions"))
        await read_head(reader)
    await until(running.engine.calls[0].left.is_set, "the engine's connection is closed")


async def test_roles_complete_a_text_as_in_a_chat(coder):
    async with coder.client() as client:
        found = await client.completions.create(model="coder", prompt="A loop", max_tokens=5)
        assert found.object == "text_completion"
        assert (found.choices[0].text, found.choices[0].finish_reason) == ("hi", "stop")
        assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (7, 2)
        stream = await client.completions.create(
            model="coder", prompt=["A loop"], stream=True, stream_options={"include_usage": True}
        )
        parts = [one async for one in stream]
    assert "".join(one.choices[0].text for one in parts if one.choices) == "ab"
    assert parts[-1].usage.total_tokens == 9
    for call in coder.engine.calls:
        sent = json.loads(call.body)
        assert call.path == "/v1/chat/completions"
        assert "prompt" not in sent
        assert sent["messages"][-1]["content"].startswith("A loop")
        assert "Write code." in sent["messages"][-1]["content"]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": [[1, 2]]}, "prompt"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({}, "prompt"),
        ({"prompt": "a", "n": 2}, "n"),
        ({"prompt": "a", "best_of": 3}, "best_of"),
        ({"prompt": "a", "echo": True}, "echo"),
        ({"prompt": "a", "suffix": "b"}, "suffix"),
        ({"prompt": "a", "logprobs": 2}, "logprobs"),
    ],
)
async def test_what_a_role_cannot_complete_is_refused(coder, fields, param):
    status, _, body = await posted(coder, "/v1/completions", {"model": "coder", **fields})
    assert (status, error_of(body)["param"]) == (400, param)
    assert coder.engine.calls == []


async def test_the_official_client_gets_vectors_whatever_form_the_engine_writes(running, client):
    running.engine.script = running.engine.fixed(reply(FLOATS))
    found = await client.embeddings.create(model="big", input=["a", "b"])
    assert [one.embedding for one in found.data] == VECTORS
    assert found.usage.prompt_tokens == 4
    # It asked for base64, which this engine does not know.
    assert json.loads(running.engine.calls[0].body)["encoding_format"] == "base64"
    status, _, body = await posted(
        running, "/v1/embeddings", {"model": "big", "input": ["a", "b"], "encoding_format": "base64"}
    )
    answer = json.loads(body)
    assert status == 200
    assert [of_numbers(one["embedding"]) for one in answer["data"]] == VECTORS
    assert answer["extra"] == [1]
    assert running.metric("ansambl_prompt_tokens_total", name="big") == 8


async def test_vectors_that_are_as_they_were_asked_for_keep_their_bytes(running):
    for body, wanted in ((FLOATS, "float"), (FLOATS.replace(b"[0.5, -0.25]", b'"AAAA"'), None)):
        running.engine.script = running.engine.fixed(reply(body))
        found = await posted(running, "/v1/embeddings", {"model": "big", "input": "a", "encoding_format": wanted})
        assert found[2] == body


@pytest.mark.parametrize(
    "fields", [{}, {"input": ""}, {"input": []}, {"input": None}, {"input": "a", "encoding_format": 7}]
)
async def test_vectors_of_nothing_are_refused_without_an_engine(running, fields):
    status, _, body = await posted(running, "/v1/embeddings", {"model": "big", **fields})
    assert status == 400
    assert error_of(body)["param"] in {"input", "encoding_format"}
    assert running.engine.calls == []


async def test_a_role_makes_vectors_with_its_model(coder):
    coder.engine.script = coder.engine.fixed(reply(FLOATS))
    status, headers, body = await posted(coder, "/v1/embeddings", {"model": "coder", "input": [[1, 2], [3]]})
    assert (status, body, headers["x-ansambl-instance"]) == (200, FLOATS, "big")
    assert json.loads(coder.engine.calls[0].body) == {"model": "there", "input": [[1, 2], [3]]}


@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v2/rerank", "/v1/reranking"])
async def test_documents_are_sorted_under_every_path_that_clients_use(running, path):
    running.engine.script = running.engine.fixed(reply(SCORES))
    fields = {"model": "big", "query": "q", "documents": ["a", "b"], "top_n": 1}
    status, _, body = await posted(running, path, fields)
    assert (status, body) == (200, SCORES)
    assert running.engine.calls[0].path == "/v1/rerank"
    assert json.loads(running.engine.calls[0].body) == {**fields, "model": "there"}
    assert running.metric("ansambl_prompt_tokens_total", name="big") == 8


async def test_a_model_that_cannot_names_one_that_can(coder):
    big, small = (coder.coordinator.instance(name) for name in ("big", "small"))
    big.serving = Serving("llama.cpp", certain=frozenset({Operation.COMPLETIONS}))
    small.serving = Serving("llama.cpp", certain=frozenset({Operation.EMBEDDINGS}))
    for name in ("big", "coder"):
        status, _, body = await posted(coder, "/v1/embeddings", {"model": name, "input": "a"})
        error = error_of(body)
        assert (status, error["code"], error["param"]) == (501, "endpoint_not_supported", "model")
        assert f"'{name}'" in error["message"]
        assert "small" in error["message"]
    assert coder.engine.calls == []


async def test_what_no_model_can_do_names_what_would_add_it(running):
    running.instance.serving = Serving("llama.cpp", certain=frozenset({Operation.COMPLETIONS}))
    status, _, body = await posted(running, "/v1/rerank", {"model": "big", "query": "q", "documents": ["a"]})
    error = error_of(body)
    assert (status, error["code"]) == (501, "endpoint_not_supported")
    assert "reranker" in error["message"]
    assert "vLLM" in error["message"]
    # A name of somebody else's service is of no use here under any spelling.
    status, _, body = await posted(running, "/v1/audio/speech", {"model": "tts-1", "input": "a", "voice": "alloy"})
    assert status == 501
    assert "address" in error_of(body)["message"]
    status, _, body = await posted(running, "/v1/completions", {"model": "bigg", "prompt": "a"})
    assert (status, error_of(body)["code"]) == (404, "model_not_found")
    assert "big" in error_of(body)["message"]


async def test_where_no_model_need_be_named_what_would_add_one_is_said_too(running):
    running.instance.serving = Serving("llama.cpp", certain=frozenset({Operation.COMPLETIONS}))
    for path in ("/v1/moderations", "/v1/images/generations"):
        status, _, body = await posted(running, path, {"input": "a", "prompt": "a"})
        assert (status, error_of(body)["code"]) == (501, "endpoint_not_supported")
        assert "address" in error_of(body)["message"]
    status, _, body = await posted(
        running, "/v1/images/edits", b"--x--\r\n", content_type="multipart/form-data; boundary=x"
    )
    assert (status, error_of(body)["code"]) == (501, "endpoint_not_supported")
    # Where one could, it has to be named.
    running.instance.serving = Serving("vllm", certain=frozenset({Operation.MODERATION}))
    status, _, body = await posted(running, "/v1/moderations", {"input": "a"})
    assert (status, error_of(body)["code"]) == (400, "missing_model")


async def test_an_engine_that_has_no_such_endpoint_is_told_in_our_words(running):
    running.engine.script = running.engine.fixed(NOT_FOUND)
    status, _, body = await posted(running, "/v1/moderations", {"model": "big", "input": "a"})
    assert (status, error_of(body)["code"]) == (501, "endpoint_not_supported")
    wrong = b'{"error":{"message":"The model `there` does not exist","type":"NotFoundError","code":404}}'
    running.engine.script = running.engine.fixed(reply(wrong, b"404 Not Found"))
    status, _, body = await posted(running, "/v1/moderations", {"model": "big", "input": "a"})
    assert (status, error_of(body)["message"]) == (404, "The model `there` does not exist")


async def test_a_refusal_of_the_engine_keeps_its_words(running):
    refusal = b'{"object":"error","message":"the input is too long","type":"BadRequestError","code":400}'
    running.engine.script = running.engine.fixed(reply(refusal, b"400 Bad Request"))
    status, _, body = await posted(running, "/v1/embeddings", {"model": "big", "input": "a"})
    assert (status, error_of(body)["message"]) == (400, "the input is too long")


async def test_speech_is_written_down_and_the_form_goes_on_untouched(running, client):
    sound = bytes(range(256)) * 2000
    running.engine.script = running.engine.fixed(
        reply(b'{"text":"hello","usage":{"type":"tokens","input_tokens":3,"output_tokens":2,"total_tokens":5}}')
    )
    found = await client.audio.transcriptions.create(
        model="large", file=("a\u00e4.wav", io.BytesIO(sound)), language="de", timestamp_granularities=["word"]
    )
    assert found.text == "hello"
    [call] = running.engine.calls
    assert call.path == "/v1/audio/transcriptions"
    assert call.body.count(b"there") == 1
    assert b"large" not in call.body
    assert sound in call.body
    boundary = call.body.split(b"\r\n", 1)[0]
    assert b"boundary=" + boundary[2:] in call.head
    assert call.body.endswith(boundary + b"--\r\n")
    assert running.metric("ansambl_generation_tokens_total", name="big") == 2


async def test_only_the_name_in_a_form_changes(running):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\0\r\n--y\r\nmodel\r\n'
        b'--x\r\ncontent-disposition: form-data; name="model"\r\n\r\nbig\r\n'
        b'--x\r\nContent-Disposition: form-data; name="prompt"\r\n\r\n\r\n--x--\r\n'
    )
    running.engine.script = running.engine.fixed(reply(b"plain words", kind=b"text/plain; charset=utf-8"))
    status, headers, body = await posted(
        running, "/v1/audio/translations", form, content_type="multipart/form-data; boundary=x"
    )
    assert (status, body, headers["content-type"]) == (200, b"plain words", "text/plain; charset=utf-8")
    assert running.engine.calls[0].body == form.replace(b"\r\nbig\r\n", b"\r\nthere\r\n")


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b""),
        ("multipart/form-data; boundary=x", b"--x--\r\n"),
        ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nbig'),
        (
            "multipart/form-data; boundary=x",
            b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nbig\r\n' * 2 + b"--x--\r\n",
        ),
    ],
)
async def test_broken_forms_are_refused_without_an_engine(running, kind, form):
    status, _, body = await posted(running, "/v1/audio/transcriptions", form, content_type=kind)
    assert status == 400
    assert error_of(body)["code"] in {"invalid_form", "missing_model"}
    assert running.engine.calls == []


async def test_sound_is_handed_on_as_it_comes(running, client):
    sound = bytes(range(256)) * 5000
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ntransfer-encoding: chunked\r\n\r\n"
    halves = sound[:300_000], sound[300_000:]
    running.engine.script = running.engine.fixed(
        head + b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in halves) + b"0\r\n\r\n"
    )
    found = await client.audio.speech.create(model="big", input="hello", voice="alloy")
    assert found.content == sound
    assert found.response.headers["content-type"] == "audio/mpeg"
    assert json.loads(running.engine.calls[0].body)["model"] == "there"


async def test_sound_that_breaks_off_is_not_taken_for_whole(running, client):
    head = b"HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 1000\r\n\r\n"
    running.engine.script = running.engine.fixed(head + b"abc")
    with pytest.raises((openai.APIConnectionError, Exception), match=r"incomplete|closed|Connection|disconnected"):
        await client.audio.speech.create(model="big", input="hello", voice="alloy")


async def test_images_are_made_by_whoever_can(running, client):
    answer = b'{"created":1,"data":[{"b64_json":"AAAA"}]}'
    running.engine.script = running.engine.fixed(reply(answer))
    found = await client.images.generate(model="big", prompt="a cat")
    assert found.data[0].b64_json == "AAAA"
    found = await client.images.edit(model="big", prompt="a dog", image=("a.png", b"\x89PNG"))
    assert found.data[0].b64_json == "AAAA"
    assert [one.path for one in running.engine.calls] == ["/v1/images/generations", "/v1/images/edits"]


async def test_keys_hold_for_every_endpoint_and_name():
    caller = Caller("k1", names=frozenset({"small"}), endpoints=frozenset({Endpoint.EMBEDDINGS, Endpoint.AUDIO}))
    async with a_gateway(door=DoorOf(caller), others=("small",)) as running:
        for path, fields in (
            ("/v1/embeddings", {"model": "big", "input": "a"}),
            ("/v1/rerank", {"model": "small", "query": "a", "documents": ["b"]}),
            ("/v1/completions", {"model": "small", "prompt": "b"}),
        ):
            status, _, body = await posted(running, path, fields)
            assert (status, error_of(body)["code"]) == (403, "not_allowed")
        form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nbig\r\n--x--\r\n'
        status, _, body = await posted(
            running, "/v1/audio/transcriptions", form, content_type="multipart/form-data; boundary=x"
        )
        assert status == 403
        assert running.engine.calls == []
        running.engine.script = running.engine.fixed(reply(FLOATS))
        assert (await posted(running, "/v1/embeddings", {"model": "small", "input": "a"}))[0] == 200


async def test_how_urgent_a_request_is_and_what_is_ours_alone(running):
    running.engine.script = running.engine.fixed(reply(FLOATS))
    fields = {"model": "big", "input": "a", "ansambl": {"class": "batch"}}
    assert (await posted(running, "/v1/embeddings", fields))[0] == 200
    assert json.loads(running.engine.calls[0].body) == {"model": "there", "input": "a"}
    status, _, body = await posted(running, "/v1/embeddings", fields, x_ansambl_class="now")
    assert (status, error_of(body)["param"]) == (400, "X-Ansambl-Class")


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/v1/batches", 501, "X-Ansambl-Class: batch"),
        ("/v1/files", 501, "files"),
        ("/v1/files/file-1/content", 501, "files"),
        ("/v1/fine_tuning/jobs", 501, "lora add"),
        ("/v1/responses/resp_1", 501, "earlier turns"),
        ("/v1/filesystem", 404, "There is no"),
        ("/v1/anything", 404, "There is no"),
    ],
)
async def test_paths_that_have_no_route(running, path, status, words):
    found, _, body = await posted(running, path, {})
    assert found == status
    assert words in error_of(body)["message"]


async def test_a_waiting_client_of_a_large_form_may_leave(running):
    async def silent(call, writer):
        await call.left.wait()

    running.engine.script = silent
    form = (
        b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nbig\r\n--x\r\nContent-Disposition: form-data; '
        b'name="file"; filename="a"\r\n\r\n' + bytes(900_000) + b"\r\n--x--\r\n"
    )
    async with connection(running) as (_, writer):
        writer.write(post(form, "/v1/audio/transcriptions", content_type="multipart/form-data; boundary=x"))
        await asyncio.wait_for(until(lambda: running.engine.calls, "the engine is asked"), 20)
    await until(running.engine.calls[0].left.is_set, "the engine's connection is closed")


async def test_bodies_that_are_no_requests_reach_no_engine(running):
    bodies = (b"", b"{", b"[]", b"null", b"\xff", b'{"model":7}', b'{"model":""}', b"[" * 50_000)
    for asking in ASKINGS:
        for body in bodies:
            status, _, answer = await posted(running, asking.path, body, content_type="application/json")
            assert (status, error_of(answer)["type"]) == (400, "invalid_request_error"), (asking.path, body[:20])
    assert running.engine.calls == []


async def test_a_completion_that_takes_long_to_begin_says_what_it_waits_for(running, monkeypatch):
    monkeypatch.setattr(keep_alive, "SILENCE", 0.03)
    begins = asyncio.Event()

    async def late(call, writer):
        await begins.wait()
        return await running.engine.stream(*PIECES, b"data: [DONE]\n\n")(call, writer)

    running.engine.script = late
    async with connection(running) as (reader, writer):
        writer.write(post(b'{"model":"big","prompt":"x","stream":true}', "/v1/completions"))
        head = await read_head(reader)
        comment = await asyncio.wait_for(reader.readuntil(b"\n\n"), 20)
        assert b": 'big' reads the prompt" in comment
        begins.set()
        _, _, rest = await read_rest_after(reader, head)
    assert rest.endswith(b"".join(PIECES) + b"data: [DONE]\n\n")


async def read_rest_after(reader, head):
    """What comes after a chunk that was read in part."""
    await reader.readexactly(2)
    return await read_rest(reader, head)


async def test_a_chat_is_what_it_was(running):
    assert (await raw(running, post(request())))[0] == 200
