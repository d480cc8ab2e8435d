"""Everything goes wrong at once, for a short time; ``make test-chaos`` does it for ten minutes."""

import os

import pytest
from chaos_stage import Chaos, configuration, engines_of
from product import wait_for

SECONDS = 20.0
BUDGET = "500MiB"

pytestmark = pytest.mark.engine


@pytest.mark.timeout(400)
async def test_nothing_is_lost_when_everything_goes_wrong_at_once(start, tmp_path):
    seed = int(os.environ.get("CHAOS_SEED", "6"))
    product = start(configuration(BUDGET), ready=False)
    chaos = Chaos(product, tmp_path / "ansambl.toml", BUDGET, seed)
    try:
        report = await chaos.run(SECONDS, clients=6, every=1.2)
    finally:
        print(chaos.report.line())  # noqa: T201 - shown when it fails, and with -s
    assert report.requests > 10
    assert report.outcomes["streamed"] + report.outcomes["whole"] > 5
    assert product.stop() == 0
    wait_for(lambda: not engines_of(product.data), "no engine left", 15)
