"""What the real bundled engine took is kept, and `ansambl fit` on the same machine then says measured."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from product import Started, run_command, wait_for

from ansambl.app.fitting import Question, answer
from ansambl.domain.footprint import FootprintBasis
from ansambl.domain.planning import PlannedPlacement

Starter = Callable[..., Started]

pytestmark = pytest.mark.engine

CONTEXT, PARALLEL = 1536, 2
CONFIGURATION = f"""
[models.embedded]
checkpoint = "embedded"
context = {CONTEXT}
parallel = {PARALLEL}
"""
MIB = 2**20


def rows(data: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(f"{(data / 'ansambl.db').as_uri()}?mode=ro", uri=True)) as database:
        database.row_factory = sqlite3.Row
        return [dict(one) for one in database.execute("SELECT * FROM measurements")]


def fit(data: Path, *arguments: str) -> dict[str, Any]:
    done = run_command("fit", "embedded", "--parallel", str(PARALLEL), "--json", *arguments, data=data)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def logged(data: Path) -> dict[str, int]:
    """Bytes by part as the engine's own log tells them."""
    log = "".join(file.read_text(errors="replace") for file in (data / "logs").rglob("*embedded*.log"))
    found = re.findall(r"(model|KV|compute) buffer size\s*=\s*([\d.]+) MiB", log)
    names = {"model": "weights", "KV": "kv_cache", "compute": "compute"}
    sizes: dict[str, int] = {}
    for name, size in found:
        sizes[names[name]] = sizes.get(names[name], 0) + round(float(size) * MIB)
    return sizes


def asked(*settings: tuple[str, str], **fields: Any) -> PlannedPlacement:
    """The answer to a question about the embedded model, in this process."""
    known = {"context": CONTEXT, "parallel": PARALLEL, "settings": dict(settings), **fields}
    return answer(Question("embedded", **known)).best


def test_what_ran_here_is_measured_and_not_forecast(
    start: Starter, data_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANSAMBL_DATA", str(data_folder))
    assert asked().footprint.basis is FootprintBasis.FORECAST
    product = start(CONFIGURATION)
    reply = product.chat("embedded", "Tell a long story about a fox.", max_tokens=40)
    assert reply.status_code == 200, reply.text
    # It is kept while Ansambl runs, and read beside it.
    kept = wait_for(lambda: rows(data_folder), "a measurement in the database")
    assert [(one["context"], one["parallel"], one["engine"]) for one in kept] == [
        (CONTEXT, PARALLEL, "llama.cpp-bundled")
    ]
    assert kept[0]["resident"] > 90 * MIB
    assert kept[0]["load_seconds"] > 0
    measured = fit(data_folder, "--context", str(CONTEXT))
    assert (measured["basis"], measured["engine"]) == ("measured", "llama.cpp-bundled")
    ram = measured["devices"][-1]
    told = logged(data_folder)
    assert set(told) == {"weights", "kv_cache", "compute"}
    assert {name: ram["parts"][name] for name in told} == told
    # Weights, KV cache and all else that the process held; its compute buffer is touched later.
    assert ram["low_bytes"] == ram["expected_bytes"] == kept[0]["resident"] + told["compute"]
    sources = {one["code"]: one["source"] for one in measured["reasons"]}
    assert kept[0]["version"] in sources["measured"]
    _others_are_not_measured(told)
    assert product.stop() == 0
    done = rows(data_folder)[0]
    assert done["decoded_tokens"] == 40
    corrected = asked().speed
    assert corrected.decode is not None
    assert corrected.decode.expected == pytest.approx(done["decoded_tokens"] / done["decode_seconds"])
    assert "speed.calibrated-decode" in {one.code for one in corrected.reasons}


def _others_are_not_measured(told: dict[str, int]) -> None:
    """Another context is scaled; another machine, engine, type of KV cache or setting is only forecast."""
    twice = asked(context=2 * CONTEXT).footprint
    assert twice.basis is FootprintBasis.SCALED
    assert twice.devices[-1].kv_cache.expected == 2 * told["kv_cache"]
    assert twice.devices[-1].weights.expected == told["weights"]
    for other in (
        asked(machine="rtx-4090-64g"), asked(kv_type="q8_0"), asked(("n_ubatch", "512")), asked(engine="llama.cpp"),
        asked(("engine_version", "b6000")),
    ):  # fmt: skip
        assert other.footprint.basis is FootprintBasis.FORECAST
    # The very settings that it ran with may be named.
    assert asked(("n_ubatch", "64"), engine="llama.cpp-bundled").footprint.basis is FootprintBasis.MEASURED
