"""The fake engine is a tool for other tests, so it is tested like the rest."""

import asyncio
import json
import signal
import time

import httpx
import pytest

from ansambl.engines.adapter import PrefilledPrompt
from ansambl.engines.shared.llama_slots import LlamaSlots
from ansambl.testing.fake_engine import running_fake_engine
from ansambl.testing.fake_engine_server import ANSWER_PREFIX, parse_script
from ansambl.testing.fake_slots import PrefixCache, tokenize

SAID = {"messages": [{"role": "user", "content": "Hello there, fake"}]}


def client(**options):
    return httpx.AsyncClient(trust_env=False, timeout=10, **options)


async def chat(engine, body, **options):
    async with client() as one:
        return await one.post(f"{engine.address}/chat/completions", json=body, **options)


def events(answer):
    return [line.removeprefix("data: ") for line in answer.text.splitlines() if line]


async def test_it_echoes_with_usage_streaming_and_not():
    async with running_fake_engine(model="m2") as engine:
        whole = (await chat(engine, SAID)).json()
        assert whole["choices"][0]["message"]["content"] == ANSWER_PREFIX + "Hello there, fake"
        assert whole["choices"][0]["finish_reason"] == "stop"
        assert whole["model"] == "m2"
        streamed = await chat(engine, {**SAID, "stream": True, "stream_options": {"include_usage": True}})
        *chunks, last = events(streamed)
        assert last == "[DONE]"
        parsed = [json.loads(one) for one in chunks]
        words = "".join(one["choices"][0]["delta"].get("content") or "" for one in parsed if one["choices"])
        assert words == ANSWER_PREFIX + "Hello there, fake"
        usage = parsed[-1]["usage"]
        assert parsed[-1]["choices"] == []
        assert usage["completion_tokens"] == whole["usage"]["completion_tokens"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == usage["prompt_tokens"] - 1


async def test_cached_tokens_are_the_shared_beginning():
    common = [{"role": "system", "content": "a " * 200}]
    async with running_fake_engine() as engine:
        first = (await chat(engine, {"messages": [*common, {"role": "user", "content": "one"}]})).json()["usage"]
        second = (await chat(engine, {"messages": [*common, {"role": "user", "content": "two"}]})).json()["usage"]
        other = (await chat(engine, {"messages": [{"role": "user", "content": "three"}]})).json()["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    assert 200 <= second["prompt_tokens_details"]["cached_tokens"] < second["prompt_tokens"]
    assert other["prompt_tokens_details"]["cached_tokens"] < 5


async def test_prefill_and_decode_take_their_time():
    async with running_fake_engine(script="tokens:20", tokens_per_second=100, prefill_per_second=1000) as engine:
        began = time.monotonic()
        await chat(engine, {"messages": [{"role": "user", "content": "a " * 300}]})
        cold = time.monotonic() - began
        began = time.monotonic()
        await chat(engine, {"messages": [{"role": "user", "content": "a " * 300}]})
        warm = time.monotonic() - began
    assert cold > 0.2 + 0.3
    assert warm > 0.2
    assert cold - warm > 0.15


async def test_requests_are_recorded_without_secrets():
    async with running_fake_engine(script="needs-key:sesame") as engine:
        assert (await chat(engine, SAID)).status_code == 401
        raw = b'{"messages":[ {"role":"user","content":"exact bytes"} ]}'
        async with client() as one:
            answer = await one.post(
                f"{engine.address}/chat/completions",
                content=raw,
                headers={"Authorization": "Bearer sesame", "X-Of": "us"},
            )
        assert answer.status_code == 200
        (record,) = await engine.requests()
    assert record["body"] == raw.decode()
    assert record["headers"]["x-of"] == "us"
    assert "authorization" not in record["headers"]
    assert record["state"] == "finished"
    assert record["tokens_sent"] > 0


async def test_a_client_that_leaves_ends_the_work():
    async with running_fake_engine(script="tokens:5000", tokens_per_second=200) as engine:
        async with (
            client() as one,
            one.stream("POST", f"{engine.address}/chat/completions", json={**SAID, "stream": True}) as answer,
        ):
            async for _ in answer.aiter_lines():
                break
        (record,) = await engine.wait_for(lambda found: found and found[0]["state"] != "running")
        assert record["state"] == "cancelled"
        assert record["tokens_sent"] < 1000
        assert (await chat(engine, {**SAID, "max_tokens": 3})).json()["usage"]["completion_tokens"] == 3


async def test_slots_work_at_once_and_others_wait():
    async with running_fake_engine(script="tokens:40", tokens_per_second=100, slots=2) as engine:
        began = time.monotonic()
        await asyncio.gather(*(chat(engine, SAID) for _ in range(4)))
        assert time.monotonic() - began > 0.8


async def test_a_prompt_that_is_too_long_is_refused():
    async with running_fake_engine(context=50) as engine:
        answer = await chat(engine, {"messages": [{"role": "user", "content": "word " * 100}]})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "exceed_context_size_error"


async def test_broken_requests_and_unknown_paths():
    async with running_fake_engine() as engine, client() as one:
        assert (await one.post(f"{engine.address}/chat/completions", content=b"{")).status_code == 400
        assert (await one.post(f"{engine.address}/chat/completions", json=[1])).status_code == 400
        assert (await one.get(f"{engine.address}/nothing")).status_code == 404
        assert "llamacpp:requests_processing 0" in (await one.get(f"http://127.0.0.1:{engine.port}/metrics")).text


async def test_slow_start_answers_503_first():
    async with running_fake_engine(script="slow-start:0.5") as engine, client() as one:
        assert (await one.get(f"http://127.0.0.1:{engine.port}/health")).status_code == 503
        async with asyncio.timeout(5):
            while (await one.get(f"http://127.0.0.1:{engine.port}/health")).status_code != 200:  # noqa: ASYNC110 - it is in another process
                await asyncio.sleep(0.05)


async def test_crash_in_the_middle_of_a_stream():
    async with running_fake_engine(script="crash-mid-stream:3,tokens:10") as engine:
        with pytest.raises(httpx.RemoteProtocolError):
            await chat(engine, {**SAID, "stream": True})
        assert await asyncio.to_thread(engine.process.wait, 5) == -signal.SIGSEGV


@pytest.mark.parametrize(("script", "words"), [("crash-at-start", "fatal"), ("out-of-memory", "cudaMalloc failed")])
async def test_ends_at_its_start(script, words):
    with pytest.raises(RuntimeError, match=words):
        async with running_fake_engine(script=script):
            pass


async def test_garbage_error_and_hang():
    async with running_fake_engine(script="garbage") as engine:
        assert "[DONE]" not in (await chat(engine, {**SAID, "stream": True})).text
        with pytest.raises(json.JSONDecodeError):
            (await chat(engine, SAID)).json()
    async with running_fake_engine(script="error-500") as engine:
        assert (await chat(engine, SAID)).status_code == 500
    async with running_fake_engine(script="hang") as engine:
        async with client() as one:
            with pytest.raises(httpx.ReadTimeout):
                await one.post(f"{engine.address}/chat/completions", json=SAID, timeout=0.3)
        (record,) = await engine.wait_for(lambda found: found and found[0]["state"] == "cancelled")
        assert record["tokens_sent"] == 0


def test_scripts_are_checked():
    assert parse_script("slow-start:2,hang") == {"slow-start": "2", "hang": ""}
    for wrong in ("slow-start", "hang:1", "nonsense"):
        with pytest.raises(ValueError, match=wrong):
            parse_script(wrong)


async def test_prefix_cache_takes_the_slot_that_shares_most():
    cache = PrefixCache(2)
    slot, cached = await cache.take(["a", "b"])
    assert cached == 0
    cache.give_back(slot, ["a", "b", "c"])
    assert await cache.take(["x"]) == (1 - slot, 0)
    assert await cache.take(["a", "b", "d"]) == (slot, 2)


async def test_a_pinned_request_waits_for_its_slot():
    cache = PrefixCache(2)
    slot, _ = await cache.take(["a"], 1)
    assert slot == 1
    waiting = asyncio.create_task(cache.take(["a", "b"], 1))
    await asyncio.sleep(0)
    assert not waiting.done()
    cache.give_back(1, ["a"])
    assert await waiting == (1, 1)


async def test_slots_are_filled_saved_and_restored_as_in_llama_cpp(tmp_path):
    calls = LlamaSlots(can_copy=True)
    messages = [{"role": "user", "content": "a long beginning that is shared " * 20}]
    async with running_fake_engine(slots=2, slot_save_path=f"{tmp_path}/") as engine, client() as http:

        async def call(one):
            return (await http.post(f"http://127.0.0.1:{engine.port}{one.path}", json=one.body)).content

        prompt = calls.read_prompt(await call(calls.render({"messages": messages})))
        tokens = calls.read_tokens(await call(calls.tokenize(prompt)))
        common = tokens[:-3]
        assert calls.read_prefilled(await call(calls.prefill(common, 1))) == PrefilledPrompt(len(common), 0)
        state = calls.read_state(await call(calls.save(1, "x")))
        assert calls.read_state(await call(calls.restore(0, "x"))) == state
        assert state.tokens == len(common)
        answer = await chat(engine, {"messages": messages, "id_slot": 0})
        assert answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == len(common)
        assert calls.read_state(await call(calls.restore(0, "missing"))) is None
        await call(calls.erase(0))
        answer = await chat(engine, {"messages": messages, "id_slot": 0})
        assert answer.json()["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    async with running_fake_engine(slots=2) as engine, client() as http:
        call = calls.save(0, "x")
        assert (await http.post(f"http://127.0.0.1:{engine.port}{call.path}", json=call.body)).status_code == 501


def test_tokens_join_to_the_text():
    text = "A sentence, with  spaces\nand lines — и русский."
    assert "".join(tokenize(text)) == text
