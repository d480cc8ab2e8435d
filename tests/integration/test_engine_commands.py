"""The printed command, typed into a shell: the real engine starts, gives each sequence its context, and answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from product import wait_for

from ansambl.app.engine_commands import engine_command
from ansambl.app.fitting import Question
from ansambl.domain.engine import KEY_VARIABLE
from ansambl.engines.registry import command_line
from ansambl.foundation.network import free_port
from ansambl.model_catalog.embedded import embedded_path

PATIENCE = 120.0


@pytest.mark.engine
def test_the_bundled_engine_starts_as_printed(embedded_model_folder, tmp_path):
    path = str(embedded_path(embedded_model_folder))
    answer = engine_command(
        Question(
            model=path, engine="llama.cpp-bundled", machine="cpu-7950x-128g", context=1024, parallel=2, kv_type="q8_0",
            settings={"threads": "2", "n_ubatch": "256"},
        )
    )  # fmt: skip
    port = free_port()
    command = command_line("llama.cpp-bundled", replace(answer.inputs, port=port))
    folder = Path(sys.executable).parent
    log = (tmp_path / "engine.log").open("w+", encoding="utf-8")
    environment = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", command.key_variable: "a-key"}
    assert command.key_variable == KEY_VARIABLE
    # A group of its own, so that what the shell starts ends with it.
    process = subprocess.Popen(
        ["/bin/sh", "-c", command.shell()], env=environment, cwd=tmp_path, stdout=log, stderr=log,
        start_new_session=True,
    )  # fmt: skip
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
            wait_for(lambda: _answers(client, process), "the engine to be ready", PATIENCE)
            headers = {"Authorization": "Bearer a-key"}
            slots = client.get("/slots", headers=headers).json()
            assert [slot["n_ctx"] for slot in slots] == [1024, 1024]
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
            url = command.address + "/chat/completions"
            assert client.post(url, json=body).status_code == 401
            assert client.post(url, json=body, headers=headers).json()["usage"]["completion_tokens"] > 0
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)
        log.close()


def _answers(client: httpx.Client, process: subprocess.Popen[bytes]) -> bool:
    assert process.poll() is None, "the engine ended"
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False
