"""``ansambl up`` without a configuration: it starts on what is here, offers a plan, fetches it after a yes and runs it.

The hub is a fake one on this machine, and the model that it hands out under the planned name is the embedded one.
"""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys

import httpx
import pytest
from product import environment, run_command, wait_for

from ansambl.foundation.network import free_port
from ansambl.model_catalog import embedded
from ansambl.testing.fake_hub import FakeHub

pytestmark = pytest.mark.engine

_REFERENCE = re.compile(r"^ {6}(?P<repo>[\w.-]+/[\w.-]+)(?:/(?P<file>\S+\.gguf)|:(?P<quantization>\S+))$", re.MULTILINE)


def offered(product) -> list[re.Match[str]]:
    wait_for(lambda: "ansambl plan" in product.output, "the offer of a plan", 60)
    return list(_REFERENCE.finditer(product.output))


def put(hub: FakeHub, offers: list[re.Match[str]], content: bytes) -> None:
    for one in offers:
        hub.add(one["repo"], {one["file"] or f"model-{one['quantization']}.gguf": content})


def test_a_plan_is_offered_fetched_after_consent_and_run(start, hub, data_folder):
    product = start()
    offers = offered(product)
    assert offers
    for words in ("For this machine the plan is", "to fetch, licence", "free in", "Mbit/s", "--yes"):
        assert words in product.output
    # Nothing is asked of anybody before the owner agreed.
    assert hub.served == []
    assert product.chat("coder", "Hi").status_code == 200
    product.stop()
    put(hub, offers, embedded.embedded_path(data_folder / "models").read_bytes())

    product = start(arguments=["--yes"])
    wait_for(lambda: any(one["model"] != "embedded" for one in product.state()["instances"]), "the fetched model", 120)
    name = next(one["model"] for one in product.state()["instances"] if one["model"] != "embedded")
    wait_for(lambda: product.instance(name)["state"] == "ready", "the fetched model to be ready", 60)
    answer = product.chat("coder", "What is the capital of France?")
    assert answer.status_code == 200
    assert answer.headers["x-ansambl-instance"] == name
    assert {name, "embedded", "coder"} <= {one["id"] for one in product.client.get("/v1/models").json()["data"]}
    product.stop()

    # The next start is on what is installed, without a question and without the network.
    asked = len(hub.served)
    product = start()
    assert product.chat("coder", "Hi").headers["x-ansambl-instance"] == name
    assert "For this machine the plan is" not in product.output
    assert len(hub.served) == asked


def test_what_cannot_be_fetched_leaves_the_embedded_model_running(start, hub):
    product = start(arguments=["--yes"])
    wait_for(lambda: "warning:" in product.output, "the failure in one line", 60)
    assert product.chat("coder", "Hi").headers["x-ansambl-instance"] == "embedded"
    assert product.stop() == 0


def test_offline_nothing_is_offered(start, hub):
    product = start(arguments=["--offline"])
    assert product.chat("coder", "Hi").status_code == 200
    product.stop()
    assert "For this machine the plan is" not in product.output
    assert hub.served == []


def test_a_no_on_a_terminal_is_remembered_and_nothing_waits_for_the_answer(hub, data_folder, tmp_path):
    for expected in (True, False):
        leader, follower = pty.openpty()
        port = free_port()
        (tmp_path / "empty.toml").write_text("")
        process = subprocess.Popen(
            [sys.executable, "-m", "ansambl", "up", "--config", str(tmp_path / "empty.toml"), "--port", str(port)],
            env=environment(data_folder, TERM="dumb"), stdin=follower, stdout=follower, stderr=follower,
            start_new_session=True,
        )  # fmt: skip
        os.close(follower)
        os.set_blocking(leader, False)
        shown = bytearray()

        def read(leader: int = leader, shown: bytearray = shown) -> str:
            with contextlib.suppress(OSError):
                shown += os.read(leader, 65_536)
            return shown.decode(errors="replace")

        try:
            wait_for(lambda: "Ctrl-C" in read(), "the start", 60)
            if expected:
                wait_for(lambda: "[y/N]" in read(), "the question", 60)
                body = {"model": "coder", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
                answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=body, timeout=60)
                assert answer.status_code == 200
                os.write(leader, b"n\n")
                wait_for(lambda: "not asked again" in read(), "the no to be taken", 20)
            else:
                wait_for((data_folder / "declined-plan.json").is_file, "the remembered no", 5)
        finally:
            process.terminate()
            ended = process.poll
            wait_for(lambda ended=ended: (read(), ended() is not None)[1], "the stop", 40)
            os.close(leader)
        assert ("[y/N]" in shown.decode(errors="replace")) == expected
        assert process.returncode == 0
    assert hub.served == []
    run_command("down", data=data_folder)
