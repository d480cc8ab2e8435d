"""Discovery against real sockets on loopback: each product's recorded answers, and whatever else may listen there."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansambl.runtime import discovery
from ansambl.runtime.discovery import Candidate, Found, FoundModel

RECORDED = Path(__file__).parents[2] / "data" / "discovery"
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(handler: Handler) -> AsyncIterator[int]:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await handler(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def recorded(name: str, asked: list[str] | None = None) -> Handler:
    answers = json.loads((RECORDED / name).read_text())

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            if asked is not None:
                asked.append(path)
            known = path in answers["paths"]
            status = 200 if known else answers["default"]["status"]
            body = json.dumps(answers["paths"][path] if known else answers["default"]["body"]).encode()
            server = f"Server: {answers['server']}\r\n" if answers["server"] else ""
            writer.write(f"HTTP/1.1 {status} X\r\n{server}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()

    return handle


async def look(handler: Handler, patience: float = 5.0) -> list[Found]:
    async with listening(handler) as port:
        found = await discovery.discover(candidates=[Candidate("anything", port)], timeout=patience)
        for one in found:
            assert one.address == f"http://127.0.0.1:{port}/v1"
        return found


async def test_ollama_tells_version_sizes_and_what_is_loaded():
    (found,) = await look(recorded("ollama.json"))
    assert (found.server, found.version) == ("Ollama", "0.12.6")
    assert found.models == (
        FoundModel("gemma3:latest", loaded=True, parameters=4.3),
        FoundModel("qwen3:32b", loaded=False, parameters=32.8),
    )


async def test_ollama_without_models_is_found_and_offers_nothing():
    found = await look(recorded("ollama_empty.json"))
    assert [(one.server, one.models) for one in found] == [("Ollama", ())]
    assert discovery.choose(found) is None


async def test_lm_studio_tells_types_and_states_and_its_200_for_unknown_paths_deceives_nobody():
    (found,) = await look(recorded("lm_studio.json"))
    assert (found.server, found.version) == ("LM Studio", None)
    assert found.models == (
        FoundModel("qwen2-vl-7b-instruct", loaded=False, kind="vlm", parameters=7.0),
        FoundModel("meta-llama-3.1-8b-instruct", loaded=True, kind="llm", parameters=8.0),
    )


async def test_vllm_is_told_by_its_version_and_owner():
    (found,) = await look(recorded("vllm.json"))
    assert (found.server, found.version) == ("vLLM", "0.11.0")
    assert [(one.name, one.loaded, one.parameters) for one in found.models] == [
        ("openai/gpt-oss-120b", True, 120.0),
        ("sql-lora", True, None),
    ]


async def test_sglang_is_told_by_the_owner_of_its_models_and_its_adapters_are_none():
    (found,) = await look(recorded("sglang.json"))
    assert (found.server, found.version) == ("SGLang", None)
    assert [(one.name, one.loaded, one.parameters) for one in found.models] == [("qwen3-32b", True, 32.0)]


async def test_llama_server_tells_build_and_parameters():
    (found,) = await look(recorded("llama_server.json"))
    assert (found.server, found.version) == ("llama-server", "b6910-7fd205a8e")
    (model,) = found.models
    assert (model.loaded, model.parameters) == (True, pytest.approx(30.53, abs=0.01))


async def test_llama_server_in_router_mode_tells_which_model_is_loaded():
    (found,) = await look(recorded("llama_server_router.json"))
    assert [(one.name, one.loaded) for one in found.models] == [
        ("ggml-org/gemma-3-4b-it-GGUF:Q4_K_M", False),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", True),
    ]
    attachment = discovery.choose([found])
    assert attachment is not None
    assert (attachment.model, attachment.name) == ("SmolLM2-135M-Instruct.Q4_1", "SmolLM2-135M-Instruct.Q4_1.gguf")


async def test_a_stranger_that_speaks_openai_is_reported_as_one():
    (found,) = await look(recorded("stranger.json"))
    assert (found.server, found.version) == ("an OpenAI-compatible server", None)
    assert found.models == (FoundModel("house-model-13b", parameters=13.0),)


async def test_a_web_server_with_a_version_is_not_found_and_asked_only_once():
    asked: list[str] = []
    assert await look(recorded("web_server.json", asked)) == []
    assert asked == ["/v1/models"]


async def answer_garbage(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\xff\x16\x03\x01 SSH-2.0 \r\n\r\n" * 50)
    await writer.drain()


async def answer_nothing(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def answer_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n13\r\n{"object": "list", \r\n')
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def answer_deep_json(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = b"[" * 200_000
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def answer_compressed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    body = gzip.compress(b'{"object": "list", "data": []' + b" " * 1_000_000 + b"}")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def answer_elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://192.0.2.1/v1/models\r\nContent-Length: 0\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    "handler", [answer_garbage, answer_without_end, answer_deep_json, answer_compressed, answer_elsewhere]
)
async def test_whatever_else_answers_there_is_not_found(handler: Handler):
    assert await look(handler) == []


async def test_a_port_that_never_answers_holds_nobody_up():
    async with listening(answer_nothing) as silent, listening(recorded("vllm.json")) as speaking:
        candidates = [Candidate("x", silent), Candidate("y", speaking)]
        async with asyncio.timeout(30):
            found = await discovery.discover(candidates=candidates, timeout=1.0)
    assert [one.server for one in found] == ["vLLM"]


async def test_excluded_ports_and_addresses_of_other_machines_are_not_asked():
    asked: list[str] = []
    async with listening(recorded("vllm.json", asked)) as port:
        candidates = [Candidate("x", port), Candidate("y", port, host="192.0.2.1"), Candidate("z", port, host="host")]
        assert await discovery.discover(candidates=candidates, exclude_ports=[port]) == []
        assert await discovery.discover(candidates=candidates[1:]) == []
    assert asked == []


async def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert len(await look(recorded("vllm.json"))) == 1


async def test_ollama_host_moves_the_default_address(monkeypatch: pytest.MonkeyPatch):
    async with listening(recorded("ollama.json")) as port:
        monkeypatch.setenv("OLLAMA_HOST", f"localhost:{port}")
        found = await discovery.discover(timeout=5.0, exclude_ports=[1234, 8000, 8080])
    assert [(one.server, one.address) for one in found] == [("Ollama", f"http://127.0.0.1:{port}/v1")]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("127.0.0.1:9999", ("127.0.0.1", 9999)),
        ("http://localhost:9999/", ("127.0.0.1", 9999)),
        ("[::1]:9999", ("::1", 9999)),
        (":9999", ("127.0.0.1", 9999)),
        ("127.0.0.2", ("127.0.0.2", 11434)),
        ("0.0.0.0:9999", ("127.0.0.1", 11434)),
        ("10.0.0.5:9999", ("127.0.0.1", 11434)),
        ("evil.example:80", ("127.0.0.1", 11434)),
        ("127.0.0.1:99999", ("127.0.0.1", 11434)),
        ("127.0.0.1:1@evil.example", ("127.0.0.1", 11434)),
        ("", ("127.0.0.1", 11434)),
        (None, ("127.0.0.1", 11434)),
    ],
)
def test_ollama_host_counts_only_when_it_is_loopback(value, expected):
    first = discovery.with_ollama_host(discovery.DEFAULT, value)[0]
    assert (first.host, first.port) == expected


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("qwen3:32b", 32),
        ("Qwen3-30B-A3B-GGUF", 30),
        ("mixtral-8x7b-instruct", 56),
        ("openai/gpt-oss-120b", 120),
        ("SmolLM2-135M-Instruct", 0.135),
        ("llama-3.2-1b", 1),
        ("phi-4", None),
        ("gemma3:latest", None),
        ("model-4bit", None),
    ],
)
def test_parameters_are_read_from_names(name, billions):
    assert discovery.parameters_of(name) == (None if billions is None else pytest.approx(billions))


def server(*models: FoundModel, title: str = "vLLM", port: int = 8000) -> Found:
    return Found(title, f"http://127.0.0.1:{port}/v1", models)


def test_choose_takes_the_loaded_model_before_a_larger_one_that_is_not():
    chosen = discovery.choose(
        [
            server(FoundModel("big-70b", loaded=False, parameters=70.0), title="Ollama", port=11434),
            server(FoundModel("small-8b", loaded=True, parameters=8.0), FoundModel("tiny-1b", True, None, 1.0)),
        ]
    )
    assert chosen is not None
    assert (chosen.model, chosen.name, chosen.address, chosen.server) == (
        "small-8b", "small-8b", "http://127.0.0.1:8000/v1", "vLLM",
    )  # fmt: skip


def test_choose_ignores_what_cannot_chat():
    silent = server(FoundModel("nomic-embed-text"), FoundModel("bge-m3"), FoundModel("x-70b", True, "embeddings", 70.0))
    assert discovery.choose([silent, server(FoundModel("Qwen3-Reranker-8B", loaded=True))]) is None
    assert discovery.choose([]) is None


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["object", "data", "id", "version", "models", "name", "state", "details", "meta", "status",
                         "owned_by", "n_params", "value", "family", "parameter_size"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(listing=_JSON, others=st.lists(_JSON, min_size=6, max_size=6))
def test_answers_of_any_shape_break_nothing(listing, others):
    paths = ("/api/v0/models", "/api/version", "/api/tags", "/api/ps", "/version", "/props")
    entries = [{"id": "m", "owned_by": "vllm"}, *(listing if isinstance(listing, list) else [listing])]
    answer = discovery._Answer({"object": "list", "data": entries}, "llama.cpp")
    models = discovery._openai_models(answer)
    assert models is not None
    told = dict(zip(paths, others, strict=True))
    for recognise in (discovery._lm_studio, discovery._ollama, discovery._vllm, discovery._sglang,
                      discovery._llama_server):  # fmt: skip
        found = recognise(models, told, answer)
        if found is not None:
            finished = discovery._finish(found, "http://127.0.0.1:1")
            assert all(discovery.is_chat(model) for model in finished.models)
