"""Why llama.cpp's own messages and responses are not used: what the real engine loses of them, asked directly.

When one of these fails with a newer build, its `native` dialects are to be judged anew (docs/reference/http.md).
"""

from __future__ import annotations

import json

import psutil
import pytest
from llama_engines import BUNDLED, OWN, Engines, chat_body

from ansambl.model_catalog.embedded import find

pytestmark = pytest.mark.engine

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


@pytest.fixture(params=[BUNDLED, OWN])
async def running(request, tmp_path, embedded_model_folder):
    engines = Engines(request.param, tmp_path)
    async with engines.started(find(embedded_model_folder)) as found:
        yield found
    await engines.close()
    assert not [child for child in psutil.Process().children(recursive=True) if child.status() != "zombie"]


async def test_a_message_hears_no_slot_and_no_order_to_use_nothing_of_before(running):
    words = "one two three four five six seven eight nine ten " * 5
    await running.post("/v1/chat/completions", chat_body(words, 1, id_slot=0))
    message = {"max_tokens": 1, "messages": [{"role": "user", "content": words}]}
    asked = await running.post("/v1/messages", {**message, "id_slot": 1, "cache_prompt": False})
    assert asked["usage"]["cache_read_input_tokens"] > 40
    # The same order in a chat is obeyed.
    chat = await running.post("/v1/chat/completions", chat_body(words, 1, id_slot=0, cache_prompt=False))
    assert not chat["usage"]["prompt_tokens_details"]["cached_tokens"]


async def test_a_message_loses_documents_and_the_form_of_its_answer(running):
    source = {"type": "text", "media_type": "text/plain", "data": "The word is: heliotrope. " * 20}
    content = [{"type": "document", "source": source}, {"type": "text", "text": "hi"}]
    asked = {"max_tokens": 8, "temperature": 0, "messages": [{"role": "user", "content": content}]}
    assert (await running.post("/v1/messages", asked))["usage"]["input_tokens"] < 60
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    plain = {"max_tokens": 8, "temperature": 0, "messages": [{"role": "user", "content": "hi"}]}
    answer = await running.post("/v1/messages", {**plain, "output_config": form})
    assert not answer["content"][0]["text"].startswith("{")


async def test_a_response_loses_the_form_of_its_answer_and_calls_a_cut_one_complete(running):
    form = {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA}}
    answer = await running.post(
        "/v1/responses", {"input": "hi", "max_output_tokens": 40, "temperature": 0, "text": form}
    )
    said = answer["output"][0]["content"][0]["text"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(said)
    cut = await running.post("/v1/responses", {"input": "hi", "max_output_tokens": 2})
    assert cut["status"] == "completed"
    assert cut.get("incomplete_details") is None


async def test_what_a_chat_model_serves_beside_the_chat(running):
    """As `LlamaAbilities.operations` says of it."""
    await running.post("/v1/completions", {"prompt": "a", "max_tokens": 1})
    counted = await running.post("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "hi"}]})
    assert counted["input_tokens"] > 0
    for path, fields in (("/v1/embeddings", {"input": "a"}), ("/v1/rerank", {"query": "a", "documents": ["b"]})):
        assert (await running.client.post(path, json=fields)).status_code == 501
    heard = await running.client.post("/v1/audio/transcriptions", data={"model": "m"}, files={"file": b"RIFF"})
    assert heard.status_code == 501
    for path in ("/v1/audio/speech", "/v1/images/generations", "/v1/moderations"):
        assert (await running.client.post(path, json={"input": "a", "prompt": "a"})).status_code == 404
