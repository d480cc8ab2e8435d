"""The question of the page Plan out of its address: what is wrong is left to the admin API, and nothing fails here."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.datastructures import QueryParams

from ansambl.api.planning_schemas import FitRequest, PlanRequest
from ansambl.console.pages.plan.question import machine_document, read_question

GIB = 2**30


def test_an_empty_address_asks_about_this_machine_and_the_first_model() -> None:
    asked = read_question(QueryParams(""), ["mine", "other"])
    assert FitRequest.model_validate(asked.fit()).model_dump()["model"] == "mine"
    assert PlanRequest.model_validate(asked.plan()).machines == ["this"]


def test_every_part_of_the_question_stands_in_the_address() -> None:
    asked = read_question(
        QueryParams(
            "machine=rtx-4090-64g&machine=described:rtx-3090*2,rtx-4090;64;ryzen-9-7900&model=m&quantization=Q4_K_M"
            "&engine=vllm&context=4096&parallel=3&kv=fp8&goal=depth&only=a&only=b&role=coder&language=ru&helpers=no"
            "&fetchable=no"
        )
    )
    assert asked.fit() == {
        "model": "m", "machine": "rtx-4090-64g", "context": 4096, "parallel": 3, "kv_type": "fp8",
        "quantization": "Q4_K_M", "engine": "vllm",
    }  # fmt: skip
    plan = asked.plan()
    assert plan["machines"][1] == {
        "name": "2 × rtx-3090 + 1 × rtx-4090, 64 GiB", "ram": 64 * GIB, "processor": "ryzen-9-7900",
        "gpus": [{"device": "rtx-3090", "count": 2}, {"device": "rtx-4090", "count": 1}],
    }  # fmt: skip
    assert (plan["goal"], plan["models"], plan["roles"], plan["language"]) == ("depth", ["a", "b"], ["coder"], "ru")
    assert (plan["helpers"], plan["fetchable"]) == (False, False)
    PlanRequest.model_validate(plan)


@pytest.mark.parametrize("written", ["/etc/passwd", "../x.toml", "described:/etc/passwd;;", "described:"])
def test_a_machine_is_never_a_path(written: str) -> None:
    found = machine_document(written)
    assert found == written if isinstance(found, str) else found["gpus"] == []


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.text(max_size=12))
def test_whatever_stands_there_it_is_a_question_or_refused_by_its_schema(machine: str, number: str) -> None:
    asked = read_question(QueryParams([("machine", f"described:{machine}"), ("context", number), ("model", "m")]))
    wrong: set[object] = set()
    try:
        FitRequest.model_validate(asked.fit())
    except ValidationError as refused:
        wrong = {one["loc"][0] for one in refused.errors()}
    assert wrong <= {"machine", "context"}
