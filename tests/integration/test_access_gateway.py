"""Keys at the gateway, on real sockets and with the official clients: who is refused, how, and what is kept apart."""

from __future__ import annotations

import asyncio
import json

import anthropic
import httpx
import openai
import pytest
from gateway_stage import ANSWER, a_gateway, connection, post, raw, read_answer, read_head, reply, request, until

from ansambl.access.key_door import WRITE_EVERY, KeyDoor
from ansambl.access.keys import ApiKey, digest_of, new_id, new_secret
from ansambl.access.rates import Rate
from ansambl.domain.access import ANSWERING, EVERYTHING, Endpoint
from ansambl.domain.scheduling import RequestClass
from ansambl.foundation.clock import VirtualClock

TOKEN = "the-token-of-this-run"
ROLES = {name: {"aliases": (f"{name}-alias",)} for name in ("coder", "reasoner")}
ENSEMBLES = {
    "pair": {"pattern": "chain", "roles": ("coder", "reasoner")},
    "way": {"pattern": "route", "roles": ("coder", "pair"), "conductor": "coder"},
}


class Stage:
    """A gateway with a door, and keys for it."""

    def __init__(self, running, door, clock):
        self.running, self.door, self.clock = running, door, clock
        self.clients = []

    def key(self, **fields):
        secret = new_secret()
        made = ApiKey(new_id(), f"key {len(self.door.all_keys())}", digest_of(secret), secret[:12], **fields)
        self.door.add(made)
        return made, secret

    async def ask(self, secret, model="big", path="/v1/chat/completions", **fields):
        return await self.call("POST", path, secret, json.loads(request(model, **fields)))

    async def call(self, method, path, secret, body=None):
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.running.port}", timeout=20) as client:
            return await client.request(method, path, headers=headers, json=body)

    def openai(self, secret):
        address = f"http://127.0.0.1:{self.running.port}/v1"
        self.clients.append(openai.AsyncOpenAI(base_url=address, api_key=secret, max_retries=0))
        return self.clients[-1]

    def anthropic(self, secret):
        address = f"http://127.0.0.1:{self.running.port}"
        self.clients.append(anthropic.AsyncAnthropic(base_url=address, api_key=secret, max_retries=0))
        return self.clients[-1]


@pytest.fixture
async def stage():
    clock = VirtualClock(1_790_000_000.0)
    door = KeyDoor(TOKEN, clock)
    async with a_gateway(door=door, roles=ROLES, ensembles=ENSEMBLES, others=("small",)) as running:
        found = Stage(running, door, clock)
        yield found
        for one in found.clients:
            await one.close()


MESSAGES = [{"role": "user", "content": "hello"}]


async def test_official_clients_raise_what_they_have_for_each_refusal(stage):
    _, limited = stage.key(requests=(Rate(60, 2),))
    _, narrow = stage.key(names=frozenset({"coder"}))
    for make, errors in ((stage.openai, openai), (stage.anthropic, anthropic)):

        def ask(secret, model="big", make=make):
            client = make(secret)
            if isinstance(client, openai.AsyncOpenAI):
                return client.chat.completions.create(model=model, messages=MESSAGES)
            return client.messages.create(model=model, max_tokens=5, messages=MESSAGES)

        with pytest.raises(errors.AuthenticationError):
            await ask(new_secret())
        with pytest.raises(errors.PermissionDeniedError):
            await ask(narrow)
        with pytest.raises(errors.NotFoundError):
            await ask(TOKEN, "nothing")
        await ask(limited)
    with pytest.raises(openai.RateLimitError) as refused:
        await stage.openai(limited).chat.completions.create(model="big", messages=MESSAGES)
    assert refused.value.code == "rate_limit_exceeded"
    assert int(refused.value.response.headers["retry-after"]) in range(1, 63)
    assert refused.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(openai.RateLimitError):
        await stage.openai(limited).responses.create(model="big", input="hello")
    with pytest.raises(anthropic.RateLimitError) as refused:
        await stage.anthropic(limited).messages.create(model="big", max_tokens=5, messages=MESSAGES)
    assert refused.value.body["error"]["type"] == "rate_limit_error"
    assert refused.value.response.headers["anthropic-ratelimit-requests-limit"] == "2"
    assert "x-ratelimit-limit-requests" not in refused.value.response.headers
    await stage.clock.advance(62)
    await stage.openai(limited).chat.completions.create(model="big", messages=MESSAGES)


async def test_answers_tell_what_is_left_and_the_next_is_refused_when_the_tokens_are_spent(stage):
    key, secret = stage.key(tokens=(Rate(86_400, 15),), requests=(Rate(60, 10),))
    answer = await stage.ask(secret)
    assert (answer.headers["x-ratelimit-limit-tokens"], answer.headers["x-ratelimit-remaining-tokens"]) == ("15", "15")
    assert answer.headers["x-ratelimit-remaining-requests"] == "9"
    # Each costs 9, a streamed one, too: the second goes over the limit, the third is refused.
    streamed = await stage.ask(secret, stream=True)
    assert (streamed.status_code, streamed.headers["x-ratelimit-remaining-tokens"]) == (200, "6")
    await until(lambda: stage.door.allowances(key.id).tokens.remaining == 0, "the stream was counted")
    refused = await stage.ask(secret)
    assert (refused.status_code, refused.headers["x-ratelimit-remaining-tokens"]) == (429, "0")
    assert len(stage.running.engine.calls) == 2


async def test_an_ensemble_counts_the_tokens_of_all_its_roles(stage):
    key, secret = stage.key(tokens=(Rate(86_400, 1000),))
    answer = await stage.ask(secret, "pair")
    asked = len(stage.running.engine.calls)
    assert answer.status_code == 200
    assert asked >= 2
    await until(lambda: stage.door.allowances(key.id).tokens.remaining == 1000 - 9 * asked, "all were counted")


@pytest.mark.parametrize("name", ["big", "coder", "pair"])
async def test_who_leaves_before_the_engine_has_counted_pays_all_the_same(stage, name):
    key, secret = stage.key(tokens=(Rate(86_400, 10_000),))
    pieces = [b'data: {"choices":[{"index":0,"delta":{"content":"word"}}]}' + b" " * 120 + b"\n\n"] * 40

    async def unending(call, writer):
        await stage.running.engine.stream(*pieces, end=False)(call, writer)
        await call.left.wait()

    stage.running.engine.script = unending
    async with connection(stage.running) as (reader, writer):
        writer.write(post(request(name, stream=True), authorization=f"Bearer {secret}"))
        await read_head(reader)
        await asyncio.wait_for(reader.readuntil(b"word"), 20)
    await until(lambda: stage.door.allowances(key.id).tokens.remaining < 10_000, "it is counted")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer {}"}, 200), ({"x_api_key": "{}"}, 200), ({"api_key": "{}"}, 200),
        ({}, 401), ({"authorization": "{}"}, 401), ({"authorization": "Basic {}"}, 401),
        ({"authorization": "Bearer {}x"}, 401), ({"cookie": "ansambl_session={}"}, 401),
    ],
)  # fmt: skip
async def test_where_a_key_may_stand(stage, headers, status):
    _, secret = stage.key()
    found = {name: value.format(secret) for name, value in headers.items()}
    answered, about, body = await raw(stage.running, post(request(), **found))
    assert answered == status
    assert secret.encode() not in body
    if status == 401:
        assert about["www-authenticate"] == "bearer"


async def test_a_key_behind_the_body_is_none(stage):
    _, secret = stage.key()
    body = request()
    chunks = b"%x\r\n%b\r\n0\r\nauthorization: Bearer %b\r\n\r\n" % (len(body), body, secret.encode())
    about = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    assert (await raw(stage.running, about + chunks))[0] == 401


async def test_a_key_that_expires_and_one_that_is_revoked_within_one_connection(stage):
    expiring, first = stage.key(expires=stage.clock.now() + 60)
    other, second = stage.key()
    async with connection(stage.running) as (reader, writer):

        async def ask(secret):
            writer.write(post(request(), authorization=f"Bearer {secret}"))
            return (await read_answer(reader))[0]

        assert [await ask(first), await ask(second)] == [200, 200]
        await stage.clock.advance(60)
        assert [await ask(first), await ask(second)] == [401, 200]
        await stage.door.revoke(other.id, stage.clock.now())
        assert [await ask(first), await ask(second)] == [401, 401]
    assert stage.door.has_keys, expiring


@pytest.mark.parametrize("streams", [True, False])
async def test_what_is_being_answered_ends_when_its_key_is_revoked(stage, streams):
    gone = stage.running.engine

    async def never_ends(call, writer):
        if streams:
            await gone.stream(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n', end=False)(call, writer)
        await call.left.wait()

    gone.script = never_ends
    key, secret = stage.key()
    _, others = stage.key()
    async with connection(stage.running) as (reader, writer), connection(stage.running) as (_, other_writer):
        writer.write(post(request(stream=streams), authorization=f"Bearer {secret}"))
        other_writer.write(post(request(stream=True), authorization=f"Bearer {others}"))
        await until(lambda: len(gone.calls) == 2, "both are at the engine")
        if streams:
            await read_head(reader)
        await stage.door.revoke(key.id, stage.clock.now())
        if streams:
            rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
            assert b"was revoked" in rest
        else:
            status, _, body = await read_answer(reader)
            assert (status, json.loads(body)["error"]["code"]) == (401, "invalid_api_key")
        # The engine stops working on it, and works on for the other.
        await asyncio.wait_for(
            asyncio.wait(
                [asyncio.ensure_future(one.left.wait()) for one in gone.calls], return_when=asyncio.FIRST_COMPLETED
            ),
            20,
        )
        assert [one.left.is_set() for one in gone.calls].count(True) == 1
        assert stage.door.visits.running(key.id) == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/models/sse"])
async def test_what_goes_on_being_answered_ends_when_its_key_expires(stage, path):
    """An event stream lasts for a day, so it must not be enough that its key was good when it was asked for."""
    engine = stage.running.engine

    async def never_ends(call, writer):
        await engine.stream(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n', end=False)(call, writer)
        await call.left.wait()

    engine.script = never_ends
    key, secret = stage.key(expires=stage.clock.now() + 60)
    other, others = stage.key(expires=stage.clock.now() + 600)
    looking = asyncio.create_task(stage.door.keep_writing())
    async with connection(stage.running) as (reader, writer), connection(stage.running) as (_, other_writer):
        about = f"Host: localhost\r\nAuthorization: Bearer {secret}\r\n\r\n"
        streams = post(request(stream=True), authorization=f"Bearer {secret}")
        writer.write(streams if path != "/models/sse" else f"GET {path} HTTP/1.1\r\n{about}".encode())
        other_writer.write(post(request(stream=True), authorization=f"Bearer {others}"))
        await until(lambda: stage.door.visits.running(other.id) == 1, "the other is being answered")
        await read_head(reader)
        await stage.clock.advance(60 - WRITE_EVERY)
        assert stage.door.visits.running(key.id) == 1
        await stage.clock.advance(2 * WRITE_EVERY)
        rest = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 20)
        assert b"has expired" in rest
        assert stage.door.visits.running(key.id) == 0
        assert stage.door.visits.running(other.id) == 1
    looking.cancel()


async def test_a_body_that_is_still_being_sent_ends_with_the_key_too(stage):
    key, secret = stage.key()
    async with connection(stage.running) as (reader, writer):
        writer.write(post(request(), authorization=f"Bearer {secret}", content_length=100_000))
        await until(lambda: stage.door.visits.running(key.id) == 1, "it is being read")
        await stage.door.revoke(key.id, stage.clock.now())
        status, _, _ = await read_answer(reader)
        assert status == 401


NO_CHATS = ("/v1/completions", "/generate", "/responses", "/embeddings", "/embed", "/speech", "/generations", "/edits")


def asked_by(path):
    """A body that gets past the first look of any route."""
    fields = {"model": "big", "max_tokens": 5, "query": "q", "documents": ["d"]}
    asks = "prompt" if path in ("/v1/completions", "/api/generate") or "images" in path else "input"
    return {**fields, asks: "hello"} if path.endswith(NO_CHATS) else {**fields, "messages": MESSAGES}


async def test_every_route_asks_for_its_right_and_for_no_other(stage):
    """From the table itself, so that a new route is tested, too."""
    routes = dict(stage.running.gateway.routes)
    assert {"/v1/chat/completions", "/v1/messages", "/v1/models", "/metrics", "/health", "/api/chat"} <= set(routes)
    for path, route in routes.items():
        if path != "/models/sse":  # It never ends.
            answer = await stage.call(route.method, path, None, asked_by(path) if route.method != "GET" else None)
            assert answer.status_code not in (401, 403), f"without keys {path} is open on this machine"
    keys = {one: stage.key(endpoints=frozenset({one}))[1] for one in Endpoint}
    for path, route in routes.items():
        body = asked_by(path) if route.method != "GET" else None
        unknown = await stage.call(route.method, path, None, body)
        assert (unknown.status_code == 401) is not route.public, path
        for endpoint, secret in keys.items():
            if path == "/models/sse" and route.endpoint in (None, endpoint):
                continue
            answer = await stage.call(route.method, path, secret, body)
            may = route.public or route.endpoint in (None, endpoint)
            if not may:
                assert answer.status_code == 403, (path, endpoint, answer.status_code)
                assert route.endpoint.value in answer.text
            else:
                assert answer.status_code not in (401, 403), (path, endpoint, answer.text)


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/messages/count_tokens", "/v1/completions",
     "/v1/embeddings", "/api/chat", "/api/generate", "/api/embed"],
)  # fmt: skip
async def test_a_key_for_one_name_may_use_no_other_under_any_path(stage, path):
    _, secret = stage.key(names=frozenset({"coder"}))
    fields = {**asked_by(path)}
    for name in ("big", "reasoner", "REASONER", "reasoner-alias", "large", "pair", "way", "small"):
        answer = await stage.call("POST", path, secret, {**fields, "model": name})
        assert answer.status_code == 403, (path, name, answer.text)
    unknown = await stage.call("POST", path, secret, {**fields, "model": "reasone"})
    if unknown.status_code == 404:
        assert "reasoner" not in unknown.text, "the nearest name is none that it may know"
    for name in ("coder", "CODER", "coder-alias"):
        assert (await stage.call("POST", path, secret, {**fields, "model": name})).status_code not in (401, 403)


async def test_who_may_use_an_ensemble_may_use_it_as_a_whole_and_its_roles_not(stage):
    _, secret = stage.key(names=frozenset({"pair", "way"}))
    assert (await stage.ask(secret, "pair")).status_code == 200
    assert (await stage.ask(secret, "way", ansambl={"role": "pair"})).status_code == 200
    for name in ("coder", "reasoner", "big"):
        assert (await stage.ask(secret, name)).status_code == 403


async def test_lists_hold_what_the_key_may_use(stage):
    _, secret = stage.key(names=frozenset({"coder", "big"}))
    for path, names in (("/v1/models", "data"), ("/api/tags", "models"), ("/models", "data")):
        found = (await stage.call("GET", path, secret)).json()[names]
        assert {one.get("id", one.get("name")).removesuffix(":latest") for one in found} == {"coder", "big"}, path
    assert (await stage.call("GET", "/v1/models/coder", secret)).status_code == 200
    for name in ("reasoner", "nothing"):
        hidden = await stage.call("GET", f"/v1/models/{name}", secret)
        assert hidden.status_code == 404, "what it may not use is not there for it"
        assert "reasoner" not in hidden.text.replace("/v1/models/reasoner", "") or name == "reasoner"


async def test_whether_it_is_ready_is_public_and_what_is_ready_is_not(stage):
    assert "instances" in (await stage.call("GET", "/ready", None)).json()
    _, secret = stage.key(names=frozenset({"big"}), endpoints=frozenset({Endpoint.METRICS}))
    for brought in (None, new_secret()):
        answer = await stage.call("GET", "/ready", brought)
        assert (answer.status_code, answer.json()) == (200, {"ready": True})
    assert (await stage.call("GET", "/ready", secret)).json()["instances"] == {"big": "ready"}
    assert (await stage.call("GET", "/health", None)).status_code == 200


async def test_another_machine_is_not_let_in_without_keys(stage):
    """A proxy on this machine hands on what comes from elsewhere."""
    asked = request()
    status, _, body = await raw(stage.running, post(asked, x_forwarded_for="203.0.113.7"))
    assert (status, json.loads(body)["error"]["code"]) == (403, "not_allowed")
    assert "ansambl keys create" in json.loads(body)["error"]["message"]
    _, secret = stage.key()
    status, _, _ = await raw(
        stage.running, post(asked, x_forwarded_for="203.0.113.7", authorization=f"Bearer {secret}")
    )
    assert status == 200


async def test_a_key_cannot_ask_for_more_urgency_than_its_own(stage, monkeypatch):
    standings = []
    lease = stage.running.coordinator.lease

    def spy(*arguments, **named):
        standings.append(named.get("standing") or next(one for one in arguments if hasattr(one, "request_class")))
        return lease(*arguments, **named)

    monkeypatch.setattr(stage.running.coordinator, "lease", spy)
    _, secret = stage.key(default_class=RequestClass.BATCH)
    asked = [({}, None), ({"ansambl": {"class": "interactive"}}, None), ({}, "interactive")]
    for fields, header in (*asked, ({"service_tier": "priority"}, None), ({"ansambl": {"class": "background"}}, None)):
        await raw(stage.running, post(request(**fields), authorization=f"Bearer {secret}", x_ansambl_class=header))
    classes = [one.request_class for one in standings]
    assert classes == [RequestClass.BATCH] * 4 + [RequestClass.BACKGROUND]


async def test_notes_of_one_key_are_no_notes_of_another(stage):
    """What a turn's prompt held is found again for the key that asked, and forgotten with it."""
    first, one = stage.key()
    _, other = stage.key()
    stage.running.engine.script = stage.running.engine.fixed(reply(ANSWER))
    history = [*MESSAGES, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "more"}]

    async def sent(secret, messages):
        await stage.call("POST", "/v1/chat/completions", secret, {"model": "coder", "messages": messages})
        return json.loads(stage.running.engine.calls[-1].body)["messages"][0]["content"]

    fresh = await sent(one, MESSAGES)
    assert await sent(one, history) == fresh, "its own note stands where it stood"
    assert await sent(other, history) == "hello"
    stage.running.service.forget_key(first.id)
    assert await sent(one, history) == "hello"


async def test_keys_are_in_no_answer_no_metric_and_no_record(stage):
    _, secret = stage.key(endpoints=EVERYTHING)
    assert ANSWERING < EVERYTHING
    for path in ("/v1/models", "/metrics", "/ready", "/nothing", "/v1/nothing"):
        answer = await stage.call("GET", path, secret)
        assert secret[12:] not in answer.text + str(answer.headers), path
    wrong = secret[:-3]
    for brought in (wrong, secret):
        answer = await stage.call("POST", "/v1/chat/completions", brought, {"model": secret, "messages": 1})
        assert brought == secret or secret[12:-3] not in answer.text
