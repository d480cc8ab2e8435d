"""Keys of the real product: made while it runs, kept over a restart and a crash, in no log and no list of processes."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from product import alive, make_data_folder, start_product, wait_for

pytestmark = pytest.mark.engine


@pytest.fixture
def start(tmp_path, embedded_model_folder):
    data = make_data_folder(tmp_path / "data", embedded_model_folder)
    config = tmp_path / "ansambl.toml"
    config.write_text("", encoding="utf-8")
    started = []

    def begin():
        started.append(start_product(data, config, tmp_path / f"up-{len(started)}.log", "--offline"))
        return started[-1]

    yield begin
    for one in started:
        one.end()
    # Afterwards, because an engine of one that was killed is adopted by the next.
    for one in started:
        wait_for(lambda one=one: not alive(one.seen), "no process left", 15)


def created(product, *arguments):
    ended = product.command("keys", "create", *arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def chat(product, secret, **fields):
    body = {"model": "coder", "messages": [{"role": "user", "content": "Say hi."}], "max_tokens": 4, **fields}
    return product.client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {secret}"})


def test_a_key_from_its_creation_to_its_end(start):
    product = start()
    assert product.chat("coder", "Say hi.").status_code == 200
    made = created(product, "laptop", "--role", "coder", "--tokens", "1M/day", "--limit", "5/hour")
    secret, key = made["secret"], made["key"]["id"]
    assert product.chat("coder", "Say hi.").status_code == 401
    answer = chat(product, secret)
    assert answer.status_code == 200
    cost = answer.json()["usage"]["total_tokens"]
    assert chat(product, secret, model="reasoner").status_code == 403
    # Ansambl's own commands go on, because they bring the token of the run.
    for command in (("status",), ("roles", "list"), ("ask", "brief", "Say hi.")):
        assert product.command(*command).returncode == 0, command
    shown = json.loads(product.command("keys", "show", "laptop", "--json").stdout)
    assert (shown["requests_left"], shown["tokens_left"]) == (3, 1_000_000 - cost)

    # A stop and a start: the key, its limits and the need for a key are as they were.
    assert product.stop() == 0
    product = start()
    assert product.client.get("/v1/models").status_code == 401
    shown = json.loads(product.command("keys", "show", "laptop", "--json").stdout)
    assert (shown["requests_left"], shown["tokens_left"]) == (3, 1_000_000 - cost)
    assert [chat(product, secret).status_code for _ in range(4)] == [200, 200, 200, 429]

    # A crash forgets the last seconds at most.
    wait_for(lambda: _written(product), "what was used is written", 20)
    os.kill(product.process.pid, signal.SIGKILL)
    product.process.wait(20)
    product = start()
    assert chat(product, secret).status_code == 429

    # A revocation while an answer streams: it ends, with a reason.
    endless = created(product, "endless")["secret"]
    revoked = threading.Event()
    with httpx.Client(base_url=product.address, timeout=60) as client:
        body = {"model": "coder", "messages": [{"role": "user", "content": "Count to a thousand."}], "stream": True}
        headers = {"authorization": f"Bearer {endless}"}
        with client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as stream:
            assert stream.status_code == 200
            said = ""
            for piece in stream.iter_text():
                if not revoked.is_set():
                    assert product.command("keys", "revoke", "endless", "--yes").returncode == 0
                    revoked.set()
                said += piece
    assert "was revoked" in said or "[DONE]" in said
    assert chat(product, endless).status_code == 401
    assert product.command("keys", "revoke", "laptop", "--yes").returncode == 0
    assert product.chat("coder", "Say hi.").status_code == 200
    _nowhere(product, [secret, endless], key)


def _written(product):
    """The use of the last requests stands in the database: at the latest a few seconds after them."""
    with closing(sqlite3.connect(f"file:{product.data / 'ansambl.db'}?mode=ro", uri=True)) as database:
        counted = database.execute("SELECT sum(amount) FROM api_key_use WHERE kind = 'requests'").fetchone()[0]
    return counted is not None and counted >= 5


def _nowhere(product, secrets, key):
    """No secret in any file of the data folder, any command line, the state, the metrics or the output; ids may be."""
    texts = {str(path): path.read_bytes() for path in product.data.rglob("*") if path.is_file() and _is_small(path)}
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            texts[str(process)] = process.read_bytes()
        except OSError:
            continue
    for path in ("/admin/api/state", "/metrics", "/admin/api/openapi.json", "/v1/models"):
        texts[path] = product.client.get(path).content
    texts["output"] = product.output.encode()
    for name, found in texts.items():
        for secret in secrets:
            assert secret[12:].encode() not in found, name
    log = texts[str(product.data / "logs" / "ansambl.log")]
    assert key.encode() in log, "what was done with the key can be found by its id"


def _is_small(path):
    return path.stat().st_size < 50_000_000 and "models" not in path.parts


def test_two_commands_make_keys_of_a_running_product_at_once(start):
    product = start()
    found, names = [], [f"key {number}" for number in range(4)]
    threads = [threading.Thread(target=lambda one=one: found.append(created(product, one))) for one in names]
    for one in threads:
        one.start()
    for one in threads:
        one.join(120)
    assert len({one["secret"] for one in found}) == 4
    for one in found:
        assert chat(product, one["secret"]).status_code == 200
    assert {one["name"] for one in json.loads(product.command("keys", "list", "--json").stdout)["keys"]} == set(names)
