"""The page Plan brings the sizes of one model, and those of another when it is chosen."""

from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ansambl.console.application import make_console

GIB = 2**30


def model(name, repo, *checkpoints, **more):
    return {
        "name": name, "repo": repo, "title": name.title(), "family": "kin", "kind": "chat", "licence": "mit",
        "parameters": 7e9, "active_parameters": None, "context": 8192, "released": None, "specialities": ["code"],
        "configured": False,
        "checkpoints": [
            {"quantization": one, "format": "gguf", "bytes": size * GIB, "basis": "reported"}
            for one, size in checkpoints
        ], **more,
    }  # fmt: skip


ANSWERS = {
    "catalog": {"models": [
        model("first-7b", "maker/First-7B-Instruct", ("Q4_K_M", 4), ("Q8_0", 7), ("Q4_K_M", 5)),
        model("second", "maker/second", ("BF16", 14), title="<b>Second</b>"),
    ]},
    "machines": {"this": {"title": "here"}, "machines": [], "gpus": [], "processors": []},
    "state": {"roles": []}, "plan/applying": {"applying": None}, "me": {"endpoints": ["admin"], "name": None},
}  # fmt: skip


@pytest.fixture(scope="module")
def client():
    async def answer(request):
        return JSONResponse(ANSWERS[request.path_params["path"]])

    admin = Starlette(routes=[Route("/admin/api/{path:path}", answer)])
    return TestClient(make_console(version="1", admin=admin))


def options(html):
    select = re.search(r'<select id="quantization".*?</select>', html, re.DOTALL)
    return re.findall(r'<option value="([^"]*)"', select[0] if select else html)


def chosen(html):
    return re.findall(r'value="([^"]*)" (?:checked|selected)', html)


def test_the_page_has_the_sizes_of_its_own_model_alone(client):
    html = client.get("/console/plan").text
    assert options(html) == ["", "Q8_0", "Q4_K_M"]
    assert "Q4_K_M · 4.0 GiB" in html
    assert chosen(html) == ["first-7b"]
    assert "BF16" not in html
    html = client.get("/console/plan?model=second&quantization=BF16").text
    assert options(html) == ["", "BF16"]
    assert chosen(html) == ["second", "BF16"]


def test_a_quantization_that_is_not_known_here_stays_to_be_asked_for(client):
    html = client.get('/console/plan?quantization=Q9"><script>').text
    assert options(html)[1] == "Q9&#34;&gt;&lt;script&gt;"
    assert options(client.get("/console/plan?model=nobody&quantization=Q1").text) == ["", "Q1"]


def test_another_models_sizes_come_as_a_part(client):
    answer = client.get("/console/plan/quantizations?model=second", headers={"hx-request": "true"})
    assert options(answer.text) == ["", "BF16"]
    assert "<html" not in answer.text
    assert options(client.get("/console/plan/quantizations?model=nobody").text) == [""]


def test_a_model_is_found_by_what_its_line_does_not_say(client):
    html = client.get("/console/plan").text
    assert re.findall(r'data-words="([^"]*)"', html) == ["maker/first-7b-instruct kin code", "maker/second kin code"]
    assert "&lt;b&gt;Second&lt;/b&gt;" in html
