"""``ansambl simulate``: how a trace of requests would fare on a machine, under our policy or a plain one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ansambl.cli.options import Config, Json
from ansambl.cli.planning_options import MachineName
from ansambl.domain.figures import number_words
from ansambl.foundation.locales import speak

if TYPE_CHECKING:
    from ansambl.app.simulation.simulating import SimulationAnswer

TraceName = Annotated[
    str,
    typer.Argument(
        metavar="TRACE",
        help=speak("A file of JSON lines, - for standard input, or a shipped one: mixed, agents, people."),
    ),
]
PolicyName = Annotated[
    str, typer.Option("--policy", metavar="POLICY", help=speak("Who decides what is loaded: ansambl, fifo or lru."))
]
Compare = Annotated[bool, typer.Option("--compare", help=speak("Simulate all policies and show them side by side."))]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "simulate", help=speak("Tell how a trace of requests would fare on a machine: waits, swaps, idle time.")
    )(simulate)


def simulate(
    trace: TraceName, config: Config = None, machine: MachineName = None, policy: PolicyName = "ansambl",
    compare: Compare = False, as_json: Json = False,
) -> None:  # fmt: skip
    """Simulate a trace."""
    from ansambl.app.simulation.simulating import (
        POLICIES,
        SimulationQuestion,
        answer_simulation,
        simulation_document,
    )
    from ansambl.cli.output import print_json

    policies = tuple(dict.fromkeys((policy, *POLICIES))) if compare else (policy,)
    answer = answer_simulation(SimulationQuestion(trace, machine, policies), config)
    documents = [simulation_document(answer, one, speak) for one in policies]
    if as_json:
        print_json({"policies": documents} if compare else documents[0])
    else:
        _print(answer, documents)


def _print(answer: SimulationAnswer, documents: list[dict[str, Any]]) -> None:
    from ansambl.cli.output import note, print_pairs, print_table
    from ansambl.domain.units import size_words

    first = documents[0]
    print_pairs([
        (speak("Machine"), answer.machine.machine.title),
        (speak("Requests"), f"{first['requests']}"),
    ])  # fmt: skip
    print_table(
        speak("Models"),
        (speak("Model"), speak("Checkpoint"), speak("Engine"), speak("Memory"), speak("Load time"), speak("Answers"),
         speak("Reads prompts")),
        [
            (
                name, f"{one['model']} {one['quantization']}", one["engine"],
                ", ".join(f"{device} {size_words(size, speak)}" for device, size in one["reserved_bytes"].items()),
                _seconds(one["load_seconds"]), _rates(one), _rate(one["prefill_tokens_per_second"]),
            )
            for name, one in first["models"].items()
        ],
    )  # fmt: skip
    print_table(
        speak("What became of the requests"),
        ("", *(one["policy"] for one in documents)),
        [(label, *(value(one) for one in documents)) for label, value in _rows()],
    )
    for basis in dict.fromkeys(one["load_basis"] for one in first["models"].values()):
        note(speak("Load times: {basis}. Speeds: the planner's expected ones.").format(basis=basis))
    for name, error in answer.machine.unknown.items():
        note(f"{name}: {error.message.render(speak)}")


def _rows() -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [
        (speak("Answered"), lambda one: str(one["answered"])),
        (speak("Expired"), lambda one: str(one["expired"])),
        (speak("Refused"), lambda one: str(sum(one["refused"].values()))),
        (speak("Tasks with a built-in reply"), lambda one: str(one["tasks_with_built_in_reply"])),
        (speak("Swaps"), lambda one: str(one["swaps"])),
        (speak("Swaps for background or tasks"), lambda one: str(one["swaps_by_background"])),
    ]
    names = {
        "interactive": speak("Interactive"), "batch": speak("Batch"), "background": speak("Background"),
        "task": speak("Tasks"),
    }  # fmt: skip
    for key, name in names.items():
        label = speak("{name}: wait, half / 95 % / longest").format(name=name)
        rows.append((label, lambda one, key=key: _waits(one["wait_seconds"][key])))
    rows += [
        (speak("Tokens written a second"), lambda one: number_words(one["output_tokens_per_second"], ".1f", speak)),
        (speak("Prompt tokens found in a cache"), lambda one: f"{one['cached_share']:.0%}"),
        (speak("Time in which nothing is answered"), lambda one: f"{one['idle_share']:.0%}"),
        (speak("Time in all"), lambda one: _seconds(one["seconds"])),
    ]
    return rows


def _waits(spread: dict[str, float | None]) -> str:
    if spread["max"] is None:
        return "–"
    return " / ".join(_seconds(one or 0.0) for one in spread.values())


def _seconds(value: float) -> str:
    if value < 10:
        return speak("{seconds} s").format(seconds=number_words(value, ".1f", speak))
    if value < 600:
        return speak("{seconds} s").format(seconds=f"{value:.0f}")
    return speak("{minutes} min").format(minutes=f"{value / 60:.0f}")


def _rate(value: float) -> str:
    return speak("{rate} tokens/s").format(rate=f"{value:.0f}")


def _rates(model: dict[str, Any]) -> str:
    if model["parallel"] == 1:
        return _rate(model["decode_tokens_per_second"])
    return speak("{rate} tokens/s, {count} at once {all} tokens/s").format(
        rate=f"{model['decode_tokens_per_second']:.0f}", count=model["parallel"],
        all=f"{model['all_at_once_tokens_per_second']:.0f}",
    )  # fmt: skip
