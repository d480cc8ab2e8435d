"""The door before vLLM: nothing passes without the key, whatever the path."""

from __future__ import annotations

import ast
import inspect
import sys

import pytest

from ansambl.engines.shared import vllm_guard


async def ask(path, headers=(), kind="http"):
    """What a request was answered: the status (200 where the engine answered), and what came before the body."""
    sent = []

    async def engine(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200})

    async def send(message):
        sent.append(message)

    await vllm_guard.Guard(engine)({"type": kind, "path": path, "headers": list(headers)}, None, send)
    return sent[0].get("status"), sent[0]["type"]


def bearer(key):
    return [(b"accept", b"*/*"), (b"authorization", f"Bearer {key}".encode())]


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("VLLM_API_KEY", "right")


@pytest.mark.parametrize(
    "path", ["/v1/models", "/invocations", "/adapters", "/sleep", "/collective_rpc", "/", "/health/"]
)
async def test_the_key_opens_every_path_and_nothing_else_does(path):
    assert (await ask(path, bearer("right")))[0] == 200
    for headers in ((), bearer("wrong"), bearer(""), [(b"authorization", b"right")], bearer("right ")):
        assert (await ask(path, headers))[0] == 401


async def test_health_is_open():
    assert (await ask("/health"))[0] == 200


async def test_a_socket_without_the_key_is_closed():
    assert await ask("/v1/realtime", kind="websocket") == (None, "websocket.close")


async def test_what_is_no_request_passes():
    """The server's own start and stop."""
    assert (await ask("", kind="lifespan"))[0] == 200


async def test_without_a_key_in_the_environment_nothing_opens(monkeypatch):
    monkeypatch.delenv("VLLM_API_KEY")
    for headers in ((), bearer(""), bearer("None")):
        assert (await ask("/v1/models", headers))[0] == 401


def test_its_text_stands_alone():
    """It is loaded in vLLM's environment, where nothing of ours is."""
    tree = ast.parse(inspect.getsource(vllm_guard))
    names = [one.module for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)]
    names += [alias.name for one in ast.walk(tree) if isinstance(one, ast.Import) for alias in one.names]
    assert names
    assert {str(one).partition(".")[0] for one in names} <= set(sys.stdlib_module_names)
