"""What Ansambl's gateway costs: CPU per request and per streamed chunk, added latency, memory, start; beside others.

All proxies (Ansambl, nginx, LiteLLM) stand before the same fixed upstream and are measured by turns in one run. CPU is
the proxy process's own user and system time divided by requests or chunks: on a busy machine that is steadier than
latency. Prints one table with what was promised; asserts nothing. With ``--streams N`` that many streams are held, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from support.comparison import Compared, Figure, Promise, comparison
from support.figures import Spread, percentile, spread
from support.load import KEY, request
from support.processes import (
    BenchmarkError,
    CpuClock,
    ansambl_command,
    clean_up,
    free_port,
    litellm_command,
    litellm_program,
    start_and_ask,
    start_nginx,
    start_upstream,
    stop,
)

LOAD = Path(__file__).parent / "support" / "load.py"
CONNECTIONS, STREAMS = 16, 64
LIMIT = 180.0
"""Seconds that one piece of load may take."""
FEWER = 20
"""LiteLLM is asked that many times less often: it takes that much longer."""
MIB = 2**20


@dataclass(slots=True)
class Target:
    """What is measured: a port to ask for a model, and the process whose CPU counts (None for the upstream itself).

    `key` is sent with each request, "" sends none that counts. `share` of the requests is sent.
    """

    title: str
    port: int
    model: str
    pid: int | None
    key: str = ""
    share: float = 1.0
    json_ms: list[float] = field(default_factory=list)
    chunk_us: list[float] = field(default_factory=list)
    stream_seconds: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    idle_mib: float = 0.0
    start_seconds: list[float] = field(default_factory=list)

    def rss(self) -> float:
        """The resident memory of its process, in MiB."""
        return psutil.Process(self.pid).memory_info().rss / MIB


def load(*, key: str = "", limit: float = LIMIT, meanwhile: Callable[[float], None] | None = None, **work: Any) -> Any:
    """Run the load generator in its own process. `meanwhile` is called four times a second with the seconds so far.

    Raises:
        BenchmarkError: it failed or took too long.
    """
    environment = {**os.environ, KEY: key or "none"}
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, str(LOAD), json.dumps(work)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
    ) as process:  # fmt: skip
        while True:
            try:
                out, errors = process.communicate(timeout=0.25)
                break
            except subprocess.TimeoutExpired as error:
                if time.monotonic() - began > limit:
                    process.kill()
                    raise BenchmarkError(f"the load {work} took more than {limit:.0f} s") from error
                if meanwhile is not None:
                    meanwhile(time.monotonic() - began)
    if process.returncode:
        last = (errors.strip().splitlines() or ["no words"])[-1]
        raise BenchmarkError(f"the load {work} failed: {last}")
    return json.loads(out)


def measure(targets: Sequence[Target], *, requests: int, rounds: int, sequential: int) -> None:
    """Fill in the figures of all targets; each round asks all of them, so that noise meets all alike."""
    for target in targets:
        warm = max(CONNECTIONS, round(CONNECTIONS * 10 * target.share))
        load(kind="json", port=target.port, model=target.model, count=warm, connections=CONNECTIONS, key=target.key)
        load(kind="stream", port=target.port, model=target.model, count=4, key=target.key)
    for _ in range(rounds):
        for target in targets:
            count = max(CONNECTIONS, round(requests / rounds * target.share))
            clock = CpuClock(target.pid) if target.pid else None
            done = load(
                kind="json", port=target.port, model=target.model, count=count, connections=CONNECTIONS, key=target.key
            )
            if clock:
                target.json_ms.append(clock.seconds() * 1e3 / done["requests"])
            clock = CpuClock(target.pid) if target.pid else None
            done = load(
                kind="stream", port=target.port, model=target.model, count=STREAMS if target.share == 1 else 8,
                key=target.key,
            )  # fmt: skip
            if clock:
                target.chunk_us.append(clock.seconds() * 1e6 / done["chunks"])
            target.stream_seconds.append(done["seconds"])
    turns = [one for one in targets if not one.key]
    pairs = [[target.port, target.model] for target in turns]
    for target, seconds in zip(turns, load(kind="latency", targets=pairs, count=sequential)["seconds"], strict=True):
        target.latency = seconds


def added(target: Target, direct: Target, share: float) -> Spread:
    """A percentile of the milliseconds by which a target is slower than the direct way asked just before it."""
    return spread(
        [percentile([(one - two) * 1e3 for one, two in zip(target.latency, direct.latency, strict=True)], share)]
    )


def figures(
    direct: Target, nginx: Target | None, litellm: Target | None, ours: Sequence[Target]
) -> list[Figure]:  # fmt: skip
    """The rows of the table that come from `measure`."""
    found = [
        Figure(
            f"JSON request, {target.title}", "CPU ms", spread(target.json_ms),
            spread(nginx.json_ms) if nginx else None, spread(litellm.json_ms) if litellm else None,
            (Promise(0.25), Promise(50, Compared.TIMES_LESS)),
        )
        for target in ours
    ]  # fmt: skip
    found += [
        Figure(
            f"streamed chunk, {target.title}", "CPU µs", spread(target.chunk_us),
            spread(nginx.chunk_us) if nginx else None, spread(litellm.chunk_us) if litellm else None,
            (Promise(2, Compared.TIMES_REFERENCE),),
        )
        for target in ours
    ]  # fmt: skip
    for target in ours:
        for share, limit in ((0.5, 1.0), (0.99, 3.0)):
            if target.latency:
                found.append(
                    Figure(
                        f"added latency p{share * 100:.0f}, {target.title}", "ms", added(target, direct, share),
                        added(nginx, direct, share) if nginx else None,
                        added(litellm, direct, share) if litellm else None, (Promise(limit),),
                    )
                )  # fmt: skip
    one = ours[0]
    found.append(
        Figure("memory before the load", "MiB RSS", spread([one.idle_mib]), _memory(nginx), _memory(litellm),
               (Promise(120),))
    )  # fmt: skip
    found.append(
        Figure("memory after the load", "MiB RSS", spread([one.rss()]), spread([nginx.rss()]) if nginx else None,
               spread([litellm.rss()]) if litellm else None)
    )  # fmt: skip
    found.append(
        Figure("start to first answer", "s", spread(one.start_seconds), None,
               spread(litellm.start_seconds) if litellm else None, (Promise(1.0),))
    )  # fmt: skip
    return found


def _memory(target: Target | None) -> Spread | None:
    return spread([target.idle_mib]) if target else None


def start_ours(folder: Path, upstream: int, *, starts: int) -> Target:
    """Start Ansambl before the upstream a few times; the last stays.

    The first start is not timed: it makes the data folder, and compiles what pip compiles when it installs.
    """
    config = f'[models.fixed]\naddress = "http://127.0.0.1:{upstream}/v1"\n'
    seconds: list[float] = []
    while True:
        port = free_port()
        argv, environment = ansambl_command(config, folder, port)
        content = request(port, "fixed", stream=False)
        pid, took = start_and_ask(argv, environment, folder / "ansambl.log", port, content, 60.0)
        seconds.append(took)
        if len(seconds) > starts:
            break
        stop(pid)
    time.sleep(2.0)
    target = Target("plain model", port, "fixed", pid, start_seconds=seconds[1:])
    target.idle_mib = target.rss()
    return target


def start_litellm(program: str | None, folder: Path, upstream: int) -> Target | None:
    """Start LiteLLM's proxy before the upstream; None when it is not installed.

    Raises:
        BenchmarkError: it does not start.
    """
    found = litellm_program(program)
    if found is None:
        return None
    argv, environment, port = litellm_command(found, upstream, folder)
    content = request(port, "fixed", stream=False)
    # Once before, as Ansambl.
    stop(start_and_ask(argv, environment, folder / "litellm.log", port, content, 180.0)[0])
    pid, took = start_and_ask(argv, environment, folder / "litellm.log", port, content, 180.0)
    time.sleep(2.0)
    target = Target("LiteLLM", port, "fixed", pid, share=1 / FEWER, start_seconds=[took])
    target.idle_mib = target.rss()
    return target


def start_with_key(folder: Path, upstream: int) -> Target:
    """Start another Ansambl, which asks for a key with limits.

    Raises:
        BenchmarkError: it does not start, or makes no key.
    """
    port = free_port()
    config = f'[models.fixed]\naddress = "http://127.0.0.1:{upstream}/v1"\n'
    argv, environment = ansambl_command(config, folder, port)
    content = request(port, "fixed", stream=False)
    pid, _ = start_and_ask(argv, environment, folder / "ansambl.log", port, content, 60.0)
    command = ["keys", "create", "--limit", "10000000/min", "--tokens", "10000M/day"]
    made = subprocess.run(
        [sys.executable, "-m", "ansambl", *command],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    key = made.stdout.strip()
    if made.returncode or not key:
        raise BenchmarkError(f"no key could be made: {made.stderr.strip()}")
    return Target("plain model, with a key", port, "fixed", pid, key=key)


def while_down(folder: Path) -> list[Figure]:
    """How fast the names are listed while no engine answers."""
    port = free_port()
    argv, environment = ansambl_command(
        f'[models.fixed]\naddress = "http://127.0.0.1:{free_port()}/v1"\n', folder, port
    )
    content = f"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    pid, _ = start_and_ask(argv, environment, folder / "ansambl.log", port, content, 60.0)
    found = [
        Figure(
            f"{path} while the engine is down, p99", "ms",
            spread([percentile([one * 1e3 for one in load(kind="get", port=port, path=path, count=500)["seconds"]],
                               0.99)]),
            promises=(Promise(5.0),),
        )
        for path in ("/v1/models", "/health")
    ]  # fmt: skip
    stop(pid)
    return found


@dataclass(slots=True)
class Memory:
    """The memory of a process while streams are held: at `early` seconds, and at the last look."""

    pid: int
    early: float
    first: float | None = None
    last: float = 0.0
    descriptors: int = 0

    def look(self, seconds: float) -> None:
        """Note it; called again and again."""
        process = psutil.Process(self.pid)
        self.last = process.memory_info().rss / MIB
        self.descriptors = max(self.descriptors, process.num_fds())
        if self.first is None and seconds >= self.early:
            self.first = self.last


def hold(folder: Path, *, streams: int, seconds: float, pace: float) -> tuple[list[Figure], str]:
    """Hold many streams at once; returns the rows and a sentence on how it went."""
    folder.mkdir()
    _, upstream = start_upstream(folder, chunks=round(seconds * pace), pace=1 / pace)
    ours = start_ours(folder / "ansambl", upstream, starts=1)
    ramp = min(8.0, seconds / 6)
    memory, clock = Memory(ours.pid or 0, ramp + 2.0), CpuClock(ours.pid or 0)
    done = load(
        kind="hold", port=ours.port, model="fixed", count=streams, ramp=ramp, limit=4 * seconds + 60.0,
        meanwhile=memory.look,
    )  # fmt: skip
    used = clock.seconds()
    grown = memory.last - (memory.first or memory.last)
    errors = sum(done["errors"].values())
    found = [
        Figure(f"{streams} streams, errors", "streams", spread([float(errors)]), promises=(Promise(0),)),
        Figure(f"{streams} streams, memory at their end", "MiB RSS", spread([memory.last])),
        Figure(f"{streams} streams, growth after they began", "MiB", spread([grown]), promises=(Promise(5),)),
        Figure(f"{streams} streams, chunk", "CPU µs", spread([used * 1e6 / max(1, done["chunks"])])),
    ]
    words = (
        f"{streams} streams of {round(seconds * pace)} chunks at {pace:g} a second, begun within {ramp:.0f} s, took "
        f"{done['seconds']:.1f} s with {memory.descriptors} file descriptors and {used / done['seconds'] * 100:.0f} % "
        f"of a core; errors: {done['errors'] or 'none'}. Growth is counted from second {memory.early:.0f} on."
    )
    stop(ours.pid or 0)
    return found, words


def main() -> int:
    """Start everything, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=3000, help="JSON requests for each proxy, in all rounds")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the table shows their median and range")
    parser.add_argument("--sequential", type=int, default=300, help="requests one after another for the latency")
    parser.add_argument("--starts", type=int, default=5, help="starts of Ansambl that are timed")
    parser.add_argument("--litellm", help="the program of LiteLLM's proxy; also LITELLM_PROGRAM, or on the path")
    parser.add_argument("--streams", type=int, default=0, help="streams that are held at once; 0 leaves that out")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long they are held")
    parser.add_argument("--pace", type=float, default=10.0, help="chunks a second of each of them")
    chosen = parser.parse_args()
    # A short name: paths stand in the configuration of nginx.
    with tempfile.TemporaryDirectory(prefix="ansambl-bench-") as name, clean_up():
        folder = Path(name)
        try:
            _, upstream = start_upstream(folder)
            direct = Target("direct", upstream, "fixed", None)
            started = start_nginx(upstream, folder)
            nginx = Target("nginx", started[1], "fixed", started[0]) if started else None
            if nginx:
                nginx.idle_mib = nginx.rss()
            litellm = start_litellm(chosen.litellm, folder, upstream)
            plain = start_ours(folder / "ansambl", upstream, starts=chosen.starts)
            ours = [plain, dataclasses.replace(_same(plain), title="role coder", model="coder")]
            ours.append(start_with_key(folder / "keys", upstream))
            targets = [direct, *([nginx] if nginx else []), *ours, *([litellm] if litellm else [])]
            measure(targets, requests=chosen.requests, rounds=chosen.rounds, sequential=chosen.sequential)
            rows, words = figures(direct, nginx, litellm, ours), ""
            for one in (*ours[:1], *ours[2:], *([litellm] if litellm else [])):
                stop(one.pid or 0)
            rows += while_down(folder / "down")
            if chosen.streams:
                more, words = hold(folder / "held", streams=chosen.streams, seconds=chosen.seconds, pace=chosen.pace)
                rows += more
            print_result(targets, rows, words, chosen)
        except BenchmarkError as error:
            print(f"gateway_overhead: {error}", file=sys.stderr)
            return 1
    return 0


def _same(target: Target) -> Target:
    """The same process, with figures of its own."""
    return Target(target.title, target.port, target.model, target.pid)


def print_result(targets: Sequence[Target], rows: Sequence[Figure], words: str, chosen: argparse.Namespace) -> None:
    """Print the table and how it was measured."""
    titles = {one.title for one in targets}
    print(
        f"Gateway overhead: {chosen.requests} JSON requests of about 1.5 kB over {CONNECTIONS} connections, "
        f"{chosen.rounds} x {STREAMS} streams of 100 chunks 5 ms apart at once, {chosen.sequential} sequential "
        f"requests by turns; load by benchmarks/support/load.py."
    )
    if "nginx" not in titles:
        print("nginx is not installed here, so there is no reference and no ratio (Debian: apt-get install nginx).")
    if "LiteLLM" not in titles:
        print("LiteLLM is not installed here, so it is not compared (pip install 'litellm[proxy]'; --litellm PROGRAM).")
    print(comparison(rows, "Ansambl", "nginx", "LiteLLM"))
    took = ", ".join(f"{one.title} {spread(one.stream_seconds)} s" for one in targets)
    print(f"A round of streams lasts 0.5 s by its pace and took: {took}. Where it took longer, chunks came in bunches.")
    if words:
        print(words)


if __name__ == "__main__":
    sys.exit(main())
