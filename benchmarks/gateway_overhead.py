"""What Ansambl's gateway costs: CPU per JSON request and per streamed chunk, added latency, memory, beside nginx.

All proxies stand before the same fixed upstream and are measured by turns in one run. CPU is the proxy process's own
user and system time divided by requests or chunks: on a busy machine that is steadier than latency. Prints one table;
asserts nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from support.figures import Row, Spread, percentile, spread, table
from support.processes import BenchmarkError, CpuClock, clean_up, start_ansambl, start_nginx, start_upstream

LOAD = Path(__file__).parent / "support" / "load.py"
CONNECTIONS, STREAMS = 16, 64
LIMIT = 180.0
"""Seconds that one piece of load may take."""


@dataclass(slots=True)
class Target:
    """What is measured: a port to ask for a model, and the process whose CPU counts (None for the upstream itself)."""

    title: str
    port: int
    model: str
    pid: int | None
    json_ms: list[float] = field(default_factory=list)
    chunk_us: list[float] = field(default_factory=list)
    stream_seconds: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)


def load(**work: Any) -> dict[str, Any]:
    """Run the load generator in its own process.

    Raises:
        BenchmarkError: it failed or took too long.
    """
    try:
        done = subprocess.run(
            [sys.executable, str(LOAD), json.dumps(work)], capture_output=True, timeout=LIMIT, check=False, text=True
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"the load {work} took more than {LIMIT:.0f} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no words"])[-1]
        raise BenchmarkError(f"the load {work} failed: {last}")
    return dict(json.loads(done.stdout))


def measure(targets: Sequence[Target], *, requests: int, rounds: int, sequential: int) -> None:
    """Fill in the figures of all targets; each round asks all of them, so that noise meets all alike."""
    for target in targets:
        load(kind="json", port=target.port, model=target.model, count=CONNECTIONS * 10, connections=CONNECTIONS)
        load(kind="stream", port=target.port, model=target.model, count=4)
    for _ in range(rounds):
        for target in targets:
            clock = CpuClock(target.pid) if target.pid else None
            done = load(
                kind="json", port=target.port, model=target.model, count=requests // rounds, connections=CONNECTIONS
            )
            if clock:
                target.json_ms.append(clock.seconds() * 1e3 / done["requests"])
            clock = CpuClock(target.pid) if target.pid else None
            done = load(kind="stream", port=target.port, model=target.model, count=STREAMS)
            if clock:
                target.chunk_us.append(clock.seconds() * 1e6 / done["chunks"])
            target.stream_seconds.append(done["seconds"])
    pairs = [[target.port, target.model] for target in targets]
    for target, seconds in zip(targets, load(kind="latency", targets=pairs, count=sequential)["seconds"], strict=True):
        target.latency = seconds


def added(target: Target, direct: Target, share: float) -> Spread:
    """A percentile of the milliseconds by which a target is slower than the direct way asked just before it."""
    return spread(
        [percentile([(one - two) * 1e3 for one, two in zip(target.latency, direct.latency, strict=True)], share)]
    )


def rows(direct: Target, nginx: Target | None, ours: Sequence[Target]) -> list[Row]:
    """The table's rows."""
    found: list[Row] = []
    for target in ours:
        json_reference = spread(nginx.json_ms) if nginx else None
        found.append(Row(f"JSON request, {target.title}", "CPU ms", spread(target.json_ms), json_reference))
    for target in ours:
        chunk_reference = spread(nginx.chunk_us) if nginx else None
        found.append(Row(f"streamed chunk, {target.title}", "CPU µs", spread(target.chunk_us), chunk_reference))
    for target in ours:
        for share in (0.5, 0.99):
            reference = added(nginx, direct, share) if nginx else None
            figure = f"added latency p{share * 100:.0f}, {target.title}"
            found.append(Row(figure, "ms", added(target, direct, share), reference))
    memory = [spread([psutil.Process(one.pid).memory_info().rss / 2**20]) if one else None for one in (ours[0], nginx)]
    if memory[0]:
        found.append(Row("memory after the load", "MiB RSS", memory[0], memory[1]))
    return found


def main() -> int:
    """Start everything, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="JSON requests for each proxy, in all rounds")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the table shows their median and range")
    parser.add_argument("--sequential", type=int, default=300, help="requests one after another for the latency")
    chosen = parser.parse_args()
    # A short name: paths stand in the configuration of nginx.
    with tempfile.TemporaryDirectory(prefix="ansambl-bench-") as name, clean_up():
        folder = Path(name)
        try:
            _, upstream = start_upstream(folder)
            nginx = start_nginx(upstream, folder)
            config = f'[models.fixed]\naddress = "http://127.0.0.1:{upstream}/v1"\n'
            pid, port = start_ansambl(config, folder / "ansambl")
            direct = Target("direct", upstream, "fixed", None)
            reference = Target("nginx", nginx[1], "fixed", nginx[0]) if nginx else None
            ours = [Target("plain model", port, "fixed", pid), Target("role coder", port, "coder", pid)]
            targets = [direct, *([reference] if reference else []), *ours]
            measure(targets, requests=chosen.requests, rounds=chosen.rounds, sequential=chosen.sequential)
            print_result(direct, reference, ours, chosen)
        except BenchmarkError as error:
            print(f"gateway_overhead: {error}", file=sys.stderr)
            return 1
    return 0


def print_result(direct: Target, nginx: Target | None, ours: Sequence[Target], chosen: argparse.Namespace) -> None:
    """Print the table and how it was measured."""
    print(
        f"Gateway overhead: {chosen.requests} JSON requests of about 1.5 kB over {CONNECTIONS} connections, "
        f"{chosen.rounds} x {STREAMS} streams of 100 chunks 5 ms apart at once, {chosen.sequential} sequential "
        f"requests by turns; load by benchmarks/support/load.py."
    )
    if nginx is None:
        print("nginx is not installed here, so there is no reference and no ratio (Debian: apt-get install nginx).")
    print(table(rows(direct, nginx, ours), "Ansambl", "nginx"))
    took = ", ".join(
        f"{one.title} {spread(one.stream_seconds)} s" for one in (direct, *([nginx] if nginx else []), *ours)
    )
    print(f"A round of streams lasts 0.5 s by its pace and took: {took}. Where it took longer, chunks came in bunches.")


if __name__ == "__main__":
    sys.exit(main())
