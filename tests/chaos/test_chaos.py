"""Everything goes wrong at once, Ansambl itself too, for as long as ``CHAOS_SECONDS`` says: ``make test-chaos``."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_stage import Chaos, configuration, engines_of
from product import Started, make_data_folder, run_command, start_product, wait_for

SECONDS = float(os.environ.get("CHAOS_SECONDS", "600"))
SEED = int(os.environ.get("CHAOS_SEED") or time.time())
BUDGET = "500MiB"


class Starter:
    """Starts the product, again and again on the same port and data folder."""

    def __init__(self, folder: Path, data: Path) -> None:
        self.data, self.config, self.count = data, folder / "ansambl.toml", 0
        self.folder = folder
        self.last: Started | None = None

    def start(self) -> Started:
        log = self.folder / f"up-{self.count}.log"
        self.count += 1
        port = self.last.port if self.last is not None else None
        self.last = start_product(self.data, self.config, log, port=port, path="/health")
        return self.last

    async def again(self) -> Started:
        """Start it in place of one that was killed."""
        assert self.last is not None
        self.last.client.close()
        return await asyncio.to_thread(self.start)


@pytest.fixture
def starter(tmp_path: Path, embedded_model_folder: Path) -> Iterator[Starter]:
    data = make_data_folder(tmp_path / "data", embedded_model_folder)
    made = Starter(tmp_path, data)
    made.config.write_text(configuration(BUDGET), encoding="utf-8")
    yield made
    if made.last is not None:
        made.last.end()
    run_command("down", data=data)


@pytest.mark.chaos
@pytest.mark.timeout(SECONDS + 1200)
async def test_nothing_is_lost_when_everything_goes_wrong_for_long(starter: Starter) -> None:
    print(f"chaos: seed {SEED}, {SECONDS:.0f} s")  # noqa: T201 - so that it can be repeated
    product = starter.start()
    chaos = Chaos(product, starter.config, BUDGET, SEED, starter.again)
    try:
        report = await chaos.run(SECONDS, clients=8, every=2.5)
    finally:
        print(chaos.report.line())  # noqa: T201 - what the run was for
    assert report.outcomes["streamed"] + report.outcomes["whole"] > SECONDS / 10
    # Killed once more, at the end: nothing that it started survives `ansambl down`.
    chaos.product.process.kill()
    chaos.product.process.wait()
    assert engines_of(starter.data)
    done = run_command("down", data=starter.data)
    assert done.returncode == 0, done.stderr
    wait_for(lambda: not engines_of(starter.data), "no engine left", 15)
