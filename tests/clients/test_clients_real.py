"""Clients of others against the product with a real small model, and the public CompatCanary probe."""

from __future__ import annotations

import json

import psutil
import pytest
from foreign_programs import output_of

TRIES = 4


async def test_clients_say_the_same_of_the_same_request(product, node):
    found = await node("real_model", product.address, "small")
    assert len(found["texts"]) == 4
    assert len(set(found["texts"])) == 1
    assert found["texts"][0].strip()
    assert set(found["tokens"]) == {24}
    assert found["object"]["city"] in {"Omsk", "Paris"}


@pytest.fixture
def canary(node_folder):
    """Scans an address; gives back the report."""

    async def scan(address, key):
        report = await output_of(
            "node", node_folder / "node_modules" / "compatcanary" / "src" / "cli.js", "scan", "--base-url", address,
            "--model", "small", "--format", "json", "--timeout", "120", "--fail-on", "never", OPENAI_API_KEY=key,
        )  # fmt: skip
        return json.loads(report)

    return scan


async def test_all_that_the_engine_passes_passes_through_ansambl(product, canary):
    """Its probes of the engine itself (llama.cpp, with its own key) and of Ansambl in front of it.

    It sets no limit and no temperature, and a model this small rambles to the end of its context now and then, which is
    no completed response: so what did not pass is tried again.
    """
    engine = product.instance("small")
    key = psutil.Process(engine["pid"]).environ()["ANSAMBL_ENGINE_KEY"]
    straight = await canary(engine["address"], key)
    passed = {one["id"] for one in straight["results"] if one["status"] == "pass"}
    assert len(passed) >= 5, straight
    missing, report = passed, straight
    for _ in range(TRIES):
        report = await canary(f"{product.address}/v1", "any")
        assert [one["id"] for one in report["results"]] == [one["id"] for one in straight["results"]]
        missing = missing - {one["id"] for one in report["results"] if one["status"] == "pass"}
        if not missing:
            break
    assert not missing, report
