from __future__ import annotations

import json
from typing import Any

import pytest

from ansambl.dialects.openai_chat import ChatRequest, parse_request
from ansambl.domain.access import OWNER, Caller
from ansambl.domain.errors import RequestError
from ansambl.domain.scheduling import RequestClass, Standing
from ansambl.gateway.dialect_routes import DIALECTS
from ansambl.gateway.standing import standing_of, task_of
from ansambl.roles.options import LONGEST_PATIENCE, take_options
from ansambl.roles.tasks.records import Task

TITLE = '### Task:\nName it. { "title": "…" }\n<chat_history>\nUSER: Hello\n</chat_history>'


def read(
    headers: dict[str, str] | None = None, *, caller: Caller = OWNER, recognises: bool = True, **fields: Any
) -> tuple[Standing, Task | None]:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x"}], **fields}).encode()
    scope = {"headers": [(name.encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]}
    request, options = take_options(parse_request(body))
    task = task_of(scope, request, recognises=recognises)
    return standing_of(scope, body, options, caller, task), task


def test_who_says_nothing_is_a_person() -> None:
    assert read() == (Standing(RequestClass.INTERACTIVE, "local", None), None)


ORDER = (RequestClass.INTERACTIVE, RequestClass.BATCH, RequestClass.BACKGROUND, RequestClass.TASK)
"""The most urgent first."""


@pytest.mark.parametrize("given", ORDER)
def test_a_key_gives_its_own_class_and_no_more_urgent_one(given: RequestClass) -> None:
    caller = Caller("k1", given)
    assert read(caller=caller)[0] == Standing(given, "k1")
    for asked in ORDER[:3]:
        wanted = max(given, asked, key=ORDER.index)
        assert read({"x-ansambl-class": asked.value}, caller=caller)[0].request_class is wanted
        assert read(ansambl={"class": asked.value}, caller=caller)[0].request_class is wanted
    assert read(service_tier="priority", caller=caller)[0].request_class is given
    assert read({"x-task": "title_generation"}, caller=caller)[0].request_class is RequestClass.TASK


@pytest.mark.parametrize("name", ["interactive", "batch", "background"])
def test_a_class_by_header_or_by_field(name: str) -> None:
    assert read({"x-ansambl-class": f" {name.title()} "})[0].request_class is RequestClass(name)
    assert read(ansambl={"class": name})[0].request_class is RequestClass(name)


def test_the_header_wins_over_the_field_and_both_over_the_tier() -> None:
    header, field = {"x-ansambl-class": "background"}, {"class": "batch", "patience": 5}
    assert read(header, ansambl=field, service_tier="flex")[0] == Standing(RequestClass.BACKGROUND, patience=5)
    assert read(ansambl={"class": "interactive"}, service_tier="flex")[0].request_class is RequestClass.INTERACTIVE
    assert read({"x-ansambl-patience": "7.5"}, ansambl=field)[0].patience == 7.5


@pytest.mark.parametrize(
    ("tier", "found"),
    [
        ("flex", RequestClass.BATCH),
        ("auto", RequestClass.INTERACTIVE),
        ("default", RequestClass.INTERACTIVE),
        ("priority", RequestClass.INTERACTIVE),
        ("standard_only", RequestClass.INTERACTIVE),
        (None, RequestClass.INTERACTIVE),
        (7, RequestClass.INTERACTIVE),
        (["flex"], RequestClass.INTERACTIVE),
    ],
)
def test_the_tier_of_openai(tier: object, found: RequestClass) -> None:
    assert read(service_tier=tier)[0].request_class is found
    assert read(messages=[{"role": "user", "content": '"service_tier": "flex"'}])[0].request_class is (
        RequestClass.INTERACTIVE
    )


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda one: one.path)
def test_the_tier_is_read_in_every_dialect(dialect: Any) -> None:
    body = json.dumps({
        "model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}], "input": "x",
        "service_tier": "flex", "ansambl": {"patience": 3},
    }).encode()  # fmt: skip
    asked = dialect.parse(body)
    request, options = take_options(asked if isinstance(asked, ChatRequest) else asked.chat)
    assert standing_of({"headers": []}, body, options, Caller(), None) == Standing(RequestClass.BATCH, patience=3)
    assert "ansambl" not in request.fields


@pytest.mark.parametrize("value", ["", "urgent", "task", "batch, background", "x" * 9000, "\xff"])
def test_a_wrong_class_names_the_header(value: str) -> None:
    with pytest.raises(RequestError, match=r"X-Ansambl-Class.*interactive, batch, background") as caught:
        read({"x-ansambl-class": value})
    assert (caught.value.status, caught.value.param) == (400, "X-Ansambl-Class")
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("value", ["", "soon", "-1", "nan", "inf", "1e400", "604801", "5s", "9" * 5000])
def test_a_wrong_patience_names_the_header(value: str) -> None:
    with pytest.raises(RequestError, match="X-Ansambl-Patience") as caught:
        read({"x-ansambl-patience": value})
    assert caught.value.status == 400


@pytest.mark.parametrize("field", [{"class": "task"}, {"class": 1}, {"class": ["batch"]}, {"patience": -1},
                                   {"patience": True}, {"patience": "5"}, {"patience": 10**400}])  # fmt: skip
def test_a_wrong_field_is_named(field: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        read(ansambl=field)
    assert caught.value.param == f"ansambl.{next(iter(field))}"


def test_patience_is_bounded_by_a_week() -> None:
    assert read({"x-ansambl-patience": "0"})[0].patience == 0
    assert read({"x-ansambl-patience": str(LONGEST_PATIENCE)})[0].patience == 7 * 24 * 3600
    assert read(ansambl={"patience": LONGEST_PATIENCE, "class": None})[0].patience == 7 * 24 * 3600


# --- tasks -----------------------------------------------------------------------------------------------------------


def title(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": TITLE}], "stream": False, **fields}


def test_a_by_product_is_a_task_whatever_else_is_said() -> None:
    headers = {"x-task": "tags_generation", "x-ansambl-class": "batch", "x-ansambl-patience": "3"}
    assert read(headers) == (Standing(RequestClass.TASK, patience=3), Task.TAGS)
    assert read(**title()) == (Standing(RequestClass.TASK), Task.TITLE)


def test_a_client_that_names_its_tasks_is_believed_when_it_names_none() -> None:
    for value in ("", "moa_response_generation", "unheard_of"):
        assert read({"x-task": value}, **title()) == (Standing(), None)


def test_a_placeholder_that_was_not_filled_in_says_nothing() -> None:
    assert read({"x-task": "{{TASK}}"}) == (Standing(), None)
    assert read({"x-task": "{{TASK}}"}, **title())[1] is Task.TITLE


def test_the_shape_tells_nothing_where_the_owner_does_not_want_it() -> None:
    assert read(recognises=False, **title()) == (Standing(), None)
    assert read({"x-task": "title_generation"}, recognises=False)[1] is Task.TITLE
