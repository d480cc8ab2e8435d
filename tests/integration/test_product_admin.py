"""The admin API of the product on the real llama.cpp: loads, pins, plans, streams, and a stop that waits for none."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from product import wait_for

pytestmark = pytest.mark.engine

ONE = '\n[models.{name}]\ncheckpoint = "embedded"\ncontext = {context}\nparallel = 1\naliases = ["{name}-too"]\n'


def configuration(budget="8GiB"):
    models = ONE.format(name="left", context=512) + ONE.format(name="right", context=1024)
    return f'{models}\n[budget]\nram = "{budget}"\n[roles.helper]\nmodel = "right"\ninstruction = "Be brief."\n'


class Admin:
    """The admin API of a running product, with the streams that were opened to it."""

    def __init__(self, started):
        self.started, self.streams = started, []
        self.client = httpx.Client(
            base_url=f"{started.address}/admin/api", headers={"authorization": f"Bearer {started.token}"}, timeout=120,
            trust_env=False,
        )  # fmt: skip

    def stream(self, path="/events"):
        self.streams.append(Stream(self, path))
        return self.streams[-1]

    def close(self):
        self.client.close()

    def post(self, path, **fields):
        return self.client.post(path, **fields)

    def instance(self, model):
        state = self.client.get("/state").json()
        return next(one for one in state["instances"] if one["model"] == model)


class Stream:
    """An event stream that is read in a thread."""

    def __init__(self, admin, path):
        self.events, self.ended = [], threading.Event()
        self.client = httpx.Client(
            base_url=admin.client.base_url, headers=admin.client.headers, timeout=60, trust_env=False
        )  # fmt: skip
        self.thread = threading.Thread(target=self._read, args=(path,), daemon=True)
        self.thread.start()

    def _read(self, path):
        fields = {}
        try:
            with self.client, self.client.stream("GET", path) as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                for line in answer.iter_lines():
                    if line:
                        name, _, value = line.partition(": ")
                        fields[name] = value
                    elif "event" in fields:
                        self.events.append((fields["event"], json.loads(fields["data"]), fields.get("id")))
                        fields = {}
        except httpx.HTTPError:
            self.events.append(("broken", {}, None))
        self.ended.set()

    def wait(self, wanted, what):
        return wait_for(lambda: next((one for one in list(self.events) if wanted(*one[:2])), None), what, 60)


@pytest.fixture
def begin(start):
    """Start a product and return its admin API; streams end with their product."""
    found = []

    def begun(*arguments):
        found.append(Admin(start(configuration(*arguments), ready=False)))
        return found[-1]

    yield begun
    for admin in found:
        admin.close()
        admin.started.end()
        for stream in admin.streams:
            assert stream.ended.wait(10)


def test_models_are_loaded_pinned_and_unloaded_by_hand_and_others_respect_it(begin):
    admin = begin()
    assert admin.post("/instances/left/load").status_code == 200
    needs = sum(admin.instance("left")["reserved"].values())
    admin.started.end()

    # Room for one of the two, and not for both.
    admin = begin(f"{int(needs * 1.5) // 2**20}MiB")
    started, stream = admin.started, admin.stream()
    stream.wait(lambda kind, _: kind == "snapshot", "the snapshot")
    pinned = admin.post("/instances/left-too/pin")
    assert (pinned.status_code, pinned.json()["pinned_by"]) == (200, "hand")
    assert admin.instance("left")["residency"] == "in"
    refused = started.chat("helper", "Hi")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "does_not_fit")
    assert admin.instance("left")["state"] == "ready"
    # A role names the model that it runs on.
    assert admin.post("/instances/helper/load").status_code == 503
    assert admin.post("/instances/left/unpin").json()["pinned"] is False
    assert started.chat("helper", "Hi", max_tokens=4).status_code == 200
    assert admin.instance("left")["state"] == "stopped"
    swap = stream.wait(lambda kind, data: kind == "rest" and data["model"] == "left", "the swap")
    assert swap[1]["wanted"] == "right"
    stream.wait(
        lambda kind, data: kind == "requests" and data["ended"] and data["ended"][0]["status"] == 200, "its end"
    )

    begun = admin.post("/instances/helper/unload?wait=false")
    assert begun.status_code == 202
    wait_for(lambda: admin.instance("right")["state"] == "stopped", "the unloading", 60)
    told = started.command("instances", "pin", "left", "--json")
    assert (told.returncode, json.loads(told.stdout)["pinned_by"]) == (0, "hand")
    assert json.loads(started.command("instances", "unload", "left", "--json").stdout)["state"] == "stopped"
    assert admin.instance("left")["pinned"] is False
    unknown = started.command("instances", "load", "nobody")
    assert (unknown.returncode, len(unknown.stderr.strip().splitlines())) == (2, 1)
    assert stream.events[0][0] == "snapshot"
    numbers = [int(one[2].partition("-")[2]) for one in stream.events if one[2]]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_a_plan_and_a_fit_are_those_of_the_commands(begin):
    admin = begin()
    started = admin.started
    for body, words in (
        ({"machines": ["mac-m4-max-128g"], "goal": "depth"},
         ["plan", "--machine", "mac-m4-max-128g", "--goal", "depth"]),
        ({"machines": ["h100-80g"], "roles": ["coder"], "language": "ru"},
         ["plan", "--machine", "h100-80g", "--roles", "coder", "--language", "ru"]),
    ):  # fmt: skip
        answer = admin.post("/plan", json=body)
        said = started.command(*words, "--json", "--config", str(started.data.parent / "ansambl.toml"))
        assert answer.json() == json.loads(said.stdout)
    answer = admin.post("/fit", json={"model": "left", "machine": "h100-80g", "context": 4096})
    said = started.command("fit", "embedded", "--machine", "h100-80g", "--context", "4096", "--json")
    assert answer.json() == json.loads(said.stdout)
    russian = admin.post("/plan", json={"machines": ["h100-80g"]}, headers={"accept-language": "ru"}).json()
    assert any("а" <= letter <= "я" for letter in russian["options"][0]["title"].lower())


WRONG = [
        ("/plan", {"machines": ["/etc/passwd"]}, 400, "machine"), ("/plan", {"goal": "speed"}, 400, "speed"),
        ("/fit", {"model": "/etc/passwd"}, 400, "path"), ("/fit", {"model": "../x.gguf"}, 400, "path"),
        ("/fit", {"model": "nobody-knows"}, 404, "nobody-knows"), ("/fit", {}, 422, "model"),
        ("/plan", {"context": "many"}, 422, "context"), ("/plan", {"context": 0}, 422, "context"),
        ("/simulate", {"trace": "nothing"}, 400, "mixed"), ("/simulate", {"trace": [{"t": 1}]}, 400, "line 1"),
        ("/simulate", {"trace": [{}] * 20_001}, 400, "20000"), ("/compat", {"engine": "nothing"}, 400, "nothing"),
    ]  # fmt: skip


def test_what_can_be_read_and_what_cannot_be_answered_is_said_in_one_line(begin):
    admin = begin()
    for path, body, status, words in WRONG:
        answer = admin.post(path, json=body)
        message = answer.json()["error"]["message"]
        assert (answer.status_code, "\n" in message) == (status, False), (path, body, message)
        assert words in message
        assert "root:" not in message
    simulated = admin.post(
        "/simulate",
        json={"trace": [{"t": number, "model": "left", "prompt_tokens": 50, "output_tokens": 5} for number in range(5)],
              "machine": "mac-m4-max-128g", "policies": ["ansambl", "fifo"]},
    )  # fmt: skip
    assert [one["answered"] for one in simulated.json()["policies"]] == [5, 5]
    for path in ("/usage?days=2", "/requests?limit=3", "/doctor", "/config", "/models", "/engines", "/logs?lines=3"):
        assert admin.client.get(path).status_code == 200, path
    assert admin.client.get("/config").json()["settings"]["models"]["left"]["context"] == 512


def test_twenty_open_streams_cost_nothing_to_speak_of_and_keep_no_stop_waiting(begin):
    admin = begin()
    started = admin.started
    streams = [admin.stream("/events" if number % 2 else "/logs/stream") for number in range(20)]
    for one in streams:
        one.wait(lambda kind, _: kind in {"snapshot", "line"}, "the first event")
    with ThreadPoolExecutor(2) as pool:
        # Others are answered as ever.
        assert all(one.result().status_code == 200 for one in [pool.submit(admin.client.get, "/state")] * 2)
    began = time.monotonic()
    said = started.command("down")
    assert said.returncode == 0, said.stderr
    for one in streams:
        assert one.ended.wait(10)
    assert any(event[0] == "stopping" for event in streams[1].events)
    # A limit of waiting: an answer that nobody ends would take the whole time for draining.
    assert time.monotonic() - began < 15
    assert started.process.wait(10) == 0
