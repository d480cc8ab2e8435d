"""The sentences that the chat's scripts say, by key, and the first questions that an empty chat offers.

The literals stand inside ``speak("…")``: that is what the collector of translations looks for. Gaps are written
``{name}`` and filled in the browser.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.console.words import Speak, answer_words


@dataclass(frozen=True, slots=True)
class Example:
    """A first question that the empty chat offers.

    `text` is in the page's language, `english` is the same for models that know no other.
    """

    role: str
    text: str
    english: str


def chat_words(speak: Speak) -> dict[str, str]:
    """The sentences of the scripts in the language of `speak`, by key."""
    return {**answer_words(speak), **_chat(speak), **_past(speak), **_answers(speak), **_figures(speak)}


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


def _chat(speak: Speak) -> dict[str, str]:
    return {
        "models_none": speak("A plain model…"),
        "models_add": speak("Add a plain model…"),
        "stop": speak("Stop"),
        "stop_all": speak("Stop all"),
        "stop_one": speak("Stop {name}"),
        "begun": speak("A new conversation begins."),
        "undo": speak("Undo"),
        "cancel": speak("Cancel"),
        "you": speak("You"),
        "edit": speak("Edit"),
        "editing": speak("Your message replaces the last question."),
        "editing_earlier": speak("Your message replaces this question; the conversation as it is stays in the list."),
        "forked": speak("“{title}” as it was stays in the list of conversations."),
        "copy": speak("Copy"),
        "copy_answer": speak("Copy the answer"),
        "continue": speak("Continue with this one"),
        "continued": speak("The conversation goes on with {name}."),
        "continued_past": speak("You go on with “{title}”."),
        "others": speak("Other answers: {count}"),
        "side_by_side": speak("Answers side by side"),
        "several": speak("{count} chosen, at most {most}"),
        "unknown_names": speak("There is no role or model {names} here."),
        "no_models": speak("The list of roles and models cannot be read. Trying again…"),
        "as_role": speak("as the role says"),
        "sampling_set": speak("changed"),
    }


def _past(speak: Speak) -> dict[str, str]:
    return {
        "past_facts": speak("{time}, questions: {count}"),
        "rename": speak("Rename"),
        "rename_one": speak("Rename “{title}”"),
        "new_name": speak("New name"),
        "remove": speak("Delete"),
        "remove_one": speak("Delete “{title}”"),
        "removed": speak("“{title}” was deleted."),
        "removed_all": speak("All conversations were deleted."),
        "no_room": speak(
            "This browser has no room left: what is new in this conversation is not kept. Export it, or delete others."
        ),
        "split": speak("Another tab went on with this conversation, so here it is one of its own from now on."),
        "not_kept": speak("This browser keeps no conversations: {reason}. Export what you need."),
    }


def _answers(speak: Speak) -> dict[str, str]:
    return {
        "thinking": speak("Thinking…"),
        "thought": speak("Its thinking"),
        "thought_for": speak("It thought for {seconds} s"),
        "parts": speak("What was said before the answer"),
        "speaking": speak("{name} is answering…"),
        "conferred": speak("What the roles answered"),
        "conferred_by": speak("What the roles answered: {count} answers in {seconds} s"),
        "answering": speak("{name} is answering"),
        "answered": speak("{name} has answered"),
        "waiting": speak("Waiting for the first word…"),
        "waiting_load": speak("Loading {model}…"),
        "waiting_swap": speak("Loading {model} (was {other})…"),
        "waiting_drain": speak("{other} finishes its answers, then makes room for {model}…"),
        "waiting_queue": speak("In the queue of {model}; requests that wait: {count}"),
        "waited": speak("{seconds} s"),
        "chose": speak("{name} answers"),
        "stopped": speak("Stopped. What is here stays in the conversation."),
        "cut": speak("The answer ended at its token limit. Ask it to go on."),
        "empty": speak("The model gave no answer."),
        "retry": speak("Retry"),
        "sources": speak("Sources"),
        "source": speak("Source {number}"),
        "source_page": speak("page {number}"),
        "source_open": speak("Open the passage in its document"),
        "sources_unused": speak("Passages that it did not cite: {count}"),
        "sources_failed": speak("The documents were not searched: {reason}"),
    }


def _figures(speak: Speak) -> dict[str, str]:
    return {
        "tokens": speak("answer {count}"),
        "tokens_hint": speak("Tokens of the answer"),
        "cached": speak("cached {count}"),
        "cached_hint": speak("Tokens of the prompt that the engine still had from before"),
        "prefilled": speak("prefilled {count}"),
        "prefilled_hint": speak("Tokens of the prompt that had to be read for this answer"),
        "prompt": speak("prompt {count}"),
        "prompt_hint": speak("Tokens of the prompt; the engine does not say how many of them were cached"),
        "first": speak("first word {seconds} s"),
        "first_hint": speak("Time from sending the message to the first word of the answer"),
        "rate": speak("{rate} tokens/s"),
        "rate_hint": speak("Speed of the answer after its first word"),
        "queued": speak("queued {seconds} s"),
        "queued_hint": speak("Time until the engine had a place for it, with loading"),
        "swaps": speak("swaps {count}"),
        "swaps_hint": speak("Models that were exchanged in memory for this answer"),
        "share": speak("{cached} of {prompt} tokens of the prompt were cached"),
    }
