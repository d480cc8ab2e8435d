"""How long a simulation takes, and what the scheduler saves on the shipped traces against serving in order of arrival.

The first figures are swaps and waits of the shipped traces on the 96 GB card that their configuration is made for. The
last ones are CPU time for each request of a made-up trace of three models at one request a second, ansambl's policy
against fifo and lru; reading the trace is left out.

    python benchmarks/simulation.py [--requests 1000000]
"""

from __future__ import annotations

import argparse
import time
from random import Random

from ansambl.app.configuration.settings_file import load_settings
from ansambl.app.simulation.machines import SimulatedMachine, simulated_machine
from ansambl.app.simulation.simulating import OURS, POLICIES, run_policy
from ansambl.app.simulation.trace_files import read_trace, shipped_file, shipped_traces
from ansambl.domain.scheduling import RequestClass
from ansambl.runtime.scheduling.records import Rules
from ansambl.runtime.simulate import SimulationResult, spread
from ansambl.runtime.simulated import Trace

CARD = "rtx-pro-6000-128g"


def made_up(requests: int, seed: int = 1) -> Trace:
    """One request a second on average, six in ten of them for the largest model, of all classes."""
    chance, trace, now = Random(seed), Trace(), 0.0  # noqa: S311 - made-up figures
    for _ in range(requests):
        now += chance.expovariate(1.0)
        trace.add(
            now, chance.choices(("big", "quick", "code"), (6, 3, 1))[0],
            chance.choices(tuple(RequestClass), (6, 2, 1, 1))[0], prompt_tokens=chance.randrange(100, 1500),
            output_tokens=chance.randrange(10, 100), conversation=f"c{chance.randrange(50_000)}",
        )  # fmt: skip
    return trace


def timed(name: str, machine: SimulatedMachine, trace: Trace) -> float:
    """CPU seconds of one simulation."""
    began = time.process_time()
    run_policy(name, machine, Rules(), trace)
    return time.process_time() - began


def waits(result: SimulationResult) -> str:
    """The interactive waits in words."""
    found = spread(result.waits[RequestClass.INTERACTIVE])
    return " / ".join(f"{one or 0:.0f}" for one in found.values())


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    requests = parser.parse_args().requests
    config = shipped_file("card-96g.toml")
    machine = simulated_machine(load_settings(config), CARD, config)
    for name in shipped_traces():
        trace = read_trace(name, str)
        results = {policy: run_policy(policy, machine, Rules(), trace) for policy in POLICIES}
        print(f"{name}: {len(trace)} requests; swaps, interactive wait in s (median / 95 % / longest)")
        for policy, result in results.items():
            own = results[OURS].swaps
            ratio = f" ({result.swaps / own:.1f} times ansambl's)" if own and policy != OURS else ""
            print(f"  {policy:8} {result.swaps:4} swaps{ratio}; {waits(result)}")
    trace = made_up(requests)
    ours = timed(OURS, machine, trace)
    print(f"simulation: {ours:.1f} s of CPU time for {requests} requests, {ours / requests * 1e6:.0f} µs each")
    for policy in POLICIES:
        if policy != OURS:
            other = timed(policy, machine, trace)
            print(f"  {policy}: {other:.1f} s, {ours / other:.1f} times less than ansambl's")


if __name__ == "__main__":
    main()
