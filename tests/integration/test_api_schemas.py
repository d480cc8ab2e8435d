"""Every route as its OpenAPI document says: no mistake of ours, and no answer that the document does not tell of.

The requests are made up from the documents, the same ones at each run. ``make fuzz-api`` makes up others, for longer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from api_stage import ADMIN_DOCUMENT, GATEWAY_DOCUMENT, TameProduct, schemathesis, tame_product


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TameProduct]:
    with tame_product(tmp_path_factory.mktemp("api")) as found:
        yield found


SLOW = "/(plan|fit|review|compat|simulate|doctor|models|engines)$"
"""Routes of the admin API that cost seconds: a few requests each, and not every bound of every field."""
TWICE = (
    "^(/rerank|/v2/rerank|/v1/reranking|/v1/audio/translations|/v1/images/(edits|variations)|/api/(push|create|copy))$"
)
"""Routes of the gateway that are answered by the code of another one."""


@pytest.mark.parametrize(
    ("document", "phases", "choice"),
    [
        (ADMIN_DOCUMENT, "examples,coverage,stateful", ("--exclude-path-regex", SLOW)),
        (ADMIN_DOCUMENT, "examples,fuzzing", ("--include-path-regex", f"^/admin/api{SLOW}")),
        (GATEWAY_DOCUMENT, "examples,coverage,stateful", ("--exclude-path-regex", TWICE)),
    ],
    ids=["admin", "planning", "gateway"],
)
def test_answers_are_as_described_whatever_is_asked(
    product: TameProduct, tmp_path: Path, document: str, phases: str, choice: tuple[str, ...]
) -> None:
    found = schemathesis(product, document, tmp_path, examples=2, phases=phases, more=choice)
    assert found.returncode == 0, found.stdout[-8000:] + found.stderr[-2000:]
    assert "No issues found" in found.stdout
    # It is still there, and what it was told to do did not happen.
    assert product.process.poll() is None
    assert httpx.get(f"{product.address}/health", trust_env=False).json() == {"status": "ok"}


def test_a_stop_was_asked_for_and_came_through(product: TameProduct) -> None:
    before = product.stops
    with product.client() as client:
        assert client.post("/admin/api/stop").status_code == 202
    assert product.stops == before + 1
