"""LoRA adapters through the whole product on the real llama.cpp: roles, plain models and ensembles never mix."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from product import wait_for
from random_loras import write_lora

from ansambl.domain.errors import NotSupportedError
from ansambl.model_catalog.embedded import embedded_path

pytestmark = pytest.mark.engine

CONFIGURATION = """
[models.tiny]
checkpoint = "embedded"
context = 1024
parallel = 2

[roles.sailor]
instruction = "Answer as a sailor."
lora = "pirate"

[roles.landsman]
instruction = "Answer as a farmer."

[ensembles.crew]
roles = ["sailor", "landsman"]
conductor = "landsman"
branch_tokens = 12
answer_tokens = 12
"""
QUESTION = "What is the sea? Tell me about ships, storms and the people who live on the coast, in one short sentence."


def said(started, model, words=QUESTION):
    answer = started.chat(model, words)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"]


def both(started, model):
    """What it says when the whole prompt is read, and when all but the last token was there."""
    whole = started.chat(model, QUESTION, cache_prompt=False).json()["choices"][0]["message"]["content"]
    said(started, model)
    return {whole, said(started, model)}


def listed(started):
    return {one["id"]: one for one in started.client.get("/v1/models").json()["data"]}


@pytest.fixture
def adapters(tmp_path, embedded_model_folder):
    base = embedded_path(embedded_model_folder)
    for number, name in enumerate(("pirate", "parrot"), 1):
        write_lora(tmp_path / f"{name}.gguf", base, seed=number, name=name)
    return tmp_path


def test_adapters_are_added_used_and_removed_while_the_product_runs(start, adapters):
    one = start(CONFIGURATION)
    wait_for(lambda: one.instance("tiny")["state"] == "ready", "the engine is ready")
    plain, farmer = said(one, "tiny"), said(one, "landsman")
    refused = one.chat("sailor", QUESTION)
    assert refused.status_code == NotSupportedError.status
    assert "pirate" in refused.json()["error"]["message"]
    assert one.instance("tiny")["loras"] == []

    first_engine = one.instance("tiny")["pid"]
    for name in ("pirate", "parrot"):
        added = one.command("lora", "add", name, str(adapters / f"{name}.gguf"), "--model", "tiny")
        assert added.returncode == 0, added.stderr
    wait_for(lambda: one.chat("parrot", QUESTION).status_code == 200, "the engine has the adapters", 40)
    assert one.instance("tiny")["pid"] != first_engine
    assert one.instance("tiny")["loras"] == ["parrot", "pirate"]
    assert {one["parent"] for one in listed(one).values() if one["kind"] == "lora"} == {"tiny"}

    # A prompt that is read whole and one whose last token alone is read round differently: both are right.
    wanted = {name: both(one, name) for name in ("tiny", "pirate", "parrot", "sailor", "landsman")}
    assert plain in wanted["tiny"]
    assert farmer in wanted["landsman"]
    assert len(set().union(*wanted.values())) == sum(map(len, wanted.values())), "no two of them say the same"
    order = ("tiny", "pirate", "tiny", "sailor", "landsman", "parrot", "pirate", "landsman", "tiny", "parrot", "sailor")
    for model in order:
        assert said(one, model) in wanted[model], f"{model} mixes with what was asked before"
    with ThreadPoolExecutor(4) as pool:
        for model, answer in zip(order, pool.map(partial(said, one), order), strict=True):
            assert answer, model

    crew = one.chat("crew", QUESTION, stream=False).json()
    branches = {branch["role"]: branch for branch in crew["ansambl"]["branches"]}
    assert {branches[name]["state"] for name in ("sailor", "landsman")} <= {"answered", "cut"}
    for model in order:
        assert said(one, model) in wanted[model], f"{model} mixes with what the ensemble asked"

    removed = one.command("lora", "remove", "pirate", "--yes")
    assert removed.returncode == 0, removed.stderr
    assert one.chat("pirate", QUESTION).status_code == 404
    wait_for(lambda: one.chat("parrot", QUESTION).status_code == 200, "the engine has the other one", 40)
    assert said(one, "tiny") in wanted["tiny"]
    assert said(one, "parrot") in wanted["parrot"]


def test_roles_with_one_adapter_answer_at_once_on_copies_of_what_they_share(start, adapters):
    one = start(
        CONFIGURATION.replace('roles = ["sailor", "landsman"]', 'roles = ["sailor", "captain", "landsman"]')
        .replace("parallel = 2", "parallel = 3").replace("context = 1024", "context = 2048")
        + '\n[roles.captain]\ninstruction = "Answer as a captain."\nlora = "pirate"\n'
    )  # fmt: skip
    added = one.command("lora", "add", "pirate", str(adapters / "pirate.gguf"), "--model", "tiny")
    assert added.returncode == 0, added.stderr
    wait_for(lambda: one.chat("pirate", "hello").status_code == 200, "the engine has the adapter", 40)
    question = QUESTION * 6
    plain = said(one, "tiny", question)
    crew = one.chat("crew", question, stream=False).json()["ansambl"]
    assert [(sharing["how"], sharing["requests"]) for sharing in crew["sharing"]] == [("cloned", 2)]
    branches = {branch["role"]: branch for branch in crew["branches"]}
    cached = branches["captain"]["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached > 128, "what was copied is used"
    for _ in range(3):
        assert said(one, "tiny", question) == plain, "a copy that an adapter read is never used without it"
    assert "no_copies" not in [event["kind"] for event in one.state()["events"]]
