"""The sentences that scripts of every page say, by key. A page's own stand in its module.

The literals stand inside ``speak("…")``: that is what the collector of translations looks for, here and in templates.
Gaps are written ``{name}`` and filled in the browser.
"""

from __future__ import annotations

from collections.abc import Callable

Speak = Callable[[str], str]


def common_words(speak: Speak) -> dict[str, str]:
    """The sentences of every page in the language of `speak`."""
    return {
        "kib": speak("{amount} KiB"),
        "mib": speak("{amount} MiB"),
        "gib": speak("{amount} GiB"),
        "used_up": speak("This address was used before, or is too old. Print another with: ansambl console"),
        "gone": speak("Ansambl does not answer. Trying again…"),
        "unreadable": speak("The answer could not be read (status {status})."),
        "unreachable": speak("Ansambl cannot be reached. Check that it runs (ansambl up), then retry."),
        "theme_auto": speak("Colours: as the system"),
        "theme_light": speak("Colours: light"),
        "theme_dark": speak("Colours: dark"),
        "copied": speak("Copied"),
        "copy_failed": speak("Could not copy"),
        "state_stopped": speak("not loaded"),
        "state_starting": speak("starting"),
        "state_ready": speak("ready"),
        "state_asleep": speak("asleep"),
        "state_restarting": speak("restarting"),
        "state_stopping": speak("stopping"),
        "state_failed": speak("failed"),
        "state_unreachable": speak("unreachable"),
    }


def answer_words(speak: Speak) -> dict[str, str]:
    """The sentences of ``static/lib/stream.js``, for the pages that ask models."""
    return {
        "retry_after": speak("It may work in {seconds} s."),
        "lost_during": speak("The connection broke in the middle of the answer."),
    }
