"""Roles that read, through the official clients and as Open WebUI asks: what is sent to the engine, what comes back."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass

import anthropic
import httpx
import openai
import pytest
from gateway_stage import DoorOf, a_gateway, post, reply, until
from gateway_stage import raw as raw_answer

from ansambl.domain.access import Caller
from ansambl.domain.errors import UnavailableError
from ansambl.domain.knowledge import NO_FILTERS, Kind
from ansambl.domain.text import text
from ansambl.roles.knowledge.in_use import KnowledgeInUse
from ansambl.roles.knowledge.memory import ConversationMemory, MemorySettings
from ansambl.roles.knowledge.reading import KnowledgeReader
from ansambl.testing.fake_knowledge import FakeKnowledge

QUESTION = "Who repairs the heating pump?"
SAID = "Ivanov repairs it [1]. The weather is fine [9]."
ROLES = {
    "librarian": {"instruction": "Answer briefly.", "collections": ["manuals"]},
    "clerk": {"instruction": "Answer at length.", "collections": ["manuals"]},
    "poet": {"instruction": "Rhyme."},
}
ENSEMBLES = {
    "library": {"pattern": "council", "roles": ["librarian", "clerk"], "conductor": "librarian"},
    "desk": {"pattern": "route", "roles": ["librarian", "poet"], "default": "librarian"},
}
OPEN_WEBUI = {"X_OpenWebUI_User_Id": "u1"}
END = {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12}


def said(content=SAID):
    """An engine's answer, whole or in pieces as it is asked for."""

    async def script(call, writer):
        frame = {"id": "chatcmpl-e", "created": 1, "model": "there"}
        if b'"stream":true' not in call.body:
            choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
            body = {**frame, "object": "chat.completion", "choices": [choice], "usage": END}
            writer.write(reply(json.dumps(body).encode()))
            await writer.drain()
            return True
        kind = {**frame, "object": "chat.completion.chunk"}
        pieces = [content[place : place + 7] for place in range(0, len(content), 7)]
        choices = [{"index": 0, "delta": {"content": one}, "finish_reason": None} for one in pieces]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
        chunks = [{**kind, "choices": [one]} for one in choices]
        if b"include_usage" in call.body:
            chunks.append({**kind, "choices": [], "usage": END})
        events = [b"data: %b\n\n" % json.dumps(one).encode() for one in chunks] + [b"data: [DONE]\n\n"]
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for one in events:
            writer.write(b"%x\r\n%b\r\n" % (len(one), one))
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    return script


@pytest.fixture
def knowledge():
    found = FakeKnowledge()
    found.put("manuals", "pump.md", "# Repairs\n\nThe heating pump is repaired by Ivanov.", page=4)
    found.put("manuals", "https://example.org/pumps", "Petrov repairs the heating pump on Sundays.",
              place="https://example.org/pumps", kind=Kind.PAGE)  # fmt: skip
    found.put("secrets", "keys.md", "The heating pump has the key 4711.")
    return found


class Memory:
    """What the owner has switched on."""

    def __init__(self):
        self.settings = MemorySettings()


@pytest.fixture
def memory():
    return Memory()


@pytest.fixture
async def library(knowledge, memory):
    in_use = KnowledgeInUse(
        KnowledgeReader(lambda: knowledge, time_limit=5),
        ConversationMemory(lambda: knowledge, lambda: memory.settings, delay=0.01),
    )
    async with a_gateway(roles=ROLES, ensembles=ENSEMBLES, knowledge=in_use) as found:
        found.engine.script = said()
        found.in_use = in_use
        yield found
    await in_use.close()


@dataclass
class Received:
    """One answer."""

    status: int
    headers: dict
    body: bytes


async def raw(running, content):
    status, headers, body = await raw_answer(running, content)
    return Received(status, headers, body)


def sent(running, call=-1):
    return json.loads(running.engine.calls[call].body)["messages"]


def ask(model="librarian", **more):
    return json.dumps({"model": model, "messages": [{"role": "user", "content": QUESTION}], **more}).encode()


def events_of(body):
    return [json.loads(one[6:]) for one in body.decode().split("\n\n") if one.startswith("data: {")]


async def test_a_whole_answer_tells_its_sources_and_where_they_are_cited(library):
    async with library.client() as client:
        answer = await client.chat.completions.with_raw_response.create(
            model="librarian", messages=[{"role": "user", "content": QUESTION}]
        )
    content = sent(library)[-1]["content"]
    assert content.startswith(QUESTION)
    assert content.index("repaired by Ivanov") < content.index("[Role: librarian]")
    assert "4711" not in content
    assert answer.headers["x-ansambl-sources"] == "2"
    found = answer.parse()
    message = found.choices[0].message
    assert message.content == SAID
    assert [(one.url_citation.start_index, one.url_citation.end_index) for one in message.annotations] == [(18, 21)]
    assert SAID[18:21] == "[1]"
    assert message.annotations[0].url_citation.title == "pump.md, page 4, Repairs"
    assert message.annotations[0].url_citation.url.endswith("/console/knowledge/documents/1?passage=0")
    told = found.ansambl["sources"]
    assert [(one["number"], one["title"], one["page"], one["cited"]) for one in told] == [
        (1, "pump.md", 4, True), (2, "https://example.org/pumps", None, False),
    ]  # fmt: skip
    assert told[0]["citation"] == "pump.md, page 4, Repairs"
    assert told[1]["url"] == "https://example.org/pumps"
    # A web page has its own address, and can be read here as it was when it was taken in.
    assert [(one["passage"], one["link"]) for one in told] == [
        ("1.0", "/console/knowledge/documents/1?passage=0"), ("2.0", "/console/knowledge/documents/2?passage=0"),
    ]  # fmt: skip


async def test_a_stream_cites_before_its_end_and_is_the_engines_own_otherwise(library):
    async with library.client() as client:
        stream = await client.chat.completions.create(
            model="librarian", messages=[{"role": "user", "content": QUESTION}], stream=True,
            stream_options={"include_usage": True},
        )  # fmt: skip
        chunks = [one async for one in stream]
    content = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert content == SAID
    finish = next(place for place, one in enumerate(chunks) if one.choices and one.choices[0].finish_reason)
    cites = [place for place, one in enumerate(chunks) if one.choices and hasattr(one.choices[0].delta, "annotations")]
    assert cites == [finish - 1]
    assert chunks[cites[0]].choices[0].delta.annotations[0]["url_citation"]["start_index"] == 18
    assert chunks[-1].usage.total_tokens == 12
    assert len(chunks[-1].ansambl["sources"]) == 2
    assert not any("event" in (one.model_extra or {}) for one in chunks)


async def test_the_openai_stream_helper_understands_it(library):
    async with (
        library.client() as client,
        client.chat.completions.stream(model="librarian", messages=[{"role": "user", "content": QUESTION}]) as stream,
    ):
        async for _ in stream:
            pass
        found = await stream.get_final_completion()
    assert found.choices[0].message.content == SAID
    assert len(found.choices[0].message.annotations) == 1


async def test_anthropics_client_gets_citations(library):
    async with anthropic.AsyncAnthropic(
        base_url=f"http://127.0.0.1:{library.port}", api_key="any", max_retries=0, timeout=20,
        _strict_response_validation=True,
    ) as client:  # fmt: skip
        asking = {"model": "librarian", "max_tokens": 50, "messages": [{"role": "user", "content": QUESTION}]}
        whole = await client.messages.create(**asking)
        async with client.messages.stream(**asking) as stream:
            cited = [one.citation async for one in stream if one.type == "citation"]
            last = await stream.get_final_message()
    for message in (whole, last):
        (block,) = message.content
        assert block.text == SAID
        (one,) = block.citations
        assert (one.type, one.search_result_index, one.title) == (
            "search_result_location", 0, "pump.md, page 4, Repairs",
        )  # fmt: skip
        assert one.cited_text == "The heating pump is repaired by Ivanov."
    assert [one.search_result_index for one in cited] == [0]


async def test_openais_responses_carry_annotations(library):
    async with openai.AsyncOpenAI(
        base_url=f"http://127.0.0.1:{library.port}/v1", api_key="any", max_retries=0, timeout=20,
        _strict_response_validation=True,
    ) as client:  # fmt: skip
        whole = await client.responses.create(model="librarian", input=QUESTION)
        async with client.responses.stream(model="librarian", input=QUESTION) as stream:
            events = [one async for one in stream]
            last = await stream.get_final_response()
    for response in (whole, last):
        (note,) = response.output[-1].content[0].annotations
        assert (note.type, note.start_index, note.end_index) == ("url_citation", 18, 21)
    assert [one.type for one in events].count("response.output_text.annotation.added") == 1


async def test_ollamas_clients_are_told_in_a_field_of_ours(library):
    body = json.dumps({"model": "librarian", "stream": False, "messages": [{"role": "user", "content": QUESTION}]})
    answer = await raw(library, post(body.encode(), "/api/chat"))
    assert answer.status == 200
    found = json.loads(answer.body)
    assert found["message"]["content"] == SAID
    assert [one["cited"] for one in found["ansambl"]["sources"]] == [True, False]


async def test_open_webui_gets_its_events_before_the_answer(library):
    answer = await raw(library, post(ask(stream=True), **OPEN_WEBUI))
    chunks = events_of(answer.body)
    events = [one["event"] for one in chunks if "event" in one]
    assert chunks[: len(events)] == [one for one in chunks if "event" in one]
    assert all(one["choices"][0]["delta"] == {"content": ""} for one in chunks[: len(events)])
    assert events[0] == {"type": "status", "data": {"description": "Passages found in the documents: 2", "done": True}}
    first, second = (one["data"] for one in events[1:])
    assert first["document"] == ["The heating pump is repaired by Ivanov."]
    assert first["metadata"][0]["page"] == 3, "Open WebUI counts pages from 0"
    assert 0 <= first["distances"][0] <= 1
    # No identity is an address, so that no other service is asked for a picture; each passage has its own.
    for one in (first, second):
        assert "://" not in one["metadata"][0]["source"] + one["source"]["id"]
    assert first["metadata"][0]["source"] != second["metadata"][0]["source"]
    assert not any("annotations" in one["choices"][0]["delta"] for one in chunks if one["choices"])
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in chunks if one["choices"]) == SAID


async def test_nothing_found_is_told_to_the_model_and_to_the_client(library):
    body = json.dumps(
        {"model": "librarian", "stream": True, "messages": [{"role": "user", "content": "Кто такой Пушкин?"}]}
    )
    answer = await raw(library, post(body.encode(), **OPEN_WEBUI))
    assert "в документах это не найдено" in sent(library)[-1]["content"]
    events = [one["event"] for one in events_of(answer.body) if "event" in one]
    assert [one["data"]["description"] for one in events] == ["Nothing was found in the documents"]
    assert answer.headers["x-ansambl-sources"] == "0"


async def test_a_search_that_fails_is_told_and_the_role_answers(library, knowledge):
    knowledge.failure = UnavailableError(text("The index is being rebuilt."))
    answer = await raw(library, post(ask()))
    assert answer.status == 200
    assert "could not be searched" in sent(library)[-1]["content"]
    assert json.loads(answer.body)["ansambl"]["knowledge"]["failure"] == "The index is being rebuilt."


async def test_a_request_may_switch_it_off_or_choose(library, knowledge):
    await raw(library, post(ask(ansambl={"knowledge": False})))
    assert "Ivanov" not in sent(library)[-1]["content"]
    assert knowledge.searched == []
    await raw(library, post(ask(ansambl={"knowledge": ["manuals"]})))
    assert "Ivanov" in sent(library)[-1]["content"]
    refused = await raw(library, post(ask(ansambl={"knowledge": ["secrets"]})))
    assert refused.status == 400
    assert "'librarian' does not read the collection 'secrets'; it reads: manuals." in refused.body.decode()
    plain = await raw(library, post(ask("big", ansambl={"knowledge": ["manuals"]})))
    assert plain.status == 400
    wrong = await raw(library, post(ask(ansambl={"knowledge": "manuals"})))
    assert wrong.status == 400


async def test_titles_and_plain_models_search_nothing(library, knowledge):
    task = [{"role": "user", "content": "### Task:\nGenerate a concise title.\n<chat_history>x</chat_history>"}]
    body = json.dumps({"model": "librarian", "stream": False, "messages": task}).encode()
    answer = await raw(library, post(body, x_task="title_generation"))
    assert answer.status == 200
    await raw(library, post(ask("big")))
    await raw(library, post(ask("poet")))
    assert knowledge.searched == []
    assert "Ivanov" not in sent(library)[-1]["content"]


async def test_two_roles_send_the_same_bytes_up_to_their_notes(library):
    await raw(library, post(ask("librarian")))
    await raw(library, post(ask("clerk")))
    one, other = (sent(library, place)[-1]["content"].partition("[Role:")[0] for place in (-2, -1))
    assert one == other
    assert "Ivanov" in one


async def test_the_next_turn_begins_with_the_bytes_of_this_one(library):
    await raw(library, post(ask()))
    first = sent(library)
    history = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": SAID},
               {"role": "user", "content": "And what about Sundays?"}]  # fmt: skip
    await raw(library, post(json.dumps({"model": "clerk", "messages": history}).encode()))
    second = sent(library)
    assert second[: len(first)] == first
    assert second[len(first)]["content"] == SAID


async def test_a_tool_loop_searches_once(library, knowledge):
    call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]
    choice = {"index": 0, "message": {"role": "assistant", "content": None, "tool_calls": [call]},
              "finish_reason": "tool_calls"}  # fmt: skip
    library.engine.script = library.engine.fixed(
        reply(json.dumps({"id": "c", "object": "chat.completion", "created": 1, "model": "there", "choices": [choice],
                          "usage": END}).encode())
    )  # fmt: skip
    await raw(library, post(ask(tools=tools)))
    library.engine.script = said()
    history = [
        {"role": "user", "content": QUESTION}, {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]  # fmt: skip
    answer = await raw(library, post(json.dumps({"model": "librarian", "messages": history, "tools": tools}).encode()))
    assert len(knowledge.searched) == 1
    assert sent(library, -1)[0] == sent(library, -2)[0]
    assert [one["cited"] for one in json.loads(answer.body)["ansambl"]["sources"]] == [True, False]


async def test_members_of_an_ensemble_read_once_and_its_answer_cites(library, knowledge):
    answer = await raw(library, post(ask("library", stream=True)))
    assert len(knowledge.searched) == 1
    assert all("Ivanov" in sent(library, place)[-1]["content"] for place in range(len(library.engine.calls)))
    chunks = events_of(answer.body)
    notes = [one["choices"][0]["delta"]["annotations"] for one in chunks
             if one["choices"] and "annotations" in one["choices"][0]["delta"]]  # fmt: skip
    assert [one["url_citation"]["start_index"] for one in notes[0]] == [18]
    assert len(chunks[-1]["ansambl"]["sources"]) == 2
    shown = await raw(library, post(ask("library", stream=True), **OPEN_WEBUI))
    kinds = [one["event"]["type"] for one in events_of(shown.body) if "event" in one]
    assert kinds == ["status", "source", "source"]


async def test_the_member_that_a_route_chooses_reads(library):
    answer = await raw(library, post(ask("desk")))
    assert "Ivanov" in sent(library)[-1]["content"]
    found = json.loads(answer.body)
    assert found["ansambl"]["route"]["role"] == "librarian"
    assert len(found["ansambl"]["sources"]) == 2
    assert found["choices"][0]["message"]["annotations"]


async def test_a_key_that_may_not_use_the_role_reaches_nothing(knowledge):
    in_use = KnowledgeInUse(KnowledgeReader(lambda: knowledge), ConversationMemory(lambda: None, MemorySettings))
    caller = Caller("k1", names=frozenset({"poet"}))
    async with a_gateway(roles=ROLES, ensembles=ENSEMBLES, knowledge=in_use, door=DoorOf(caller)) as running:
        for name in ("librarian", "library", "desk"):
            refused = await raw(running, post(ask(name)))
            assert refused.status in {403, 404}
        assert knowledge.searched == []
        assert running.engine.calls == []


async def test_new_conversations_are_remembered_only_where_that_is_switched_on(library, knowledge, memory):
    await raw(library, post(ask("poet")))
    await library.in_use.memory.close()
    assert [one.name for one in knowledge.collections()] == ["manuals", "secrets"]
    memory.settings = MemorySettings(True)
    await raw(library, post(ask("poet", ansambl={"memory": False})))
    task = json.dumps({"model": "poet", "messages": [{"role": "user", "content": "A title?"}]}).encode()
    await raw(library, post(task, x_task="title_generation"))
    await library.in_use.memory.close()
    assert [one.name for one in knowledge.collections()] == ["manuals", "secrets"]
    for name in ("poet", "big", "library", "librarian"):
        messages = [{"role": "user", "content": f"{QUESTION} Ask {name}."}]
        body = json.dumps({"model": name, "messages": messages, "stream": name == "poet"}).encode()
        assert (await raw(library, post(body))).status == 200
    await library.in_use.memory.close()
    kept = [knowledge.conversation(str(one.id)) for one in knowledge.documents("memory")]
    assert [one.turns[-1].author for one in kept] == ["poet", "big", "library", "librarian"]
    # What was said, and nothing of what stood beside it in the prompt.
    assert [one.turns[0].text for one in kept] == [f"{QUESTION} Ask {one.turns[-1].author}." for one in kept]
    assert {one.turns[1].text for one in kept} == {SAID}


class SlowKnowledge(FakeKnowledge):
    """Its searches wait."""

    def __init__(self):
        super().__init__()
        self.go, self.begun = threading.Event(), threading.Event()
        self.put("manuals", "pump.md", "The heating pump is repaired by Ivanov.")

    def search(self, query, filters=NO_FILTERS, *, limit=10, vectors=True):
        self.begun.set()
        self.go.wait(20)
        return super().search(query, filters, limit=limit, vectors=vectors)


async def test_a_slow_search_is_shown_by_open_webui_and_left_with_the_client():
    slow = SlowKnowledge()
    in_use = KnowledgeInUse(
        KnowledgeReader(lambda: slow, time_limit=15), ConversationMemory(lambda: None, MemorySettings)
    )
    try:
        async with a_gateway(roles=ROLES, ensembles=ENSEMBLES, knowledge=in_use) as running:
            running.engine.script = said()
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(post(ask(stream=True), **OPEN_WEBUI))
            seen = await asyncio.wait_for(reader.readuntil(b"Searching the documents"), 20)
            assert b"200" in seen
            writer.close()
            await until(lambda: not running.gateway.answering.running, "the client's leaving was noticed")
            assert running.engine.calls == []
            slow.go.set()
            answer = await raw(running, post(ask(stream=True), **OPEN_WEBUI))
            assert b"Passages found" in answer.body
    finally:
        slow.go.set()


async def test_what_a_search_named_is_read_over_http(library, knowledge):
    knowledge.put("manuals", "long.md", "First words.\n\nThe valve is green.\n\nLast words.")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{library.port}", trust_env=False) as client:
        found = (await client.post("/v1/knowledge/search", json={"query": "valve"})).json()["data"][0]
        assert found["id"] == "4.1"
        near = await client.post("/v1/knowledge/passage", json={"id": found["id"], "around": 1})
        part = await client.post("/v1/knowledge/document", json={"id": 4, "start": 6, "length": 5})
        wrong = {
            path: await client.post(f"/v1/knowledge/{path}", json=body)
            for path, body in (("document", {"id": 99}), ("passage", {"id": "4.9"}))
        }
        bad = await client.post("/v1/knowledge/passage", json={"id": "x"})
        no_object = await client.post("/v1/knowledge/document", json=[4])
    assert [(one["text"], one["asked"]) for one in near.json()["data"]] == [
        ("First words.", False), ("The valve is green.", True), ("Last words.", False),
    ]  # fmt: skip
    told = part.json()
    assert (told["text"], told["start"], told["next"], told["document"]) == ("words", 6, 11, "long.md")
    assert "place" not in told
    assert {one.status_code for one in wrong.values()} == {404}
    assert (bad.status_code, bad.json()["error"]["param"]) == (400, "id")
    assert no_object.status_code == 400
