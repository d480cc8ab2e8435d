"""Made-up traces for ``ansambl simulate``: who asks what of which model, and when. The same seed gives the same trace.

The models are called ``big``, ``code`` and ``quick``, as in the configuration that is shipped beside the traces. Times
of turns do not move when an answer is late, as those of a real person would.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from random import Random
from typing import Any, TypeAlias

Line: TypeAlias = dict[str, Any]
"""One request, with the keys of a trace's line."""

HOUR = 3600.0
_LONGEST_PROMPT = 30_000


def lines_of(requests: list[Line]) -> str:
    """The requests as a trace's JSON lines, by time."""
    ordered = sorted(requests, key=lambda one: one["t"])
    return "".join(json.dumps(one, separators=(",", ":")) + "\n" for one in ordered)


def mixed(seed: int, hours: float = 2.0, load: float = 1.0) -> list[Line]:
    """Several people with three models, agents, batch jobs, background work, and titles as tasks.

    With twice the `load` pauses are half as long.
    """
    chance = Random(seed)  # noqa: S311 - made-up figures
    end = hours * HOUR
    found: list[Line] = []
    for person in range(6):
        found += _person(chance, f"person{person}", end, {"big": 6, "quick": 3, "code": 1}, pause=900.0 / load)
    for agent in range(2):
        start = chance.uniform(0, end / 4)
        while start < end:
            run = _agent(chance, f"agent{agent}-{round(start)}", start, "code", calls=chance.randrange(12, 30))
            found += run
            start = run[-1]["t"] + chance.expovariate(load / 2400)
    for job in range(int(hours)):
        found += _job(chance, job * HOUR + chance.uniform(600, 3000), "quick", "batch", 40)
        found += _job(chance, job * HOUR + chance.uniform(600, 3000), "big", "batch", 12)
        found += _job(chance, job * HOUR + chance.uniform(0, 1800), "code", "background", 10)
        found += _job(chance, job * HOUR + chance.uniform(0, 1800), "big", "background", 10)
    return [one for one in found if one["t"] < end]


def agents(seed: int, hours: float = 1.0) -> list[Line]:
    """Two agents; each plans on the big model and writes on the other, turn by turn."""
    chance = Random(seed)  # noqa: S311 - made-up figures
    end = hours * HOUR
    found: list[Line] = []
    for agent in range(2):
        start, turn = chance.uniform(0, 60), 0
        while start < end:
            model = "big" if turn % 2 == agent else "code"
            name = f"agent{agent}-{turn // 8}-{model}"
            run = _agent(chance, name, start, model, calls=chance.randrange(2, 6), prompt=2000 + 900 * (turn % 8))
            found += run
            start, turn = run[-1]["t"] + chance.uniform(5, 20), turn + 1
    return [one for one in found if one["t"] < end]


def people(seed: int, hours: float = 2.0) -> list[Line]:
    """Three people who talk now and then: a light load."""
    chance = Random(seed)  # noqa: S311 - made-up figures
    found: list[Line] = []
    for person in range(3):
        found += _person(chance, f"person{person}", hours * HOUR, {"big": 5, "quick": 4, "code": 1}, pause=1800.0)
    return found


TRACES: Mapping[str, Callable[[], list[Line]]] = {
    "mixed": lambda: mixed(6, load=3.0), "agents": lambda: agents(6), "people": lambda: people(6),
}  # fmt: skip
"""The shipped traces, made again."""


def _person(chance: Random, name: str, end: float, models: Mapping[str, int], *, pause: float) -> list[Line]:
    """One conversation after another; the first answer of each gets a title, some answers get follow-ups."""
    found: list[Line] = []
    now, session = chance.expovariate(1 / pause), 0
    while now < end:
        model = chance.choices(list(models), list(models.values()))[0]
        chat, held = f"{name}-{session}", chance.randrange(150, 900)
        for turn in range(chance.randrange(2, 10)):
            output = round(chance.lognormvariate(5.6, 0.6))
            found.append(_line(now, model, "interactive", held, min(output, 1500), chat))
            held = min(held + output + chance.randrange(20, 250), _LONGEST_PROMPT)
            if turn == 0 or chance.random() < 0.3:
                found.append(
                    _line(now + chance.uniform(4, 12), model, "task", min(held, 1200), chance.randrange(6, 40))
                )
            now += 8 + chance.lognormvariate(4.0, 0.7)
            if now >= end:
                break
        now += chance.expovariate(1 / pause)
        session += 1
    return [one for one in found if one["t"] < end]


def _agent(
    chance: Random, name: str, start: float, model: str, *, calls: int, prompt: int = 4000
) -> list[Line]:  # fmt: skip
    """A loop of calls, each with what the last one wrote and what a tool answered."""
    found: list[Line] = []
    now, held = start, prompt
    for _ in range(calls):
        output = chance.randrange(60, 400)
        found.append(_line(now, model, "interactive", held, output, name))
        held = min(held + output + chance.randrange(50, 1500), _LONGEST_PROMPT)
        now += output / 150 + chance.uniform(2, 10)
    return found


def _job(chance: Random, start: float, model: str, request_class: str, count: int) -> list[Line]:
    """Requests that a program sends at once."""
    return [
        _line(start + 0.05 * one, model, request_class, chance.randrange(300, 3000), chance.randrange(50, 300))
        for one in range(count)
    ]


def _line(
    t: float, model: str, request_class: str, prompt: int, output: int, conversation: str | None = None
) -> Line:  # fmt: skip
    line: Line = {
        "t": round(t, 2),
        "model": model,
        "class": request_class,
        "prompt_tokens": prompt,
        "output_tokens": output,
    }
    if conversation is not None:
        line["conversation"] = conversation
    return line
