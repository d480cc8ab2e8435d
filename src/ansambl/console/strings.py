"""Every sentence of the console's pages, in one table, so that templates and scripts name sentences by key.

The literals stand inside ``speak("…")``: that is what the collector of translations looks for. Gaps are written
``{name}`` and filled in the browser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

Speak = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Example:
    """A first question that the empty chat offers.

    `text` is in the page's language, `english` is the same for models that know no other.
    """

    role: str
    text: str
    english: str


def page_strings(speak: Speak) -> dict[str, str]:
    """The sentences of the page in the language of `speak`, by key."""
    return {**_frame(speak), **_session(speak), **_chat(speak), **_answers(speak), **_state(speak)}


def examples(speak: Speak) -> list[Example]:
    """The questions that an empty chat offers, each for the role that shines at it."""
    english = _example_texts(str)
    spoken = _example_texts(speak)
    return [Example(role, spoken[role], english[role]) for role in english]


def _example_texts(speak: Speak) -> dict[str, str]:
    return {
        "coder": speak("Write a Python function that finds duplicate files in a folder."),
        "reasoner": speak("A lamp is switched every minute. Is it on after 101 switches? Explain."),
        "philosopher": speak("Is it fair to judge the past by the values of today?"),
        "council": speak("Should a small team keep everything in one repository?"),
    }


def _frame(speak: Speak) -> dict[str, str]:
    return {
        "title": speak("Ansambl: one machine, one resident model, many minds"),
        "skip": speak("Skip to the message box"),
        "language": speak("Language"),
        "theme_auto": speak("Colours: as the system"),
        "theme_light": speak("Colours: light"),
        "theme_dark": speak("Colours: dark"),
        "panel": speak("Machine"),
        "panel_title": speak("What the machine is doing"),
        "panel_close": speak("Close"),
        "no_script": speak("The console needs JavaScript. The API at /v1 works without it."),
        "embedded": speak(
            "This is the embedded model: a demonstration, tiny and English only, so its answers are often wrong."
        ),
        "embedded_next": speak(
            "For real work name your own model, or the address of an engine that already runs, in ansambl.toml."
        ),
    }


def _session(speak: Speak) -> dict[str, str]:
    return {
        "sign_in_text": speak("This Ansambl asks for an API key. Whoever runs it makes one with: ansambl keys create"),
        "key": speak("API key"),
        "sign_in": speak("Sign in"),
        "sign_out": speak("Sign out"),
        "no_key": speak("Sign in with an API key to see it."),
        "forbidden": speak("Your API key may not see what the machine is doing; it needs admin:read."),
    }


def _chat(speak: Speak) -> dict[str, str]:
    return {
        "conversation": speak("Conversation"),
        "welcome": speak("One model, many minds"),
        "welcome_text": speak(
            "Choose who answers, and change it whenever you like: the conversation goes on, "
            "and almost nothing of it is read anew."
        ),
        "who": speak("Who answers"),
        "models": speak("Model"),
        "models_none": speak("A plain model…"),
        "message": speak("Message"),
        "placeholder": speak("Write a message"),
        "hint": speak("Enter sends, Shift+Enter starts a new line"),
        "send": speak("Send"),
        "stop": speak("Stop"),
        "clear": speak("Clear"),
        "cleared": speak("The conversation was cleared."),
        "undo": speak("Undo"),
        "export": speak("Export"),
        "export_markdown": speak("As Markdown"),
        "export_json": speak("As JSON"),
        "newest": speak("To the newest message"),
        "you": speak("You"),
        "copy": speak("Copy"),
        "copied": speak("Copied"),
        "copy_failed": speak("Could not copy"),
    }


def _answers(speak: Speak) -> dict[str, str]:
    return {
        "thinking": speak("Thinking…"),
        "thought": speak("Its thinking"),
        "conferring": speak("The roles are answering…"),
        "conferred": speak("What the roles answered"),
        "answering": speak("{name} is answering"),
        "answered": speak("{name} has answered"),
        "waiting": speak("Waiting for the first word…"),
        "tokens": speak("answer {count}"),
        "tokens_hint": speak("Tokens of the answer"),
        "cached": speak("cached {count}"),
        "cached_hint": speak("Tokens of the prompt that the engine still had from before"),
        "prefilled": speak("prefilled {count}"),
        "prefilled_hint": speak("Tokens of the prompt that had to be read for this answer"),
        "prompt": speak("prompt {count}"),
        "prompt_hint": speak("Tokens of the prompt; the engine does not say how many of them were cached"),
        "first": speak("first word {seconds} s"),
        "first_hint": speak("Time from sending the message to the first word"),
        "rate": speak("{rate} tokens/s"),
        "rate_hint": speak("Speed of the answer after its first word"),
        "share": speak("{cached} of {prompt} tokens of the prompt were cached"),
        "stopped": speak("Stopped. What is here stays in the conversation."),
        "cut": speak("The answer ended at its token limit. Ask it to go on."),
        "empty": speak("The model gave no answer."),
        "retry": speak("Retry"),
        "lost_before": speak("Ansambl cannot be reached. Check that it runs (ansambl up), then retry."),
        "lost_during": speak("The connection broke in the middle of the answer."),
        "bad_answer": speak("The answer could not be read (status {status})."),
        "no_models": speak("The list of roles and models cannot be read. Trying again…"),
    }


def _state(speak: Speak) -> dict[str, str]:
    return {
        "gone": speak("Ansambl does not answer. Trying again…"),
        "loading": speak("Reading the state…"),
        "instances": speak("Instances"),
        "instances_none": speak("Nothing is running."),
        "roles": speak("Roles and what they run on"),
        "events": speak("What happened"),
        "events_none": speak("Nothing yet."),
        "requests": speak("Requests"),
        "requests_text": speak("{answered} answered, {failed} failed, {running} running"),
        "state_stopped": speak("stopped"),
        "state_starting": speak("starting"),
        "state_ready": speak("ready"),
        "state_asleep": speak("asleep"),
        "state_restarting": speak("restarting"),
        "state_stopping": speak("stopping"),
        "state_failed": speak("failed"),
        "state_unreachable": speak("unreachable"),
        "draining_for": speak("finishes its answers, then makes room for {model}"),
        "leaving_for": speak("makes room for {model}"),
        "draining_none": speak("finishes its answers, then rests"),
        "engine": speak("Engine"),
        "memory": speak("Memory"),
        "context": speak("Context"),
        "context_text": speak("{count} tokens"),
        "parallel": speak("At once"),
        "load": speak("Running"),
        "load_text": speak("{running} running, {waiting} waiting"),
        "restarts": speak("Restarts"),
        "since": speak("Since"),
        "attached": speak("attached, not started by Ansambl"),
        "adopted": speak("adopted from an earlier run"),
        "ensemble_of": speak("{pattern}: {roles}"),
        "version": speak("Ansambl {version}, process {pid}, {address}"),
        "mib": speak("{amount} MiB"),
        "gib": speak("{amount} GiB"),
    }
