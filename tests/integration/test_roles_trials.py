"""Trials through the gateway, on real sockets: who is answered by a draft, and what is told of it."""

from __future__ import annotations

import json

import httpx
import pytest
from gateway_stage import a_gateway, request

from ansambl.access.key_door import KeyDoor
from ansambl.access.keys import ApiKey, digest_of, new_id, new_secret
from ansambl.domain.access import ANSWERING, EVERYTHING
from ansambl.domain.role import ModelName
from ansambl.foundation.clock import VirtualClock
from ansambl.roles.catalog import Tables, build_catalog
from ansambl.roles.resolver import Resolver
from ansambl.roles.trials import LASTS, Trials

DRAFT = {"instruction": "Answer as a parrot.", "temperature": 0.125, "tools": ("look",)}


class Stage:
    """A gateway with keys, and a draft of the role `coder` that nobody saved."""

    def __init__(self, running, door, trials, clock):
        self.running, self.door, self.trials, self.clock = running, door, trials, clock
        models = [ModelName("big", aliases=("large",))]
        saved = Tables({"coder": DRAFT}, {"pair": {"pattern": "chain", "roles": ("coder", "brief")}})
        self.catalog = build_catalog({}, {}, models, saved=saved)

    def key(self, **fields):
        secret = new_secret()
        made = ApiKey(new_id(), f"key {len(self.door.all_keys())}", digest_of(secret), secret[:12], **fields)
        self.door.add(made)
        return made, secret

    def trial(self, key, name="coder"):
        return self.trials.add(Resolver(self.catalog).resolve(name), self.catalog, key.id)

    async def ask(self, secret, model, path="/v1/chat/completions", **fields):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.running.port}", timeout=20) as client:
            headers = {"authorization": f"Bearer {secret}"}
            return await client.post(path, headers=headers, json=json.loads(request(model, **fields)))

    async def get(self, secret, path):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.running.port}", timeout=20) as client:
            return await client.get(path, headers={"authorization": f"Bearer {secret}"})

    def sent(self):
        return json.loads(self.running.engine.calls[-1].body)


@pytest.fixture
async def stage():
    clock = VirtualClock(1_790_000_000.0)
    door, trials = KeyDoor("the-token-of-this-run", clock), Trials(clock)
    async with a_gateway(door=door, trials=trials) as running:
        yield Stage(running, door, trials, clock)


async def test_the_draft_answers_whoever_made_it(stage):
    key, secret = stage.key(endpoints=EVERYTHING)
    made = stage.trial(key)
    answer = await stage.ask(secret, made.name)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-ansambl-role"] == "coder"
    sent = stage.sent()
    assert "Answer as a parrot." in sent["messages"][-1]["content"]
    assert sent["temperature"] == 0.125
    # The role itself says what it said before.
    assert (await stage.ask(secret, "coder")).status_code == 200
    assert "parrot" not in json.dumps(stage.sent())


async def test_a_chat_key_gains_nothing_by_the_name_of_a_trial(stage):
    key, _ = stage.key(endpoints=EVERYTHING)
    made = stage.trial(key)
    _, plain = stage.key(endpoints=ANSWERING)
    _, other = stage.key(endpoints=EVERYTHING)
    before = len(stage.running.engine.calls)
    for secret in (plain, other):
        for path in ("/v1/chat/completions", "/v1/messages/count_tokens"):
            answer = await stage.ask(secret, made.name, path, max_tokens=8)
            assert answer.status_code == 404, answer.text
    assert len(stage.running.engine.calls) == before


async def test_a_key_for_other_roles_may_not_try_this_one(stage):
    key, secret = stage.key(endpoints=EVERYTHING, names=frozenset({"brief"}))
    answer = await stage.ask(secret, stage.trial(key).name)
    assert answer.status_code == 403


async def test_no_list_names_a_trial_and_records_say_what_it_is(stage):
    key, secret = stage.key(endpoints=EVERYTHING)
    made = stage.trial(key)
    await stage.ask(secret, made.name)
    for path in ("/v1/models", "/api/tags", "/models", "/metrics"):
        found = await stage.get(secret, path)
        assert found.status_code == 200, path
        assert made.name not in found.text
    assert "coder (trial)" in (await stage.get(secret, "/metrics")).text
    newest = next(stage.running.gateway.metrics.recent.newest(1))
    assert (newest.name, newest.model) == ("coder (trial)", "big")


async def test_an_ensemble_is_tried_with_its_members_of_the_draft(stage):
    key, secret = stage.key(endpoints=EVERYTHING)
    answer = await stage.ask(secret, stage.trial(key, "pair").name)
    assert answer.status_code == 200, answer.text
    bodies = [one.body.decode() for one in stage.running.engine.calls]
    assert any("Answer as a parrot." in one for one in bodies)


async def test_a_trial_that_is_over_is_said_to_be(stage):
    key, secret = stage.key(endpoints=EVERYTHING)
    made = stage.trial(key)
    await stage.clock.advance(LASTS)
    answer = await stage.ask(secret, made.name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_trial")
