"""Conversations over a swap, and keys kept apart, on the real builds of llama.cpp."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import stat

import pytest
from kept_conversations import Keeping, hint_of, send_leased
from llama_engines import BUNDLED, OWN, Engines, cached, chat_body, said

from ansambl.domain.scheduling import LOCAL_KEY
from ansambl.domain.units import MIB, Bytes
from ansambl.model_catalog.embedded import find
from ansambl.runtime.carrying import Lease
from ansambl.runtime.conversations.conversations import PROVEN
from ansambl.runtime.conversations.identity import state_identity
from ansambl.runtime.conversations.separation import Separation
from ansambl.runtime.engine_calls import send
from ansambl.runtime.marks import owner_mark

pytestmark = pytest.mark.engine

CHAT = "/v1/chat/completions"


@pytest.fixture(params=[BUNDLED, OWN])
async def engines(request, tmp_path):
    found = Engines(request.param, tmp_path)
    yield found
    await found.close()


@pytest.fixture
def checkpoint(embedded_model_folder):
    return find(embedded_model_folder)


@pytest.fixture
def keeping(tmp_path):
    return Keeping(tmp_path / "kept")


def talk(topic, facts, *more):
    """A conversation of some 12 tokens for each fact."""
    told = " ".join(f"{topic} {number} likes thing {number * 13 % 97}." for number in range(facts))
    messages = [{"role": "user", "content": f"{told} What does {topic} 3 like?"}, *more]
    return {**chat_body("", tokens=8), "messages": messages}


def gone_on(body, answer):
    """The next turn of a conversation."""
    more = [{"role": "assistant", "content": said(answer)}, {"role": "user", "content": "And the next one?"}]
    return {**body, "messages": [*body["messages"], *more]}


async def lease_of(running, slot, body, key=LOCAL_KEY):
    endpoint = await running.instance.ensure_ready()
    prompt = owner_mark(key) + hint_of(body)
    return Lease("tiny", endpoint, 0.0, slot=slot, calls=running.instance.conversations(), prompt=prompt)


async def ask(running, slot, body, key=LOCAL_KEY):
    return await send_leased(await lease_of(running, slot, body, key), CHAT, body)


async def save(kept, running, held):
    endpoint = await running.instance.ensure_ready()
    calls, identity = running.instance.conversations(), running.instance.state_identity()
    return await kept.save("tiny", endpoint, calls, identity, held, patience=30)


async def test_conversations_come_back_in_a_new_process_into_any_slot(engines, checkpoint, keeping):
    long, short = talk("Anna", 180), talk("Boris", 30)
    async with keeping.opened() as kept, engines.started(checkpoint, context=4096) as running:
        answers = [await ask(running, 0, long), await ask(running, 1, short)]
        assert answers[0]["usage"]["prompt_tokens"] > 1800
        held = {0: hint_of(long), 1: hint_of(short)}
        assert await save(kept, running, held) == 2
        # What is kept already is not written again.
        files = keeping.files()
        assert await save(kept, running, held) == 2
        assert keeping.files() == files
    assert [stat.S_IMODE(one.stat().st_mode) for one in files] == [0o600, 0o600]
    assert stat.S_IMODE(keeping.folder.stat().st_mode) == 0o700
    # As after a restart of both, with another context, and into the other slots.
    async with keeping.opened() as kept, engines.started(checkpoint, context=3072) as running:
        identity = running.instance.state_identity()
        for slot, body, answer in ((1, long, answers[0]), (0, short, answers[1])):
            known = answer["usage"]["total_tokens"]
            lease = await lease_of(running, slot, gone_on(body, answer))
            tokens = await kept.bring_back(lease, identity, b"")
            assert tokens >= known - 1
            now = await send_leased(lease, CHAT, gone_on(body, answer))
            assert cached(now) >= PROVEN * known
            await kept.proved(lease, cached(now))
            # The slot holds it by now, so there is nothing to bring back.
            assert await kept.bring_back(lease, identity, lease.prompt) == 0
        assert kept.counts().restored == 2
        assert kept.counts().discarded == 0
    assert not keeping.told()


async def test_what_is_not_ours_is_never_given_to_an_engine(engines, checkpoint, keeping):
    body = talk("Anna", 30)
    async with keeping.opened() as kept, engines.started(checkpoint) as running:
        await ask(running, 0, body, "first")
        assert await save(kept, running, {0: owner_mark("first") + hint_of(body)}) == 1
        identity = running.instance.state_identity()
        calls = await lease_of(running, 1, body, "second"), await lease_of(running, 1, body)
        for lease in calls:
            assert await kept.bring_back(lease, identity, b"") == 0, "another key's"
        lease = await lease_of(running, 1, body, "first")
        placement, installed = running.placement, running.placement.installed
        for other in (
            dataclasses.replace(placement, kv_type="q8_0"), dataclasses.replace(placement, parallel=3),
            dataclasses.replace(placement, installed=dataclasses.replace(installed, version="another")),
            dataclasses.replace(placement, installed=dataclasses.replace(installed, build="another")),
            dataclasses.replace(placement, checkpoint=dataclasses.replace(checkpoint, identity="another")),
        ):  # fmt: skip
            assert await kept.bring_back(lease, state_identity(other), b"") == 0
        assert cached(await ask(running, 1, body)) == 0
        # A changed byte in the middle: the engine itself would take it.
        (file,) = keeping.files()
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        await send(lease.endpoint, lease.calls.erase(1), patience=10)
        assert await kept.bring_back(lease, identity, b"") == 0
        assert cached(await ask(running, 1, body, "first")) == 0
    assert keeping.files() == []
    assert keeping.rows() == []
    assert keeping.told() == ["conversation_corrupt"]


async def test_another_slot_goes_on_while_one_is_saved_and_restored(engines, checkpoint, keeping):
    body, other = talk("Anna", 60), {**talk("Boris", 4), "ignore_eos": True, "id_slot": 1}
    written = []

    async def write(running):
        """Write until it is cancelled."""
        endless = {**other, "max_tokens": 900, "stream": True}
        async with running.client.stream("POST", CHAT, json=endless) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    words = json.loads(line[6:])["choices"][0]["delta"].get("content")
                    written.append(words or "")

    async def until_written(count):
        async with asyncio.timeout(60):
            while len(written) < count:  # noqa: ASYNC110 - what is waited for is another process
                await asyncio.sleep(0.02)

    async with keeping.opened() as kept, engines.started(checkpoint) as running:
        await ask(running, 0, body)
        # Read with and without a cache, the same prompt may be answered otherwise by a rounding error.
        await ask(running, 1, other)
        writing = asyncio.create_task(write(running))
        await until_written(5)
        assert await save(kept, running, {0: hint_of(body)}) == 1
        lease = await lease_of(running, 0, body)
        assert await kept.bring_back(lease, running.instance.state_identity(), b"") > 0
        await until_written(len(written) + 20)
        assert not writing.done()
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        alone = said(await ask(running, 1, {**other, "max_tokens": len(written) + 5}))
        assert alone.startswith("".join(written))
        assert cached(await send_leased(lease, CHAT, body)) > 0


@pytest.mark.parametrize("cache", [0, 64 * MIB])
async def test_a_key_finds_nothing_of_another_in_a_live_engine(engines, checkpoint, cache):
    secret, other = talk("Anna", 20), talk("Boris", 20)
    async with engines.started(checkpoint, prompt_cache=Bytes(cache)) as running:

        async def call(lease, given):
            return await send(lease.endpoint, given, patience=30)

        separation = Separation(call, lambda _: False)

        async def asked(slot, body, key):
            lease = await lease_of(running, slot, body, key)
            await separation.separate(lease, key)
            return cached(await send_leased(lease, CHAT, body))

        assert running.instance.conversations().mixes_slots is bool(cache)
        assert await asked(0, secret, "first") == 0
        assert await asked(0, secret, "first") > 200
        # Into the engine's cache of finished prompts, where there is one.
        assert await asked(0, other, "first") < 50
        for slot, body in ((0, other), (1, other), (0, secret), (1, secret), (1, other), (1, secret)):
            found = await asked(slot, body, "second")
            # The words of the template it may find, where it asked something in this slot before.
            assert found < 50, slot
            assert found == 0 or not cache, "two keys and a cache that mixes slots: nothing is used again"
        assert await asked(0, secret, "first") == 0
        assert await asked(0, secret, LOCAL_KEY) == 0


async def test_without_separation_a_key_would_find_what_another_asked(engines, checkpoint):
    """What the separation is for: if an engine no longer does this, it may go."""
    body = talk("Anna", 20)
    async with engines.started(checkpoint) as running:
        await ask(running, 0, body, "first")
        assert cached(await ask(running, 0, body, "second")) > 200


def test_a_request_says_it_in_json(engines, checkpoint):
    """The bodies that the engines get here are those of the product."""
    calls = engines.adapter.conversation_calls(engines.placement(checkpoint))
    assert json.loads(calls.unshared(calls.pinned(b'{"a":1}', 2))) == {"a": 1, "id_slot": 2, "cache_prompt": False}
