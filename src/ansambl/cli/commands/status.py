"""``ansambl status``: what runs now, and what happened lately."""

from __future__ import annotations

from typing import Any

import typer

from ansambl.cli.options import Config, Json
from ansambl.foundation.locales import speak

_EVENTS = 12


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("status", help=speak("What runs now, which role runs on what, and what happened lately."))(status)


def status(config: Config = None, as_json: Json = False) -> None:
    """What runs now."""
    from ansambl.cli.client import connect
    from ansambl.cli.output import print_json

    with connect(config) as client:
        document = client.state_document()
    if as_json:
        print_json(document)
    else:
        print_state(document)


def print_state(state: dict[str, Any]) -> None:
    """Print the state for people."""
    from ansambl.cli.output import local_time, print_pairs, print_table

    requests = state["requests"]
    print_pairs(
        [
            (speak("Address"), f"{state['address']}/v1"),
            (
                speak("Running"),
                speak("version {version}, process {pid}, since {time}").format(
                    version=state["version"], pid=state["pid"], time=local_time(state["started"])
                ),
            ),
            (
                speak("Requests"),
                speak("{running} running, {answered} answered, {failed} failed").format(**requests),
            ),
        ]
    )
    print_table(
        speak("Instances"),
        (speak("Model"), speak("State"), speak("Engine"), speak("Memory"), speak("Context"), ""),
        [_instance(one) for one in state["instances"]],
    )
    print_table(
        speak("Roles and ensembles"),
        (speak("Name"), speak("Runs on"), speak("Also called"), speak("What for")),
        [
            (one["name"], one.get("model") or "", ", ".join(one["aliases"]), one["description"])
            for one in state["roles"]
        ]
        + [
            (one["name"], ", ".join(one["roles"]), ", ".join(one["aliases"]), one["description"])
            for one in state["ensembles"]
        ],
    )  # fmt: skip
    print_table(
        speak("Lately"),
        (speak("Time"), speak("Model"), speak("What happened")),
        [(local_time(one["time"]), one["model"], one["message"]) for one in state["events"][-_EVENTS:]],
    )


def state_word(state: str) -> str:
    """An instance's state in the user's language."""
    words = {
        "stopped": speak("stopped"),
        "starting": speak("starting"),
        "ready": speak("ready"),
        "asleep": speak("asleep"),
        "restarting": speak("restarting"),
        "stopping": speak("stopping"),
        "failed": speak("failed"),
        "unreachable": speak("unreachable"),
    }
    return words.get(state, state)


def _instance(one: dict[str, Any]) -> tuple[str, ...]:
    from ansambl.domain.units import format_bytes

    notes = [speak("attached to {address}").format(address=one["address"])] if one["attached"] else []
    if one["pid"]:
        notes.append(speak("process {pid}").format(pid=one["pid"]))
    if one["running"] or one["waiting"]:
        notes.append(speak("{running} running, {waiting} waiting").format_map(one))
    if one["adopted"]:
        notes.append(speak("adopted"))
    if one["restarts"]:
        notes.append(speak("restarts: {count}").format(count=one["restarts"]))
    if one["message"]:
        notes.append(one["message"])
    context = one["context"]
    return (
        one["model"],
        state_word(one["state"]),
        one["server"] or one["engine"],
        format_bytes(one["memory"]) if one["memory"] else "",
        f"{context}×{one['parallel'] or 1}" if context else "",
        ", ".join(notes),
    )
