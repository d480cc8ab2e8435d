"""What Open WebUI really sends for the first message of a chat, as it was recorded, against the gateway."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from gateway_stage import LAST, event, post, raw

RECORDED = json.loads(
    (Path(__file__).resolve().parents[1] / "data" / "open_webui" / "first_message.json").read_text(encoding="utf-8")
)["requests"]
CHATS = [one for one in RECORDED if one["method"] == "POST"]
TASKS = [one for one in CHATS if one["headers"]["x-task"]]


def as_sent(one, *, without=()):
    """The bytes of a recorded request, for a role of the stage."""
    kept = {name: value for name, value in one["headers"].items() if name not in {*without, "accept-encoding"}}
    body = json.dumps({**one["body"], "model": "coder"}).encode()
    return post(body, **{name.replace("-", "_"): value for name, value in kept.items()})


def newest(running):
    return next(iter(running.gateway.metrics.recent.newest(1)))


def test_the_recording_is_that_of_one_message_with_three_tasks():
    assert [one["headers"]["x-task"] for one in CHATS] == [
        "title_generation", "", "follow_up_generation", "tags_generation",
    ]  # fmt: skip
    # The model list that it read had switched its own tools off, and usage on.
    assert all("tools" not in one["body"] for one in CHATS)
    assert CHATS[1]["body"]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("one", TASKS, ids=lambda one: one["headers"]["x-task"])
@pytest.mark.parametrize("without", [(), ("x-task",)], ids=["header", "shape"])
async def test_its_tasks_are_tasks_by_their_header_and_by_their_shape(running, one, without):
    status, headers, _ = await raw(running, as_sent(one, without=without))
    assert status == 200
    assert newest(running).request_class == "task"
    # A by-product is asked as it is, without the note of the role.
    assert "x-ansambl-role" not in headers


async def test_its_chat_is_a_chat_of_the_role(running):
    status, headers, body = await raw(running, as_sent(CHATS[1]))
    assert status == 200
    assert newest(running).request_class == "interactive"
    assert headers["x-ansambl-role"] == "coder"
    assert body == event("a") + event("b") + LAST
