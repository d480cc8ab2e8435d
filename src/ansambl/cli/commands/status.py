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
    from ansambl.cli.instance_words import print_devices, print_instances
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
            *_knowledge(state.get("knowledge")),
            *((one["title"], _companion(one)) for one in state.get("companions", [])),
        ]
    )
    print_devices(state.get("devices", []))
    print_instances(state["instances"])
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


def _companion(one: dict[str, Any]) -> str:
    states = {
        "installing": speak("is being installed"), "starting": speak("is starting"), "ready": speak("ready"),
        "restarting": speak("is starting again"), "failed": speak("does not run"), "stopped": speak("stopped"),
    }  # fmt: skip
    words = f"{one['address']}  {states.get(one['state'], one['state'])}, {one['version']} ({one['build']})"
    return f"{words}: {one['message']}" if one.get("message") else words


def _knowledge(known: dict[str, Any] | None) -> list[tuple[str, str]]:
    if known is None:
        return []
    words = speak("{documents} documents, {passages} passages").format(**known)
    if known["pending"]:
        words += ", " + speak("{pending} of them without a vector").format(**known)
    return [(speak("Knowledge"), f"{words}; {known['model'] or speak('by words alone')}")]
