from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansambl.dialects.openai_chat import ChatRequest
from ansambl.domain.scheduling import RequestClass, Standing
from ansambl.roles.tasks.records import Task
from ansambl.roles.tasks.replies import OUTPUT_TOKENS, TITLE_LETTERS, built_in_reply, task_request, title_of

HISTORY = "USER: Как испечь хлеб без дрожжей?\nна закваске\nASSISTANT: USER friendly bread: …\nUSER:  А сколько ждать? "


def asked(content: object, **fields: object) -> ChatRequest:
    return ChatRequest({}).changed({"model": "m", "messages": [{"role": "user", "content": content}], **fields})


def reply(task: Task, history: str = HISTORY) -> object:
    return json.loads(built_in_reply(task, asked(f"Do it\n<chat_history>\n{history}\n</chat_history>")))


def test_a_title_is_what_the_person_said_first_in_their_language() -> None:
    assert reply(Task.TITLE) == {"title": "Как испечь хлеб без дрожжей?"}


def test_words_that_are_looked_for_are_the_person_s_newest() -> None:
    assert reply(Task.QUERIES) == {"queries": ["А сколько ждать?"]}
    assert reply(Task.IMAGE_PROMPT) == {"prompt": "А сколько ждать?"}


def test_a_history_without_a_speaker_gives_no_title() -> None:
    assert reply(Task.TITLE, "nobody speaks") == reply(Task.TITLE, "")


def test_nothing_is_made_up() -> None:
    assert reply(Task.TAGS) == {"tags": []}
    assert reply(Task.FOLLOW_UPS) == {"follow_ups": []}
    assert reply(Task.AUTOCOMPLETE) == {"text": ""}
    assert len(built_in_reply(Task.EMOJI, asked("I am happy"))) == 1


@pytest.mark.parametrize(
    "content", ["a prompt of one's own", "<chat_history>", "</chat_history><chat_history>", None, 7, ["x"], [{}]]
)
def test_without_a_chat_a_title_is_empty(content: object) -> None:
    request = asked(content)
    assert json.loads(built_in_reply(Task.TITLE, request)) == {"title": ""}
    assert json.loads(built_in_reply(Task.QUERIES, request)) == {"queries": []}


def test_the_chat_may_stand_in_parts() -> None:
    parts = [{"type": "text", "text": "<chat_history>\nUSER: Hello there\n</chat_history>"}, {"type": "image_url"}]
    assert json.loads(built_in_reply(Task.TITLE, asked(parts))) == {"title": "Hello there"}


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("## **Sort** a `list`", "Sort a list"),
        ("\n\n- see [the docs](http://x.y/z) now", "see the docs now"),
        ("```python\nmy_name = 1\n```", "my_name = 1"),
        ("one two three four five six seven eight", "one two three four five six seven…"),
        ("Please, explain,", "Please, explain"),
        ("What is C# for?", "What is C# for?"),
        ("x" * 100, "x" * TITLE_LETTERS + "…"),
        ("http://only.a/link", ""),
        ("", ""),
    ],
)
def test_titles(words: str, title: str) -> None:
    assert title_of(words) == title


@pytest.mark.parametrize(
    "flood", ["[" * 100_000, "USER: " * 50_000, "\nUSER: x" * 50_000, "# " * 100_000, "\n" * 100_000]
)
def test_a_flood_is_answered_at_once(flood: str) -> None:
    assert reply(Task.TITLE, f"USER: {flood}")
    assert reply(Task.QUERIES, f"USER: {flood}")


@given(st.text(max_size=300))
@settings(max_examples=100, deadline=None)
def test_whatever_was_said_a_title_is_one_short_line_of_it(words: str) -> None:
    title = title_of(words)
    assert len(title) <= TITLE_LETTERS + 1
    assert len(title.splitlines()) <= 1
    assert json.loads(built_in_reply(Task.TITLE, asked(f"<chat_history>\nUSER: {words}\n</chat_history>"))).keys() == {
        "title"
    }


def test_a_model_is_asked_the_client_s_own_request() -> None:
    standing = Standing(RequestClass.TASK, "k")
    asking = ChatRequest(asked("x", temperature=0.3).fields, lora="mine", standing=standing)
    found = task_request(asking, "small")
    assert (found.model, found.value("max_tokens"), found.value("temperature")) == ("small", OUTPUT_TOKENS, 0.3)
    assert (found.lora, found.standing) == (None, standing)
    assert found.fields["messages"] == asking.fields["messages"]


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_client_s_own_limit_stays(name: str) -> None:
    found = task_request(asked("x", **{name: 4}), "small")
    assert (found.value(name), len([one for one in found.fields if one.startswith("max_")])) == (4, 1)
