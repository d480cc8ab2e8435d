"""A configuration that is edited while requests are in flight, on the real engine: nothing is lost."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from product import Started, alive, stream_events, wait_for

pytestmark = pytest.mark.engine

KEPT = '[models.kept]\ncheckpoint = "embedded"\ncontext = 512\nparallel = 1\n'
OTHER = '[models.other]\ncheckpoint = "embedded"\ncontext = {}\nparallel = 1\n'
REST = '[engines."llama.cpp-bundled"]\nprompt_cache = 0\n'


@pytest.fixture
def edit(tmp_path: Path):
    def written(source: str) -> None:
        (tmp_path / "ansambl.toml").write_text(source, encoding="utf-8")

    return written


def reload(one: Started, status: int = 200) -> dict:
    answer = one.client.post("/admin/api/reload", headers={"authorization": f"Bearer {one.token}"})
    assert answer.status_code == status, answer.text
    return answer.json()


def listed(one: Started) -> set[str]:
    return {entry["id"] for entry in one.client.get("/v1/models").json()["data"]}


def kinds(one: Started, model: str) -> list[str]:
    return [event["kind"] for event in one.state()["events"] if event["model"] == model]


def long_answer(one: Started, model: str) -> list:
    """The events of a streamed answer of 200 tokens."""
    body = {"model": model, "messages": [{"role": "user", "content": "Count from one to two hundred."}],
            "max_tokens": 200, "temperature": 0, "stream": True, "ignore_eos": True}  # fmt: skip
    with one.client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        return stream_events(answer.iter_lines())


def is_whole(events: list) -> bool:
    finished = [one["choices"][0].get("finish_reason") for one in events[:-1] if one.get("choices")]
    return events[-1] == "[DONE]" and finished[-1] == "length"


def is_busy(one: Started, model: str) -> bool:
    return one.instance(model)["running"] == 1


def test_models_are_added_changed_and_removed_while_they_answer(start, edit):
    one = start(KEPT + OTHER.format(1024) + REST, ready=False)
    assert one.chat("kept", "Hello.").status_code == one.chat("other", "Hello.").status_code == 200
    engines = {name: one.instance(name)["pid"] for name in ("kept", "other")}
    with ThreadPoolExecutor(4) as pool:
        kept, other = pool.submit(long_answer, one, "kept"), pool.submit(long_answer, one, "other")
        wait_for(lambda: is_busy(one, "kept") and is_busy(one, "other"), "both answer")
        late = pool.submit(one.chat, "other", "Are you there?")
        wait_for(lambda: one.instance("other")["waiting"] == 1, "a third request waits")
        edit(KEPT + OTHER.format(2048) + OTHER.format(256).replace("other", "new") + REST)
        told = reload(one)
        assert (told["added"], told["changed"], told["removed"]) == (["new"], ["other"], [])
        # It can be asked for while the others still answer.
        assert {"kept", "other", "new"} <= listed(one)
        assert one.chat("new", "Hello.").status_code == 200
        assert is_whole(kept.result(90))
        assert is_whole(other.result(90))
        # Who waited for the changed model is answered by it.
        assert late.result(90).status_code == 200
    wait_for(lambda: "replaced" in kinds(one, "other"), "the other engine")
    assert one.chat("other", "Hello again.").status_code == 200
    assert one.instance("other")["context"] == 2048
    assert one.instance("kept")["pid"] == engines["kept"]
    assert one.instance("other")["pid"] != engines["other"]
    assert not alive({engines["other"]})


@pytest.mark.parametrize("kept", ["warm = true", "pinned = true"])
def test_a_changed_model_that_is_to_be_there_comes_without_a_request(start, edit, kept):
    one = start(KEPT + f"{kept}\n" + REST, ready=False)
    assert one.chat("kept", "Hello.").status_code == 200
    engine = one.instance("kept")["pid"]
    edit(KEPT.replace("512", "1024") + f"{kept}\n" + REST)
    assert reload(one)["changed"] == ["kept"]
    wait_for(lambda: "replaced" in kinds(one, "kept"), "the old engine ended")
    wait_for(lambda: one.instance("kept")["state"] == "ready", "the new one is loaded by itself")
    assert one.instance("kept")["pid"] != engine
    assert one.instance("kept")["context"] == 1024


def test_a_removed_model_ends_its_answer_and_its_name_is_gone_at_once(start, edit):
    one = start(KEPT + OTHER.format(1024) + REST, ready=False)
    assert one.chat("other", "Hello.").status_code == 200
    pid = one.instance("other")["pid"]
    with ThreadPoolExecutor(2) as pool:
        running = pool.submit(long_answer, one, "other")
        wait_for(lambda: is_busy(one, "other"), "it answers")
        waiting = pool.submit(one.chat, "other", "Are you there?")
        wait_for(lambda: one.instance("other")["waiting"] == 1, "another request waits")
        edit(KEPT + REST)
        one.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "other" not in listed(one), "the name is gone")
        gone = waiting.result(60)
        assert (gone.status_code, gone.json()["error"]["code"]) == (503, "gone")
        assert is_whole(running.result(90))
    wait_for(lambda: not alive({pid}), "its engine ends")
    assert one.chat("other", "Hello.").status_code == 404
    wait_for(lambda: [entry["model"] for entry in one.state()["instances"]] == ["kept"], "one instance")
    assert "removed: other" in one.output
    assert one.chat("kept", "Hello.").status_code == 200


def test_whatever_is_wrong_with_the_file_the_old_plan_goes_on(start, edit):
    good = KEPT + REST
    one = start(good, ready=False)
    assert one.chat("kept", "Hello.").status_code == 200
    pid = one.instance("kept")["pid"]
    broken = {
        "[models.kept\n": "line 1: not valid TOML",
        f"{good}[budget]\nram = -1\n": "line 8: budget.ram: -1 is negative",
        f"{good}[gateway]\nhost = '::1'\n": "A restart is needed, because [gateway] changed too",
        f"{good}[scheduling]\ntogether = [['nobody']]\n": "scheduling.together: there is no [models.nobody]",
        f"{good}[tasks]\nmodel = 'keptt'\n": "did you mean",
        f"{KEPT}pinned = true\n{OTHER.format(8192)}pinned = true\n{REST}[budget]\nram = '300MiB'\n": "do not fit",
    }
    for source, words in broken.items():
        edit(source)
        answer = one.client.post("/admin/api/reload", headers={"authorization": f"Bearer {one.token}"})
        assert answer.status_code in {400, 501}, answer.text
        message = answer.json()["error"]["message"]
        assert words in message
        assert "\n" not in message
        assert one.instance("kept")["pid"] == pid
    assert one.chat("kept", "Hello.").status_code == 200
    # What else is changed needs no other engine.
    edit(f'{KEPT}ttl = "10m"\naliases = ["k"]\n{REST}[scheduling]\nqueue_limit = 5\n[recovery]\nsilence = "3m"\n')
    told = reload(one)
    assert (told["added"], told["changed"], told["removed"]) == ([], [], [])
    assert one.chat("k", "Hello.").status_code == 200
    assert one.instance("kept")["pid"] == pid
    assert one.instance("kept")["rests_at"] is not None


def test_many_reloads_while_clients_ask_lose_no_answer(start, edit):
    one = start(KEPT + OTHER.format(512) + REST, ready=False)
    stop = []

    def client(number: int) -> list[int]:
        codes = []
        with httpx.Client(base_url=one.address, timeout=120, trust_env=False) as found:
            while not stop:
                body = {"model": ("kept", "other")[number % 2], "max_tokens": 3,
                        "messages": [{"role": "user", "content": f"Say {number}."}]}  # fmt: skip
                codes.append(found.post("/v1/chat/completions", json=body).status_code)
        return codes

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(client, number) for number in range(4)]
        try:
            wait_for(lambda: one.instance("other")["state"] == "ready", "the first engine", 60)
            for context in (768, 1024, 512):
                edit(KEPT + OTHER.format(context) + REST)
                assert reload(one)["changed"] == ["other"]
                wait_for(lambda wanted=context: one.instance("other")["context"] == wanted
                         and one.instance("other")["state"] == "ready", f"context {context}", 60)  # fmt: skip
        finally:
            stop.append(True)
        codes = [code for found in running for code in found.result(120)]
    assert set(codes) == {200}
    assert len(codes) >= 8
    engines = [entry["pid"] for entry in one.state()["instances"] if entry["pid"]]
    assert one.stop() == 0
    assert not alive(set(engines))
    assert json.loads(one.command("status", "--json").stdout or "{}").get("instances", []) == []
