"""What people see of a running product: memory by device, speeds, caches, engines stopped and woken, usage by day."""

from __future__ import annotations

import json
import re

import pytest
from product import Started, run_command, wait_for

pytestmark = pytest.mark.engine

CONFIG = """
[models.one]
checkpoint = "embedded"
context = 2048
parallel = 1

[models.two]
checkpoint = "embedded"
context = 1024
parallel = 1

[roles.helper]
instruction = "Be brief."
model = "two"

[ensembles.pair]
pattern = "council"
roles = ["helper", "brief"]
conductor = "brief"
"""


def figures(product: Started) -> dict[str, float]:
    page = product.client.get("/metrics").text
    return {name: float(value) for name, value in re.findall(r"^(ansambl_\S+) (\S+)$", page, re.MULTILINE)}


def test_what_runs_and_what_was_used_is_shown(start):
    product = start(CONFIG)
    assert product.chat("one", "Count from one to forty.", max_tokens=40).status_code == 200
    for _ in range(2):
        assert product.chat("helper", "Say hello.", max_tokens=8).status_code == 200
    assert product.chat("pair", "Say hello.", max_tokens=8).status_code == 200

    listed = json.loads(product.command("instances", "list", "--json").stdout)
    (ram,) = (one for one in listed["devices"] if one["device"] == "ram")
    one, two = listed["instances"]
    assert [one["model"], two["model"]] == ["one", "two"]
    assert one["residency"] == two["residency"] == "in"
    assert one["reserved"]["ram"] > two["reserved"]["ram"] > 50_000_000
    assert ram["reserved"] == one["reserved"]["ram"] + two["reserved"]["ram"]
    assert 0 < two["cached_share"] < 1
    shown = product.command("status").stdout
    assert "reserved for models" in shown
    assert "loaded in" in shown

    # The engine's own figures are looked at every ten seconds.
    rate = 'ansambl_instance_decode_tokens_per_second{model="one"}'
    found = wait_for(lambda: (page := figures(product)).get(rate, 0) > 0 and page, "the speed of an engine")
    assert found['ansambl_loads_total{model="one"}'] == found['ansambl_loads_total{model="two"}'] == 1
    assert found['ansambl_load_seconds_sum{model="one"}'] > 0
    # What engines hold grows with their work, so nothing is equal to what was shown a moment ago.
    reserved = [size for name, size in found.items() if name.startswith("ansambl_instance_reserved_bytes")]
    assert len(reserved) == 2
    assert found['ansambl_device_reserved_bytes{device="ram"}'] == sum(reserved)
    assert found['ansambl_requests_granted_total{class="interactive"}'] >= 5

    stopped = json.loads(product.command("instances", "stop", "two", "--json").stdout)
    assert (stopped["state"], stopped["residency"], stopped["reserved"]) == ("stopped", "out", {})
    woken = json.loads(product.command("instances", "wake", "two", "--json").stdout)
    assert (woken["state"], woken["residency"]) == ("ready", "in")
    refused = product.command("instances", "sleep", "one")
    assert (refused.returncode, refused.stderr.count("\n")) == (3, 1)

    assert product.command("down").returncode == 0
    rows = json.loads(run_command("instances", "usage", "--json", data=product.data).stdout)["usage"]
    used = {(row["model"], row["name"]): row for row in rows}
    assert used["one", "one"]["requests"] == 1
    assert used["one", "one"]["output_tokens"] > 8
    # Twice by itself, once in the council.
    assert used["two", "helper"]["requests"] == 3
    assert used["two", "helper"]["cached_tokens"] > 0
    # Once as a member, once as the conductor.
    assert used["one", "brief"]["requests"] == 2
