"""A plan put into effect by the admin API: fetched from a fake hub, written into the file, reloaded, and kept.

The model that the hub hands out under the planned name is the embedded one.
"""

from __future__ import annotations

import threading
import tomllib
from itertools import pairwise

import httpx
import pytest
from product import wait_for

from ansambl.model_catalog import embedded
from ansambl.testing.fake_hub import FakeHub

pytestmark = pytest.mark.engine

QUESTION = {"roles": ["coder", "reasoner"], "context": 4096, "helpers": False, "fetchable": True}
WRITTEN = '# Mine.\n[prompt]\ncommon_instruction = "Be kind."  # stays\n'


class Admin:
    def __init__(self, started):
        self.started = started
        self.client = httpx.Client(
            base_url=f"{started.address}/admin/api", headers={"authorization": f"Bearer {started.token}"}, timeout=120,
            trust_env=False,
        )  # fmt: skip

    def post(self, path, **fields):
        return self.client.post(path, json=fields)

    def applying(self):
        return self.client.get("/plan/applying").json()["applying"]

    def ended(self):
        found = self.applying()
        return found is not None and found["ended"] is not None


@pytest.fixture
def begin(start):
    found = []

    def begun(*arguments):
        found.append(Admin(start(WRITTEN, arguments=list(arguments))))
        return found[-1]

    yield begun
    for one in found:
        one.client.close()


def put(hub: FakeHub, preview, content: bytes) -> None:
    for one in preview["fetches"]:
        reference = one["reference"]
        repo, _, quantization = reference.partition(":")
        owner, name, *file = repo.split("/")
        hub.add(f"{owner}/{name}", {"/".join(file) or f"model-{quantization}.gguf": content})


def test_what_is_missing_is_fetched_then_it_is_written_reloaded_and_kept(start, begin, hub, data_folder):
    admin = begin()
    config = data_folder.parent / "ansambl.toml"
    plan = admin.post("/plan", **QUESTION).json()
    option = plan["recommended"]
    preview = admin.post("/plan/preview", option=option, **QUESTION).json()
    assert preview["problem"] is None
    assert preview["bytes_to_fetch"] == sum(one["bytes"] for one in preview["fetches"]) > 0
    assert preview["stops"] == ["embedded"]
    assert preview["file"] == str(config)
    # Looking changed nothing, and asked nobody.
    assert (config.read_text(encoding="utf-8"), hub.served) == (WRITTEN, [])

    # The hub has nothing of it: it fails in one line, and all is as it was.
    assert admin.post("/plan/apply", option=option, agreed=preview["agreed"], **QUESTION).status_code == 202
    wait_for(admin.ended, "the failure", 60)
    assert admin.applying()["state"] == "failed"
    assert "\n" not in admin.applying()["error"]
    assert config.read_text(encoding="utf-8") == WRITTEN

    put(hub, preview, embedded.embedded_path(data_folder / "models").read_bytes())
    other = admin.post("/plan/apply", option=option, agreed="0" * 16, **QUESTION)
    assert (other.status_code, other.json()["error"]["code"]) == (409, "plan_changed")
    gate = threading.Event()
    hub.habits.gate = gate.wait
    apply = {"option": option, "agreed": preview["agreed"], **QUESTION}
    assert admin.post("/plan/apply", **apply).status_code == 202
    second = admin.post("/plan/apply", **apply)
    assert (second.status_code, second.json()["error"]["code"]) == (409, "busy")
    # Stopped while it fetches, nothing else was changed; the next one begins again.
    assert admin.post("/plan/applying/stop").json()["applying"]["state"] == "stopped"
    gate.set()
    wait_for(admin.ended, "the stop", 60)
    assert (admin.applying()["state"], config.read_text(encoding="utf-8")) == ("stopped", WRITTEN)
    assert admin.post("/plan/apply", **apply).status_code == 202
    seen = [admin.applying()["done"]]
    wait_for(lambda: seen.append(admin.applying()["done"]) or admin.ended(), "the end", 120)
    assert admin.applying()["state"] == "done", admin.applying()
    assert all(before <= after for before, after in pairwise(seen))
    made = config.read_text(encoding="utf-8")
    assert set(WRITTEN.splitlines()) <= set(made.splitlines())
    assert list(tomllib.loads(made)["models"]) == preview["starts"]
    assert admin.applying()["backup"]

    admin.started.stop()
    started = start(made)
    answer = started.chat("coder", "What is the capital of France?")
    assert (answer.status_code, answer.headers["x-ansambl-instance"]) == (200, preview["starts"][0])


def test_what_cannot_be_done_is_refused_in_one_line(begin):
    admin = begin("--offline")
    option = admin.post("/plan", **QUESTION).json()["recommended"]
    preview = admin.post("/plan/preview", option=option, **QUESTION).json()
    assert "offline" in preview["problem"]
    assert preview["agreed"] is None
    assert tomllib.loads(preview["text"])["models"]
    refused = admin.post("/plan/apply", option=option, **QUESTION)
    assert (refused.status_code, "offline" in refused.json()["error"]["message"]) == (503, True)
    elsewhere = admin.post("/plan/apply", option="one-big", machines=["h100-80g"], **QUESTION)
    assert elsewhere.status_code == 400
    shown = admin.post("/plan/preview", option="one-big", machines=["h100-80g"], **QUESTION).json()
    assert "another machine" in shown["problem"]
    assert tomllib.loads(shown["text"])["models"]
    assert admin.post("/plan/preview", option="nothing", **QUESTION).status_code == 404
    assert admin.post("/plan/preview", option="second-machine", **QUESTION).status_code == 501
    assert admin.applying() is None


def test_a_machine_is_described_within_bounds(begin):
    admin = begin("--offline")
    gib = 2**30
    described = {"name": "my box", "gpus": [{"device": "rtx-3090", "count": 2}], "ram": 64 * gib}
    found = admin.post("/fit", model="qwen3-8b", machine=described, context=8192).json()
    assert [one["kind"] for one in found["devices"]][:2] == ["gpu", "gpu"]
    assert found["machine"] == "my box"
    assert admin.post("/plan", machines=[described, "this"], **QUESTION).json()["machines"][0] == "my box"
    choices = admin.client.get("/machines").json()
    assert choices["this"]["name"] == "this"
    assert "rtx-3090" in {one["name"] for one in choices["gpus"]}
    page = admin.post("/plan/page", machines=[described])
    assert page.headers["content-type"].startswith("text/html")
    assert "my box" in page.text
    wrong = [
        {"ram": 1}, {"ram": 64 * gib, "gpus": [{"device": "/etc/passwd"}]}, {"ram": 64 * gib, "file": "x"},
        {"ram": "64GiB"}, {"ram": 64 * gib, "gpus": [{"device": "rtx-3090", "count": 65}]}, {"name": "no RAM"},
        {"ram": 64 * gib, "processor": "abacus"}, {"ram": 64 * gib, "gpus": [{"device": "rtx-3090", "count": 64}] * 2},
    ]  # fmt: skip
    for one in wrong:
        answer = admin.post("/fit", model="qwen3-8b", machine=one, context=8192)
        assert answer.status_code in {400, 422}, one
        assert "\n" not in answer.json()["error"]["message"]
