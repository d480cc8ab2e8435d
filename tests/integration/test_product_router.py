"""Ollama's API and llama.cpp's router against the product with the real llama.cpp."""

from __future__ import annotations

import json
import threading

import httpx
import pytest
from product import wait_for

pytestmark = pytest.mark.engine

ASK = [{"role": "user", "content": "What is the capital of France?"}]
SHORT = {"num_predict": 5, "temperature": 0, "num_ctx": 2048}


def ask(product, path, **fields):
    answer = product.client.post(f"/api/{path}", json={"model": "brief:latest", **fields})
    assert answer.status_code == 200, answer.text
    return answer


def value(product, name="brief"):
    listed = product.client.get("/models").json()["data"]
    return next(one["status"]["value"] for one in listed if one["id"] == name)


class Listener:
    """Reads the events of the router in a thread of its own."""

    def __init__(self, address):
        self.events = []
        self.listening, self.ended = threading.Event(), threading.Event()
        self._client = httpx.Client(base_url=address, timeout=60)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        with self._client, self._client.stream("GET", "/models/sse") as answer:
            for line in answer.iter_lines():
                self.listening.set()
                if line.startswith("data: "):
                    self.events.append(json.loads(line.removeprefix("data: ")))
        self.ended.set()

    def of(self, name):
        return [one["data"]["status"] for one in self.events if one["model"] == name]


def test_models_are_loaded_asked_and_unloaded_as_ollama_and_the_router_do_it(start):
    product = start()
    listener = Listener(product.address)
    assert listener.listening.wait(20)
    assert ask(product, "generate", keep_alive=0).json()["done_reason"] == "unload"
    wait_for(lambda: value(product) == "unloaded", "it is unloaded", 20)
    assert ask(product, "generate").json()["done_reason"] == "load"
    assert value(product) == "loaded"
    wait_for(lambda: listener.of("brief")[-1:] == ["loaded"], "the load is told", 20)
    assert "loading" in listener.of("brief")
    running = product.client.get("/api/ps").json()["models"]
    assert {"brief:latest", "embedded:latest"} <= {one["name"] for one in running}
    assert all(one["context_length"] > 0 and one["size"] > 0 for one in running)

    lines = [json.loads(one) for one in ask(product, "chat", messages=ASK, options=SHORT).text.splitlines()]
    last = lines[-1]
    assert "".join(one["message"]["content"] for one in lines)
    assert (last["done_reason"], last["eval_count"]) == ("length", 5)
    assert last["prompt_eval_count"] > 5
    parts = [last[f"{name}_duration"] for name in ("load", "prompt_eval", "eval")]
    assert min(parts) > 0
    assert sum(parts) <= last["total_duration"]

    first = ask(product, "generate", prompt="My name is Bo.", options=SHORT, stream=False).json()
    again = ask(product, "generate", prompt="Who am I?", context=first["context"], options=SHORT, stream=False).json()
    assert again["prompt_eval_count"] > first["prompt_eval_count"]
    schema = {"type": "object", "properties": {"city": {"type": "string", "maxLength": 9}}, "required": ["city"]}
    shaped = ask(product, "chat", messages=ASK, format=schema, stream=False, options={"temperature": 0}).json()
    assert set(json.loads(shaped["message"]["content"])) == {"city"}
    told = ask(product, "chat", messages=ASK, logprobs=True, top_logprobs=2, options=SHORT, stream=False).json()
    assert len(told["logprobs"]) == 5
    assert all(one["logprob"] <= 0 and len(one["top_logprobs"]) == 2 for one in told["logprobs"])
    assert product.instance()["restarts"] == 0, "no num_ctx has loaded anything again"

    greeting = product.client.get("/", headers={"user-agent": "ollama-python/0.6.3"})
    assert (greeting.status_code, greeting.text) == (200, "Ollama is running")
    assert product.client.head("/", headers={"user-agent": "ollama-python/0.6.3"}).status_code == 200
    assert product.client.head("/").status_code == 200
    assert "<html" in product.client.get("/", headers={"accept": "text/html"}).text

    shown = ask(product, "show").json()
    assert shown["details"]["format"] == "gguf"
    assert shown["model_info"]["general.architecture"] == "llama"
    assert shown["model_info"]["llama.context_length"] > 0

    assert ask(product, "chat", keep_alive=0).json()["done_reason"] == "unload"
    wait_for(lambda: value(product) == "unloaded", "it is unloaded", 20)
    wait_for(lambda: listener.of("brief")[-1:] == ["unloaded"], "that is told", 20)
    assert product.client.post("/models/load", json={"model": "council"}).json() == {"success": True}
    wait_for(lambda: value(product, "council") == "loaded", "it is loaded", 60)
    assert product.stop() == 0
    listener.ended.wait(20)
    assert listener.ended.is_set(), "its stream came to an end, and was not broken off"
