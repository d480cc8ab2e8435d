"""Roles of a running Ansambl: changed, reloaded, kept over a restart; what SIGHUP means with and without a terminal."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from product import Started, environment, run_command, wait_for

from ansambl.foundation.network import free_port

ATTACHED = '[models.m]\naddress = "http://127.0.0.1:9/v1"\n'
"""A model that nothing is started for, so that a start takes no time."""

Starter = Callable[..., Started]


def names(product: Started) -> set[str]:
    return {one["id"] for one in product.client.get("/v1/models").json()["data"]}


def roles_json(product: Started, *arguments: str) -> Any:
    done = product.command("roles", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_role_saved_while_running_answers_at_once_and_after_a_restart(start: Starter, tmp_path: Path) -> None:
    product = start(ATTACHED, ready=False)
    made = roles_json(product, "edit", "bard", "--set", "instruction=Sing.", "--set", "aliases=лирик")
    assert made["version"] == 1
    assert "bard" in names(product)
    roles_json(product, "edit", "лирик", "--set", "top_k=3")
    # The console and `status` list it as every other role.
    listed = {one["name"]: one for one in product.state()["roles"]}
    assert (listed["bard"]["origin"], listed["bard"]["model"], listed["bard"]["sampling"]) == (
        "saved",
        "m",
        {"top_k": 3},
    )
    exported = tmp_path / "set.toml"
    assert product.command("roles", "export", "--out", str(exported)).returncode == 0
    assert product.stop() == 0
    # While it is stopped the same commands work on the data folder.
    stopped = run_command("roles", "history", "bard", "--json", data=product.data)
    assert [one["action"] for one in json.loads(stopped.stdout)["versions"]] == ["created", "changed"]
    assert run_command("roles", "edit", "bard", "--set", "top_k=4", data=product.data).returncode == 0
    again = start(ATTACHED, ready=False)
    assert "bard" in names(again)
    assert roles_json(again, "show", "bard")["saved"] == {"instruction": "Sing.", "aliases": ["лирик"], "top_k": 4}
    assert again.command("roles", "restore", "bard", "1").returncode == 0
    assert again.command("roles", "remove", "bard", "--yes").returncode == 0
    assert "bard" not in names(again)
    assert again.command("roles", "import", str(exported)).returncode == 0
    assert roles_json(again, "show", "bard")["saved"]["top_k"] == 3


def test_a_file_that_gains_a_saved_name_does_not_stop_the_start(start: Starter) -> None:
    product = start(ATTACHED, ready=False)
    roles_json(product, "edit", "bard", "--set", "instruction=Sing.")
    product.stop()
    again = start(f'{ATTACHED}[roles.bard]\ninstruction = "Hum."\n', ready=False)
    assert "The saved role 'bard' is not in effect: " in again.output
    shown = roles_json(again, "show", "bard")
    assert (shown["fields"]["instruction"], shown["saved"]) == ("Hum.", {"instruction": "Sing."})


def test_a_hangup_without_a_terminal_reads_the_configuration_again(start: Starter, tmp_path: Path) -> None:
    product = start(ATTACHED, ready=False)
    config = tmp_path / "ansambl.toml"
    config.write_text(f'{ATTACHED}[roles.bard]\ninstruction = "Sing."\n')
    product.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "bard" in names(product), "the new role")
    config.write_text(f"{ATTACHED}[roles.bard]\ntop_p = 7\n")
    product.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "line 4: roles.bard.top_p is 7" in product.output, "the refusal")
    config.write_text(f"{ATTACHED}[gateway]\nhost = '::1'\n")
    product.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "A restart is needed, because [gateway] changed too" in product.output, "the refusal")
    assert "bard" in names(product)
    config.write_text(ATTACHED)
    token = json.loads((product.data / "state.json").read_text())["token"]
    answer = product.client.post("/admin/api/reload", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200, answer.text
    assert "bard" not in names(product)
    assert product.stop() == 0


@pytest.fixture
def in_terminal(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], int, int, Path]]:
    """``ansambl up`` in a terminal of its own: the process, the terminal's other end, the port, the configuration."""
    config = tmp_path / "ansambl.toml"
    config.write_text(ATTACHED)
    port = free_port()
    leader, follower = pty.openpty()
    # The child makes the terminal its own by opening it first in a session of its own.
    code = (
        # Who runs the tests under nohup has it ignored, and that would be inherited.
        "import os, signal, sys; signal.signal(signal.SIGHUP, signal.SIG_DFL); "
        "os.setsid(); os.close(os.open(sys.argv[1], os.O_RDWR)); "
        "os.execv(sys.executable, [sys.executable, '-m', 'ansambl', *sys.argv[2:]])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, os.ttyname(follower), "up", "--config", str(config), "--port", str(port)],
        env=environment(tmp_path / "data"), stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    os.set_blocking(leader, False)
    yield process, leader, port, config
    if process.poll() is None:
        process.kill()
        process.wait()


def drained(leader: int) -> None:
    """Read what the terminal shows, so that whoever writes to it never waits."""
    try:
        while os.read(leader, 65536):
            pass
    except OSError:
        pass


def test_a_hangup_in_a_terminal_reloads_and_its_end_stops(
    in_terminal: tuple[subprocess.Popen[bytes], int, int, Path],
) -> None:
    process, leader, port, config = in_terminal

    def listed() -> set[str]:
        drained(leader)
        assert process.poll() is None
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/v1/models", trust_env=False)
        except httpx.HTTPError:
            return set()
        return {one["id"] for one in answer.json()["data"]}

    wait_for(lambda: "coder" in listed(), "the start", 60)
    config.write_text(f'{ATTACHED}[roles.bard]\ninstruction = "Sing."\n')
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: "bard" in listed(), "the reload")
    # Closing the terminal is what a closed window does: the kernel sends SIGHUP itself.
    os.close(leader)
    end = time.monotonic() + 40
    while process.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    assert process.returncode == 0


@pytest.mark.engine
def test_a_saved_role_shares_the_prefix_with_the_others(start: Starter) -> None:
    product = start()
    roles_json(product, "edit", "bard", "--set", "instruction=Answer in rhyme.")
    shown = roles_json(product, "list")["roles"]
    assert len({one["prefix_group"] for one in shown}) == 1
    messages = [{"role": "user", "content": "Tell me about caching. " * 60}]
    first = product.chat("coder", *messages)
    second = product.chat("bard", *messages)
    assert first.status_code == second.status_code == 200, second.text
    usage = second.json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] > usage["prompt_tokens"] / 2
