"""Ensembles on the real engine with the embedded model: that they run, not what they say."""

from __future__ import annotations

import openai
import pytest
from product import wait_for

pytestmark = pytest.mark.engine

CONFIGURATION = """
[models.embedded]
checkpoint = "embedded"
context = 4096
parallel = 3

[roles.narrow]
model = "embedded"
context_share = 0.1

[ensembles.short]
pattern = "council"
roles = ["coder", "brief", "philosopher"]
conductor = "brief"

[ensembles.line]
pattern = "chain"
roles = ["brief", "critic"]

[ensembles.talk]
pattern = "debate"
roles = ["brief", "philosopher"]
conductor = "brief"

[ensembles.jury]
pattern = "council"
roles = ["brief"]
samples = 3
merge = "vote"

[ensembles.nest]
pattern = "council"
roles = ["jury", "coder"]
conductor = "brief"
"""
QUESTION = [
    {"role": "user", "content": "The sea is deep and the sky is high. " * 36 + "Name one thing that is blue."},
]


@pytest.fixture
def running(start):
    product = start(CONFIGURATION)
    client = openai.OpenAI(base_url=f"{product.address}/v1", api_key="any", max_retries=0, timeout=120)
    yield product, client
    client.close()


def test_every_pattern_answers_on_one_model_and_shares_its_prefix(running):
    _, client = running
    for name, calls in (("short", 4), ("line", 2), ("talk", 5), ("jury", 3), ("nest", 5)):
        answer = client.chat.completions.create(model=name, messages=QUESTION, max_tokens=12)
        account = answer.ansambl
        assert answer.choices[0].message.content.strip(), name
        assert len(account["branches"]) >= calls, name
        assert {one["state"] for one in account["branches"]} <= {"answered", "cut"}, account
        spent = [one["usage"] for one in account["branches"]] + [
            one["usage"] for one in account["sharing"] if one["usage"]
        ]
        assert answer.usage.prompt_tokens == sum(one["prompt_tokens"] for one in spent)
        assert answer.usage.completion_tokens == sum(one["completion_tokens"] for one in spent)
        assert all(one["usage"]["completion_tokens"] <= 12 for one in account["branches"])
        # All but the first prompt, and the notes, was in the cache.
        cached = sum((one.get("prompt_tokens_details") or {}).get("cached_tokens", 0) for one in spent)
        assert cached > answer.usage.prompt_tokens / 3, (name, cached, answer.usage.prompt_tokens)


def test_a_route_streams_its_reason_and_the_members_answer(running):
    _, client = running
    stream = client.chat.completions.create(
        model="auto", messages=[{"role": "user", "content": "@brief Name a colour."}], max_tokens=8, stream=True
    )
    chunks = list(stream)
    assert chunks[0].choices[0].delta.reasoning_content.startswith("**brief** – asked for with @brief")
    assert "".join(one.choices[0].delta.content or "" for one in chunks if one.choices).strip()
    assert chunks[-1].ansambl["route"]["role"] == "brief"


def test_a_client_that_leaves_stops_the_real_engine(running):
    product, client = running
    stream = client.chat.completions.create(model="short", messages=QUESTION, max_tokens=400, stream=True)
    for chunk in stream:
        if (chunk.choices[0].delta.model_extra or {}).get("reasoning_content", "").strip("*\n") not in {"", "coder"}:
            break
    assert product.instance()["running"] >= 1
    stream.close()
    wait_for(lambda: product.instance()["running"] == 0, "no answer is being written", 10)
    answer = client.chat.completions.create(model="brief", messages=[{"role": "user", "content": "Hi"}], max_tokens=4)
    assert answer.usage.completion_tokens <= 4


def test_the_engine_counts_a_prompt_against_its_share_of_the_context(running):
    _, client = running
    with pytest.raises(openai.BadRequestError, match=r"The prompt has \d{3} tokens, more than the share of 409 tokens"):
        client.chat.completions.create(
            model="narrow", messages=[*QUESTION, {"role": "assistant", "content": "The sea."}, *QUESTION]
        )
