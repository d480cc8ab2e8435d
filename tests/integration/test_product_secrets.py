"""Wherever a secret is sent to the product, it comes up nowhere: in no log, answer, metric or list of processes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psutil
import pytest
from product import Started, wait_for
from secrets_watch import WATCH

LOST = "ansambl-" + "Zx9Qw8Er7T" * 4 + "abc123xyz"
"""A key that nobody has: lost by somebody, say."""
FOREIGN = "sk-proj-" + "Ab3dE6gH9k" * 3


def everywhere(started: Started) -> list[tuple[str, bytes]]:
    """All that is written or shown about what happened."""
    found = [(str(one), one.read_bytes()) for one in (started.data / "logs").iterdir()]
    found += [(str(one), one.read_bytes()) for one in started.data.glob("ansambl.db*")]
    found.append(("output", started.output.encode()))
    for command in (("status", "--json"), ("logs", "embedded"), ("doctor",)):
        done = started.command(*command)
        found.append((" ".join(command), (done.stdout + done.stderr).encode()))
    return found


def commands(started: Started) -> list[str]:
    """What `ps` shows of Ansambl and its engines."""
    root = psutil.Process(started.process.pid)
    return [" ".join(one.cmdline()) for one in (root, *root.children(recursive=True))]


@pytest.mark.engine
def test_no_secret_comes_up_anywhere(start, data_folder):
    started = start("[gateway]\nlog_contents = true\n")
    token = started.token
    created = started.command("keys", "create", "tests", "--json")
    assert created.returncode == 0, created.stderr
    key = re.search(r"ansambl-[0-9A-Za-z]{43,}", created.stdout)[0]
    chat = {"model": "embedded", "messages": [{"role": "user", "content": f"my key is {key}"}], "max_tokens": 4}
    client = started.client
    right = {"authorization": f"Bearer {key}"}
    assert client.post("/v1/chat/completions", json=chat, headers=right).status_code == 200
    for headers in ({"authorization": f"Bearer {LOST}"}, {"x-api-key": FOREIGN}, {"authorization": LOST}):
        answer = client.post("/v1/chat/completions", json=chat, headers=headers)
        assert answer.status_code == 401
        assert LOST not in answer.text
        assert FOREIGN not in answer.text
    misplaced = [
        client.get(f"/v1/{key}", headers=right), client.get(f"/v1/models?api_key={key}", headers=right),
        client.get(f"/{key}", headers=right), client.get(f"/admin/api/{key}", headers=right),
        client.get("/v1/models", headers={**right, "x-request-id": key}),
        client.get("/v1/models", headers={**right, "host": "evil.example", "referer": f"http://x/?k={key}"}),
        client.post("/v1/chat/completions", content=key.encode(), headers=right),
        client.post("/v1/chat/completions", json={**chat, "model": key}, headers=right),
        client.post("/v1/chat/completions", json={**chat, key: 1, "max_tokens": key}, headers=right),
    ]  # fmt: skip
    assert {one.status_code for one in misplaced} <= {200, 400, 401, 403, 404}
    owner = {"authorization": f"Bearer {token}"}
    page = client.get("/metrics", headers=owner)
    assert page.status_code == 200
    requests = data_folder / "logs" / "requests.log"
    wait_for(lambda: requests.exists() and requests.read_bytes().count(b"/v1/chat/completions") >= 7, "lines", 10)
    shown = json.loads(created.stdout)
    assert key in json.dumps(shown)
    secrets = [key, token, LOST, FOREIGN, *engine_secrets()]
    assert len(secrets) > 4, "the engine's own key is known, too"
    for line in commands(started):
        assert not any(one in line for one in secrets), line
    assert not any(one in page.text for one in secrets)
    for where, content in everywhere(started):
        if where.endswith("contents.log"):
            assert b"my key is [secret]" in content
        # What the next start adopts an engine by lies in the database, which is the owner's alone.
        allowed = engine_secrets() if Path(where).name.startswith("ansambl.db") else []
        assert not [one[:12] for one in secrets if one.encode() in content and one not in allowed], where
    assert all(one.stat().st_mode & 0o077 == 0 for one in (data_folder / "logs").iterdir())


def engine_secrets() -> list[str]:
    """The keys of engines, which the watch found in their environment."""
    return [word.decode() for word, origin in WATCH.known().items() if origin.startswith("ANSAMBL_ENGINE_KEY")]
