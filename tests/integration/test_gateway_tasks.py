"""By-products of chats: answered by whatever the lease grants, else by a built-in reply in the request's dialect."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager

import anthropic
import pytest
from gateway_stage import LIMIT, DoorOf, a_gateway, error_of, event, post, raw, reply, request, until

from ansambl.domain.access import Caller
from ansambl.domain.errors import CheckpointError, UnavailableError
from ansambl.domain.scheduling import RequestClass
from ansambl.domain.text import text
from ansambl.runtime.coordinator import Coordinator

CHAT = "<chat_history>\nUSER: Wie backe ich Brot?\nASSISTANT: Mit Mehl.\n</chat_history>"
TITLE = f'### Task:\nName it.\n### Output:\nJSON: {{ "title": "…" }}\n{CHAT}'
HEADER = {"X_Task": "title_generation"}
REFUSALS = ["no_model_for_task", "expired", "queue_full", "load_failed", "wait_too_long", "does_not_fit"]


class Scripted(Coordinator):
    """A coordinator that refuses tasks, or gives them another model; and says what it was asked for."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.error = None
        self.instead = None
        self.asked = []

    @asynccontextmanager
    async def lease_group(self, model, count, hint=b"", *, lora=None, standing):
        self.asked.append((model, lora, standing.request_class.value))
        if standing.request_class is RequestClass.TASK:
            if self.error is not None:
                raise self.error
            model = self.instead or model
        async with super().lease_group(model, count, hint, lora=lora, standing=standing) as group:
            yield group


@pytest.fixture
async def stage():
    async with a_gateway(coordinator=Scripted, others=["small"]) as found:
        found.coordinator.error = UnavailableError(text("no model"), code="no_model_for_task")
        yield found


async def resident(stage, *models):
    """Have models in memory; from now on tasks are granted, and what was asked before is forgotten."""
    stage.coordinator.error = None
    for one in models:
        assert (await raw(stage, post(request(one))))[0] == 200
    stage.engine.calls.clear()
    stage.coordinator.asked.clear()


def asked(model="big", content=TITLE, **fields):
    return request(model, messages=[{"role": "user", "content": content}], **{"stream": False, **fields})


async def test_a_title_by_its_shape_is_answered_without_a_model(stage):
    status, _, body = await raw(stage, post(asked()))
    answer = json.loads(body)
    assert (status, answer["object"], answer["model"]) == (200, "chat.completion", "big")
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"title": "Wie backe ich Brot?"}
    assert (answer["choices"][0]["finish_reason"], answer["usage"]["total_tokens"]) == ("stop", 0)
    assert answer["ansambl"] == {"task": "title_generation", "built_in": True}
    assert stage.engine.calls == []
    assert stage.gateway.metrics.built_in == 1
    assert stage.coordinator.asked == [("big", None, "task")]


@pytest.mark.parametrize("code", REFUSALS)
async def test_every_refusal_gets_a_built_in_reply(stage, code):
    stage.coordinator.error = UnavailableError(text("no"), code=code)
    status, _, body = await raw(stage, post(asked(content="mine"), X_Task="tags_generation"))
    assert (status, json.loads(json.loads(body)["choices"][0]["message"]["content"])) == (200, {"tags": []})


async def test_a_model_whose_file_is_damaged_gets_a_built_in_reply(stage):
    stage.coordinator.error = CheckpointError(text("damaged"))
    assert (await raw(stage, post(asked())))[0] == 200


@pytest.mark.parametrize("name", ["coder", "council", "auto", "large"])
async def test_any_name_may_be_asked_for(stage, name):
    status, _, body = await raw(stage, post(asked(name), **HEADER))
    assert (status, json.loads(body)["choices"][0]["message"]["content"]) == (200, '{"title":"Wie backe ich Brot?"}')
    assert stage.coordinator.asked == [("big", None, "task")]


async def test_another_model_may_answer_under_its_own_name_without_the_role(stage):
    await resident(stage, "small")
    stage.coordinator.instead = "small"
    stage.coordinator.instance("small").engine_name = "tiny"
    status, headers, body = await raw(stage, post(asked("coder"), **HEADER))
    assert (status, headers["x-ansambl-instance"]) == (200, "small")
    assert "x-ansambl-role" not in headers
    assert json.loads(body)["choices"][0]["message"]["content"] == "hi"
    sent = json.loads(stage.engine.calls[0].body)
    assert sent["model"] == "tiny"
    assert sent["messages"] == [{"role": "user", "content": TITLE}]
    assert sent["max_tokens"] == 1000


async def test_the_client_s_limit_stays_and_nothing_of_ours_reaches_the_engine(stage):
    await resident(stage, "big")
    await raw(stage, post(asked(max_completion_tokens=1000, ansambl={"patience": 3}), **HEADER))
    sent = json.loads(stage.engine.calls[0].body)
    assert (sent["max_completion_tokens"], "max_tokens" in sent, "ansambl" in sent) == (1000, False, False)


async def test_in_a_stream(stage):
    async with stage.client() as client:
        stream = await client.chat.completions.create(
            model="big", messages=[{"role": "user", "content": TITLE}], stream=True,
            extra_headers={"X-Task": "title_generation"},
            stream_options={"include_usage": True},
        )  # fmt: skip
        chunks = [one async for one in stream]
    said = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert json.loads(said) == {"title": "Wie backe ich Brot?"}
    assert chunks[-1].usage.total_tokens == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_in_the_other_dialects(stage, stream):
    headers = {"X-Task": "query_generation"}
    async with stage.client() as client:
        answer = await client.responses.create(model="big", input=TITLE, stream=stream, extra_headers=headers)
        if stream:
            answer = [one async for one in answer][-1].response
    assert json.loads(answer.output_text) == {"queries": ["Wie backe ich Brot?"]}
    async with anthropic.AsyncAnthropic(
        base_url=f"http://127.0.0.1:{stage.port}", api_key="any", max_retries=0, default_headers=headers
    ) as client:
        asking = {"model": "big", "max_tokens": 9, "messages": [{"role": "user", "content": TITLE}]}
        if stream:
            async with client.messages.stream(**asking) as events:
                message = await events.get_final_message()
        else:
            message = await client.messages.create(**asking)
    assert json.loads(message.content[0].text) == {"queries": ["Wie backe ich Brot?"]}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_fails_or_refuses_before_it_answers(stage, stream):
    await resident(stage, "big")
    for answer in (
        reply(b'{"error": {"message": "the prompt is too long", "code": 400}}', b"400 Bad Request"),
        reply(b"<html>", b"500 Internal Server Error", b"text/html"),
        b"",
    ):
        stage.engine.script = stage.engine.fixed(answer)
        status, _, body = await raw(stage, post(asked(stream=stream), **HEADER))
        assert status == 200
        assert b"Wie backe ich Brot?" in body


async def test_an_engine_that_breaks_off_in_the_middle_is_an_error(stage):
    await resident(stage, "big")
    stage.engine.script = stage.engine.stream(event("a"), end=False)
    _, _, body = await raw(stage, post(asked(stream=True), **HEADER))
    assert body.startswith(event("a"))
    assert b"Brot" not in body
    assert error_of(body.rstrip().rpartition(b"data: ")[2])["type"] == "engine_error"


async def test_a_chat_is_never_answered_by_a_built_in_reply(stage):
    for headers, fields in (
        ({}, {"stream": True}),
        ({"X_Task": ""}, {}),
        ({"X_Task": "moa_response_generation"}, {}),
        ({"X_Task": "{{TASK}}"}, {"content": '### Task:\nSay hi as { "title": "…" }'}),
    ):
        status, _, body = await raw(stage, post(asked(**fields), **headers))
        assert status == 200
        assert b"Brot" not in body
    assert {one[2] for one in stage.coordinator.asked} == {"interactive"}
    assert len(stage.engine.calls) == 4


async def test_the_owner_may_switch_the_recognising_off(stage):
    stage.gateway.use(body_limit=LIMIT, recognises_tasks=False)
    assert json.loads((await raw(stage, post(asked())))[2])["choices"][0]["message"]["content"] == "hi"
    assert b"Brot" in (await raw(stage, post(asked(), **HEADER)))[2]


async def test_a_key_whose_requests_are_all_tasks_is_refused_as_it_is(stage, monkeypatch):
    monkeypatch.setattr(stage.gateway, "_door", DoorOf(Caller(default_class=RequestClass.TASK)))
    status, headers, body = await raw(stage, post(request()))
    assert (status, error_of(body)["code"]) == (503, "no_model_for_task")
    assert "retry-after" in headers
    assert (await raw(stage, post(asked())))[0] == 200


# --- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["big", "coder", "council", "careful", "debate", "auto"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses"])
async def test_every_call_has_the_class_of_the_request(stage, name, path):
    body = json.dumps({
        "model": name, "messages": [{"role": "user", "content": "hello"}], "input": "hello", "max_tokens": 50,
    }).encode()  # fmt: skip
    status, _, _ = await raw(stage, post(body, path, X_Ansambl_Class="background"))
    assert status == 200
    assert {one[2] for one in stage.coordinator.asked} == {"background"}


async def test_a_wrong_class_is_refused_in_every_dialect(stage):
    for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/messages/count_tokens"):
        body = json.dumps(
            {"model": "big", "messages": [{"role": "user", "content": "x"}], "input": "x", "max_tokens": 5}
        )
        status, _, answer = await raw(stage, post(body.encode(), path, X_Ansambl_Class="urgent"))
        assert status == 400
        assert "X-Ansambl-Class" in json.loads(answer)["error"]["message"]
    assert stage.coordinator.asked == []


async def test_who_leaves_is_neither_answered_nor_failed(stage):
    begun = asyncio.Event()

    async def script(call, _writer):
        begun.set()
        await call.left.wait()

    stage.engine.script = script
    _, writer = await asyncio.open_connection("127.0.0.1", stage.port)
    writer.write(post(request()))
    await asyncio.wait_for(begun.wait(), 10)
    writer.transport.abort()
    await until(lambda: stage.metric("ansambl_requests_total", status="499") == 1, "the client left")
    assert (stage.gateway.metrics.answered, stage.gateway.metrics.failed) == (0, 0)
