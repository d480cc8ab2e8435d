"""The sentences that the script of the page Models and engines says."""

from __future__ import annotations

from ansambl.console.words import Speak


def model_words(speak: Speak) -> dict[str, str]:
    """The sentences in the language of `speak`."""
    return {
        **_pulls(speak),
        **_installs(speak),
        **_instances(speak),
        "nothing_found": speak("Nothing of that name was found; try fewer words."),
        "about_size": speak("{quantization} {size}"),
        "fits": speak("fits here"),
        "fits_not": speak("does not fit here"),
        "parameters": speak("{count} B parameters"),
        "context": speak("context {count}"),
        "downloads": speak("{count} downloads"),
        "licence_unknown": speak("licence unknown"),
        "gated": speak("{licence}, to be accepted"),
        "fetch_of": speak("Fetch {reference}"),
        "hub": speak("the hub"),
        "index": speak("the package index"),
        "read_again": speak("The configuration was read again and is in effect."),
        "removed": speak("Deleted: {path}"),
        "announced": speak("Read what it is, then fetch it."),
    }


def _pulls(speak: Speak) -> dict[str, str]:
    return {
        "pull_waiting": speak("waits for its turn"),
        "pull_running": speak("is being fetched"),
        "pull_stopping": speak("is being stopped"),
        "pull_done": speak("is here"),
        "pull_stopped": speak("stopped; fetching it again goes on from there"),
        "pull_failed": speak("failed"),
        "done_of": speak("{done} of {size}"),
        "a_second": speak("{size}/s"),
        "left_seconds": speak("{count} s left"),
        "left_minutes": speak("{count} min left"),
        "left_hours": speak("{count} h left"),
        "fetching": speak("Fetching {reference}"),
        "fetch_size": speak("Fetch {size}"),
        "stop_of": speak("Stop fetching {reference}"),
        "pulled": speak("{reference} is here."),
    }


def _installs(speak: Speak) -> dict[str, str]:
    return {
        "install_waiting": speak("waits for its turn"),
        "install_running": speak("is being installed"),
        "install_done": speak("is installed"),
        "install_stopped": speak("stopped; installing it again goes on from there"),
        "install_failed": speak("failed"),
        "engine_of": speak("{title} {version} ({build})"),
        "stop_install": speak("Stop installing {engine}"),
        "remove_waiting": speak("waits for its turn"),
        "remove_running": speak("is being removed"),
        "remove_done": speak("is removed"),
        "remove_stopped": speak("stopped; removing it again goes on from there"),
        "remove_failed": speak("failed"),
    }


def _instances(speak: Speak) -> dict[str, str]:
    return {
        "residency_loading": speak("loading"),
        "residency_draining": speak("draining"),
        "not_started": speak("not known to this run; start Ansambl again"),
        "pinned_hand": speak("stays in memory until the next start"),
        "pinned_configuration": speak("stays in memory, as configured"),
        "ask_unload": speak("{count} requests are running or waiting on it. Unload it when they are done?"),
    }
