"""What clients get where one of two models fits: the real scheduler behind the gateway, engines of a script."""

from __future__ import annotations

import asyncio
import json

import pytest
from gateway_stage import a_gateway, error_of, post, raw, request, until

from ansambl.runtime.coordinator import Coordinator
from ansambl.runtime.scheduling.records import InstanceFacts, Rules

ROOM = 100
NEEDS = {"big": 80, "small": 70, "huge": 200}
HISTORY = "<chat_history>\nUSER: What is rye?\n</chat_history>"
TITLE = [{"role": "user", "content": f'### Task:\nName it: {{ "title": "…" }}\n{HISTORY}'}]
RULES = Rules(task_patience=0.6, task_delay=0.2, swap_share=1.0, background_patience=0.6)


def one_at_a_time(instances, upstream):
    async def facts(model):
        return InstanceFacts(model, needs={"ram": NEEDS[model]}, places=2, load_seconds=0.01, stop_seconds=0.01)

    return Coordinator(instances, upstream, facts=facts, totals={"ram": ROOM}, rules=RULES)


@pytest.fixture
async def tight():
    async with a_gateway(coordinator=one_at_a_time, others=["small", "huge"]) as found:
        yield found


def title(model):
    return post(request(model, messages=TITLE, stream=False), X_Task="title_generation")


def said(body):
    return json.loads(body)["choices"][0]["message"]["content"]


async def swaps(running):
    """The headers of an ordinary request to "big"."""
    status, headers, _ = await raw(running, post(request("big")))
    assert status == 200
    return int(headers["x-ansambl-swaps"])


async def test_an_answer_says_how_many_models_made_room_for_it(tight):
    assert [(await raw(tight, post(request(one))))[1]["x-ansambl-swaps"] for one in ("big", "big", "small")] == [
        "0", "0", "1"
    ]  # fmt: skip


async def test_a_title_is_answered_by_the_model_that_is_there(tight):
    await raw(tight, post(request("big")))
    tight.coordinator.instance("big").engine_name = "big there"
    status, headers, body = await raw(tight, title("small"))
    assert (status, headers["x-ansambl-instance"], said(body)) == (200, "big", "hi")
    assert json.loads(tight.engine.calls[-1].body)["model"] == "big there"
    assert await swaps(tight) == 0, "big is there still"


async def test_a_title_while_nothing_is_there_loads_nothing(tight):
    status, _, body = await raw(tight, title("small"))
    assert (status, said(body)) == (200, '{"title":"What is rye?"}')
    assert tight.engine.calls == []
    assert not tight.coordinator.views().get("small") or tight.coordinator.views()["small"].residency == "out"


async def test_a_title_just_before_its_chat_is_answered_by_the_chat_s_model_and_costs_no_swap(tight):
    await raw(tight, post(request("small")))
    first = asyncio.ensure_future(raw(tight, title("big")))
    await asyncio.sleep(0.02)
    chat = await raw(tight, post(request("big")))
    assert (chat[0], chat[1]["x-ansambl-swaps"]) == (200, "1")
    status, headers, body = await first
    assert status == 200
    assert said(body) in {"hi", '{"title":"What is rye?"}'}
    assert headers.get("x-ansambl-swaps", "0") == "0"
    assert await swaps(tight) == 0


async def test_background_waits_for_its_model_and_expires(tight):
    await raw(tight, post(request("big")))
    status, headers, body = await raw(tight, post(request("small"), X_Ansambl_Class="background"))
    assert (status, error_of(body)["code"]) == (503, "expired")
    assert "X-Ansambl-Patience" in error_of(body)["message"]
    assert int(headers["retry-after"]) >= 1
    assert await swaps(tight) == 0


async def test_background_with_patience_is_served_when_its_model_comes_for_another_reason(tight):
    await raw(tight, post(request("big")))
    patient = {"X_Ansambl_Class": "background", "X_Ansambl_Patience": 30}
    waiting = asyncio.ensure_future(raw(tight, post(request("small"), **patient)))
    await until(lambda: any(one.waiting for one in tight.coordinator.statuses()), "it waits")
    await asyncio.sleep(0.8)
    assert not waiting.done(), "its own patience holds, not that of its class"
    assert (await raw(tight, post(request("small"))))[0] == 200
    status, headers, _ = await asyncio.wait_for(waiting, 10)
    assert (status, headers["x-ansambl-instance"]) == (200, "small")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_what_never_fits_is_told_with_figures(tight, path):
    body = json.dumps({"model": "huge", "messages": [{"role": "user", "content": "x"}], "input": "x", "max_tokens": 5})
    status, _, answer = await raw(tight, post(body.encode(), path))
    error = json.loads(answer)["error"]
    assert status == 503
    assert "does not fit" in error["message"]
    assert "100 B" in error["message"]
    if path != "/v1/messages":
        assert error["code"] == "does_not_fit"


async def test_an_ensemble_over_two_models_swaps_and_answers(tight):
    roles = {"here": {"instruction": "a", "model": "big"}, "there": {"instruction": "b", "model": "small"}}
    pair = {"pair": {"pattern": "council", "roles": ["here", "there"], "conductor": "here"}}
    async with a_gateway(coordinator=one_at_a_time, others=["small"], roles=roles, ensembles=pair) as running:
        many = await asyncio.gather(*(raw(running, post(request("pair"))) for _ in range(4)))
        for status, _, body in many:
            assert status == 200
            states = [one["state"] for one in json.loads(body)["ansambl"]["branches"]]
            assert states == ["answered"] * 3
        assert all(one.running == one.waiting == 0 for one in running.coordinator.statuses())
