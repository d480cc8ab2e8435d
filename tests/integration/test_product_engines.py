"""What engines do beside the chat, through the whole product on the real llama.cpp."""

from __future__ import annotations

import json
import math

import httpx
import openai
import pytest
from product import stream_events
from random_encoders import HIDDEN, write_encoder

pytestmark = pytest.mark.engine

CONFIGURATION = """
[models.embedded]
checkpoint = "embedded"
context = 2048
parallel = 2

[models.vectors]
checkpoint = "{folder}/encoder.gguf"
context = 512
aliases = ["text-embedding-3-small"]

[models.scores]
checkpoint = "{folder}/reranker.gguf"
context = 512

[roles.coder]
instruction = "Answer in few words."
model = "embedded"
"""


@pytest.fixture
def product(start, tmp_path):
    write_encoder(tmp_path / "encoder.gguf")
    write_encoder(tmp_path / "reranker.gguf", scores=True)
    return start(CONFIGURATION.format(folder=tmp_path))


@pytest.fixture
def client(product):
    with openai.OpenAI(base_url=f"{product.address}/v1", api_key="any", max_retries=0) as found:
        yield found


def test_each_model_does_what_it_was_made_for(product, client):
    found = client.embeddings.create(model="text-embedding-3-small", input=["hello world", "other", "hello world"])
    plain = client.embeddings.create(model="vectors", input="hello world", encoding_format="float")
    vectors = [one.embedding for one in found.data]
    assert [len(one) for one in vectors] == [HIDDEN] * 3
    assert vectors[0] == pytest.approx(vectors[2], abs=1e-5)
    assert math.hypot(*vectors[0]) == pytest.approx(1, abs=1e-3)
    assert plain.data[0].embedding == pytest.approx(vectors[0], abs=1e-5)

    documents = ["hello world", "zzz yyy"]
    for path in ("/v1/rerank", "/v2/rerank"):
        answer = product.client.post(
            path, json={"model": "scores", "query": "hello", "documents": documents, "top_n": 1}
        ).json()
        [best] = answer["results"]
        assert best["index"] in (0, 1)
        assert isinstance(best["relevance_score"], float)

    said = client.completions.create(model="embedded", prompt="The capital of France is", max_tokens=3, temperature=0)
    assert said.object == "text_completion"
    assert "Paris" in said.choices[0].text
    stream = client.completions.create(
        model="coder", prompt="Say hello.", max_tokens=8, stream=True, stream_options={"include_usage": True}
    )
    parts = list(stream)
    assert "".join(one.choices[0].text for one in parts if one.choices).strip()
    assert parts[-1].usage.completion_tokens > 0
    # A role's prompt is a message with its note, so it is longer than the text.
    assert parts[-1].usage.prompt_tokens > 10

    for model, path, fields, able in (
        ("embedded", "/v1/embeddings", {"input": "a"}, "vectors"),
        ("coder", "/v1/embeddings", {"input": "a"}, "vectors"),
        ("vectors", "/v1/rerank", {"query": "a", "documents": ["b"]}, "scores"),
        ("scores", "/v1/completions", {"prompt": "a"}, "embedded"),
    ):
        refused = product.client.post(path, json={"model": model, **fields})
        assert refused.status_code == 501, path
        assert able in refused.json()["error"]["message"]
    refused = product.client.post("/v1/images/generations", json={"model": "dall-e-3", "prompt": "a cat"})
    assert refused.status_code == 501
    assert "address" in refused.json()["error"]["message"]
    refused = product.client.post("/v1/audio/transcriptions", data={"model": "whisper-1"}, files={"file": b"RIFF"})
    assert refused.status_code == 501
    assert "Whisper" in refused.json()["error"]["message"]
    assert product.stop() == 0


def test_completions_keep_to_the_slot_of_their_beginning(product):
    words = "one two three four five six seven eight nine ten " * 12
    first = product.client.post("/v1/completions", json={"model": "embedded", "prompt": words, "max_tokens": 1}).json()
    other = {"model": "embedded", "prompt": "Something else entirely is asked here", "max_tokens": 1}
    product.client.post("/v1/completions", json=other)
    longer = {"model": "embedded", "prompt": words + "eleven", "max_tokens": 1, "stream": True}
    with product.client.stream("POST", "/v1/completions", json=longer) as answer:
        events = stream_events(answer.iter_lines())
    cached = next(one for one in reversed(events) if one != "[DONE]")["timings"]["cache_n"]
    assert cached > first["usage"]["prompt_tokens"] - 5


def test_answers_are_the_engines_own_bytes(product, start, tmp_path):
    """The first product's models are attached to by a second one, so that the engine's own answer can be asked for."""
    tables = "".join(f'[models.{one}]\naddress = "{product.address}/v1"\n' for one in ("vectors", "scores"))
    second = start(tables, data=tmp_path / "second", ready=False)
    cases = (
        ("/v1/embeddings", {"model": "vectors", "input": ["hello", "world"]}),
        ("/v1/embeddings", {"model": "vectors", "input": [[5, 6], [7]], "encoding_format": "base64"}),
        ("/v1/rerank", {"model": "scores", "query": "hello", "documents": ["a", "b"]}),
    )
    for path, fields in cases:
        direct, through = (httpx.post(f"{one.address}{path}", json=fields) for one in (product, second))
        assert through.status_code == direct.status_code == 200
        assert through.content == direct.content
        assert json.loads(direct.content)["model"] == fields["model"]


def test_what_llama_cpps_own_routes_lose_is_why_they_are_translated(product):
    """A document in a message, a response that has a form, and one that was cut."""
    source = {"type": "text", "media_type": "text/plain", "data": "The word is: heliotrope. " * 20}
    message = {
        "model": "embedded", "max_tokens": 4,
        "messages": [{"role": "user", "content": [{"type": "document", "source": source}]}],
    }  # fmt: skip
    answer = product.client.post("/v1/messages", json=message).json()
    assert answer["usage"]["input_tokens"] > 100
    counted = product.client.post("/v1/messages/count_tokens", json=message).json()
    assert counted["input_tokens"] > 100
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    form = {"format": {"type": "json_schema", "name": "a", "schema": schema}}
    response = {"model": "embedded", "input": "hi", "max_output_tokens": 40, "temperature": 0, "text": form}
    answer = product.client.post("/v1/responses", json=response).json()
    said = "".join(part["text"] for one in answer["output"] for part in one.get("content", []))
    assert set(json.loads(said)) == {"a"}
    with openai.OpenAI(base_url=f"{product.address}/v1", api_key="any", max_retries=0) as client:
        asked = client.responses.input_tokens.count(model="embedded", input="hi")
    assert asked.input_tokens == answer["usage"]["input_tokens"]
    cut = product.client.post("/v1/responses", json={"model": "embedded", "input": "hi", "max_output_tokens": 2}).json()
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
