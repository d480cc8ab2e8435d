"""Two models in a budget that holds one of them, on the real engine: who waits, what is swapped, what comes back."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from product import Started, run_command, wait_for

from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.engine_choice import EngineFinder, place
from ansambl.app.footprints import Footprints
from ansambl.app.model_memory import devices_of
from ansambl.foundation.paths import DataPaths
from ansambl.hardware import inventory
from ansambl.model_catalog.checkpoints import open_checkpoint
from ansambl.runtime.events import EventLog

pytestmark = pytest.mark.engine

MODELS = """
[models.big]
checkpoint = "embedded"
context = 4096
parallel = 1

[models.small]
checkpoint = "embedded"
context = 2048
parallel = 1

[engines."llama.cpp-bundled"]
prompt_cache = 0
"""
HEADERS = {"background": {"x-ansambl-class": "background"}, "task": {"x-task": "title_generation"}}


def needs(data: Path, file: Path) -> dict[str, int]:
    """What each model is believed to take of the RAM before it ever ran."""
    file.write_text(MODELS, encoding="utf-8")
    loaded, paths, machine = load_settings(file, environment={}), DataPaths(data), inventory.detect()
    finder = EngineFinder(loaded, paths)
    found = Footprints(
        loaded, lambda one: place(loaded, one, open_checkpoint("embedded", paths.models), finder), lambda: machine,
        lambda: devices_of(machine, loaded.settings.budget), paths.database, EventLog(),
    )  # fmt: skip
    return {one: found.look(one).needs["ram"] for one in loaded.settings.models}


@pytest.fixture
def started(start, data_folder, tmp_path) -> Started:
    """The product with a budget for the larger model and half of the other."""
    sizes = needs(data_folder, tmp_path / "needs.toml")
    budget = sizes["big"] + sizes["small"] // 2
    return start(f"{MODELS}\n[budget]\nram = {budget}\n", ready=False)


def swaps(one: Started) -> int:
    return sum(instance["swaps"] for instance in one.state()["instances"])


def resident(one: Started) -> list[str]:
    return [instance["model"] for instance in one.state()["instances"] if instance["state"] == "ready"]


def ask(one: Started, model: str, words: str = "Say hello.", *, stream: bool = False, **more) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": words}], "max_tokens": 4, "temperature": 0}
    headers = more.pop("headers", {})
    return one.client.post("/v1/chat/completions", json={**body, "stream": stream, **more}, headers=headers)


def is_answered(answer: httpx.Response, *, stream: bool) -> bool:
    if answer.status_code != 200:
        return False
    if not stream:
        return bool(answer.json()["choices"][0]["message"]["content"])
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: ")]
    parts = [json.loads(line) for line in events[:-1]]
    return events[-1] == "[DONE]" and not any("error" in part for part in parts) and len(parts) > 1


def test_two_clients_that_each_keep_to_a_model_are_served_with_few_swaps(started):
    def client(model: str) -> list[bool]:
        return [is_answered(ask(started, model, f"{model} {turn}"), stream=False) for turn in range(16)]

    before = swaps(started)
    with ThreadPoolExecutor(2) as pool:
        answers = [one for found in pool.map(client, ("big", "small")) for one in found]
    assert answers == [True] * 32
    # Fewer swaps than requests by at least 4 to 1, and both were served although neither let go by itself.
    assert 1 <= swaps(started) - before <= len(answers) / 4


def test_six_clients_that_change_their_model_each_time_are_all_answered(started):
    def client(number: int) -> list[bool]:
        found = []
        for turn in range(8):
            model, stream = ("big", "small")[(number + turn) % 2], turn % 3 == 0
            found.append(is_answered(ask(started, model, f"{number} {turn}", stream=stream), stream=stream))
        return found

    before = swaps(started)
    with ThreadPoolExecutor(6) as pool:
        answers = [one for found in pool.map(client, range(6)) for one in found]
    assert answers == [True] * 48
    assert 1 <= swaps(started) - before <= len(answers) / 4


def test_a_long_conversation_comes_back_after_a_swap(started):
    story = " ".join(
        f"Number {one} is followed by {one + 1}, and {one} times two is {2 * one}." for one in range(1, 84)
    )
    messages = [{"role": "user", "content": f"{story} What comes after 3?"}]
    first = ask(started, "big", messages=messages, max_tokens=16)
    assert first.status_code == 200, first.text
    assert first.json()["usage"]["prompt_tokens"] >= 1800
    messages += [first.json()["choices"][0]["message"], {"role": "user", "content": "And after 4?"}]
    assert ask(started, "small").headers["x-ansambl-swaps"] == "1"
    assert resident(started) == ["small"]
    again = ask(started, "big", messages=messages, max_tokens=4)
    usage = again.json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 0.95 * first.json()["usage"]["prompt_tokens"]


def test_tasks_and_background_requests_cause_no_swap(started):
    assert ask(started, "big").status_code == 200
    before = swaps(started)
    # A title for a chat with the model that is not there: any chat model may write it.
    task = ask(started, "small", "Create a concise title for the chat.", headers=HEADERS["task"])
    assert is_answered(task, stream=False)
    late = ask(started, "small", headers={**HEADERS["background"], "x-ansambl-patience": "0.5"})
    assert (late.status_code, late.json()["error"]["code"]) == (503, "expired")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(ask, started, "small", headers=HEADERS["background"])
        wait_for(lambda: started.instance("small")["waiting"] == 1, "the background request waits")
        assert ask(started, "big", "And now?").status_code == 200
        assert (swaps(started), resident(started)) == (before, ["big"])
        shown = json.loads(started.command("status", "--json").stdout)
        assert {one["model"]: one["waiting"] for one in shown["instances"]} == {"big": 0, "small": 1}
        # Its model comes for a person's request, and it is answered beside that.
        assert ask(started, "small", "Hello.").status_code == 200
        assert is_answered(waiting.result(60), stream=False)
    assert swaps(started) == before + 1


def test_a_model_that_is_larger_than_the_budget_is_told_and_refused_and_the_rest_goes_on(start, data_folder, tmp_path):
    size = needs(data_folder, tmp_path / "needs.toml")["small"]
    one = start(
        f'{MODELS}\n[models.huge]\ncheckpoint = "embedded"\nparallel = 8\n[budget]\nram = {size}\n', ready=False
    )
    wait_for(lambda: "models.huge needs" in one.output, "the warning")
    assert one.output.count("models.huge needs") == 1
    refused = ask(one, "huge")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "does_not_fit")
    assert "it lacks 1." in refused.json()["error"]["message"]
    assert is_answered(ask(one, "small"), stream=False)


def test_a_pinned_set_that_cannot_fit_is_refused_in_one_line(data_folder, tmp_path):
    config = tmp_path / "ansambl.toml"
    pinned = MODELS.replace("parallel = 1", "parallel = 1\npinned = true")
    config.write_text(f'{pinned}\n[budget]\nram = "300MiB"\n', encoding="utf-8")
    done = run_command("up", "--config", str(config), "--port", "0", data=data_folder)
    assert done.returncode == 3
    line = done.stderr.strip()
    assert line.startswith("error: The pinned models do not fit into RAM together: big ")
    assert "\n" not in line
    assert "budget.ram is 300.0 MiB" in line
