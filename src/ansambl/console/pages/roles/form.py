"""The controls of the forms for roles and ensembles: every key that a table may hold, with its label and its bounds.

A test holds this against the settings, so that no key is forgotten here.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansambl.console.words import Speak

Options = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Control:
    """One key and how it is edited.

    `kind` is what ``static/pages/roles/form.js`` calls it. `options` are the values and names of a choice; `bounds` are
    the least, the most and the step of a number, as an attribute says them ("" for none); `default` is what holds
    where nothing is said, as far as that is one value.
    """

    key: str
    kind: str
    label: str
    help: str = ""
    options: Options = ()
    bounds: tuple[str, str, str] = ("", "", "any")
    rows: int = 2
    default: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """Controls that belong together; a folded group is open only where something of it is set."""

    title: str
    controls: tuple[Control, ...]
    folded: bool = False


def groups_of(kind: str, speak: Speak) -> tuple[Group, ...]:
    """The form of ``roles`` or of ``ensembles``."""
    return _role_groups(speak) if kind == "roles" else _ensemble_groups(speak)


def _role_groups(speak: Speak) -> tuple[Group, ...]:
    return (*_what_a_role_is(speak), *_how_a_role_works(speak))


def _what_a_role_is(speak: Speak) -> tuple[Group, ...]:
    return (
        Group(
            speak("What it is"),
            (
                Control("description", "text", speak("Description"), speak("One line for lists.")),
                Control(
                    "instruction", "long", speak("Instruction"),
                    speak("What makes the role, in words for the model. Empty: the model answers as it is."), rows=7,
                ),
                Control(
                    "instructions", "languages", speak("The instruction in other languages"),
                    speak("The language of the newest message chooses."),
                ),
                Control(
                    "aliases", "lines", speak("Aliases"), speak("Other names to ask for it by, one a line."),
                ),
            ),
        ),
        Group(
            speak("Model"),
            (
                Control("model", "model", speak("Model")),
                Control("lora", "lora", speak("LoRA adapter")),
            ),
        ),
        Group(
            speak("Sampling"),
            (
                Control(
                    "temperature", "slider", speak("Temperature"),
                    speak("0 is the likeliest word each time. Empty: as the engine likes."), bounds=("0", "2", "0.05"),
                ),
                Control("top_p", "slider", speak("Top-p"), bounds=("0.01", "1", "0.01")),
                Control(
                    "max_tokens", "whole", speak("Longest answer, in tokens"), bounds=("1", "16777216", "1"),
                ),
            ),
        ),
        Group(
            speak("Knowledge"),
            (
                Control(
                    "collections", "collections", speak("Collections"),
                    speak("They are searched before the role answers."),
                ),
                Control(
                    "passages", "whole", speak("Passages for one message, at most"), bounds=("1", "40", "1"),
                    default="8",
                ),
                Control(
                    "knowledge_share", "number", speak("Part of the context that passages may fill"),
                    bounds=("0.01", "0.8", "0.01"),
                ),
                Control(
                    "rewrite", "choice", speak("How a follow-up question is searched"), options=(
                        ("auto", speak("Ansambl chooses")), ("words", speak("with the words of the question before")),
                        ("model", speak("as the model rewrites it")), ("off", speak("as it stands")),
                    ),
                ),
            ),
        ),
    )  # fmt: skip


def _how_a_role_works(speak: Speak) -> tuple[Group, ...]:
    return (
        Group(
            speak("Prompt, thinking and tools"),
            (
                Control(
                    "layout", "choice", speak("Where the instruction stands"),
                    speak("A classic instruction stands first, so that nothing is shared with other roles."), options=(
                        ("shared-prefix", speak("in the newest message (shared prefix)")),
                        ("trailing-system", speak("in a system message at the end")),
                        ("classic", speak("first, as other programs do it (classic)")),
                    ),
                ),
                Control(
                    "reasoning_effort", "suggested", speak("Thinking effort"), options=tuple(
                        (one, one) for one in ("none", "minimal", "low", "medium", "high")
                    ),
                ),
                Control("thinking_language", "suggested", speak("Thinks in"), options=_languages(speak)),
                Control("answer_language", "suggested", speak("Answers in"), options=_languages(speak)),
                Control(
                    "tools", "tools", speak("Tools"), speak("Of the tools that a client brings, by name."),
                ),
                Control(
                    "context_share", "number", speak("Part of the context that one request may fill"),
                    bounds=("0.01", "1", "0.01"), default="1",
                ),
            ),
            folded=True,
        ),
        Group(
            speak("More sampling, examples and planning"),
            (
                Control("top_k", "whole", speak("Top-k"), bounds=("0", "", "1")),
                Control("min_p", "number", speak("Min-p"), bounds=("0", "1", "0.01")),
                Control("frequency_penalty", "number", speak("Frequency penalty"), bounds=("-2", "2", "0.1")),
                Control("presence_penalty", "number", speak("Presence penalty"), bounds=("-2", "2", "0.1")),
                Control("repeat_penalty", "number", speak("Repeat penalty (llama.cpp)"), bounds=("0", "", "0.05")),
                Control("seed", "whole", speak("Seed"), bounds=("", "", "1")),
                Control("stop", "lines", speak("Texts that end the answer, one a line")),
                Control(
                    "examples", "lines", speak("Example questions, one a line"),
                    speak("A route compares questions with them."), rows=4,
                ),
                Control(
                    "wants", "choice", speak("What it needs most of its model"), speak("A plan chooses by it."),
                    options=(
                        ("depth", speak("depth")), ("speed", speak("speed")), ("code", speak("code")),
                        ("chat", speak("chat")),
                    ),
                ),
            ),
            folded=True,
        ),
    )  # fmt: skip


def _ensemble_groups(speak: Speak) -> tuple[Group, ...]:
    return (
        Group(
            speak("What it is"),
            (
                Control("description", "text", speak("Description"), speak("One line for lists.")),
                Control(
                    "pattern", "choice", speak("Pattern"), options=(
                        ("council", speak("council: all answer, one merges")),
                        ("route", speak("route: one of them answers")),
                        ("chain", speak("chain: one drafts, others review")),
                        ("debate", speak("debate: they answer each other")),
                    ),
                ),
                Control(
                    "roles", "members", speak("Members, in their order"), speak("Roles, or other ensembles."),
                ),
                Control(
                    "conductor", "conductor", speak("Conductor"),
                    speak("Merges the answers, gives the verdict, or chooses. Empty: the first role."),
                ),
                Control(
                    "aliases", "lines", speak("Aliases"), speak("Other names to ask for it by, one a line."),
                ),
            ),
        ),
        Group(
            speak("Limits"),
            (
                Control("branch_tokens", "whole", speak("Longest answer of each role, in tokens"),
                        bounds=("1", "16777216", "1"), default="256"),
                Control("answer_tokens", "whole", speak("Longest merged answer, in tokens"),
                        bounds=("1", "16777216", "1"), default="512"),
                Control("tokens", "whole", speak("All answers together, in tokens"), bounds=("1", "", "1")),
                Control("seconds", "duration", speak("Time limit"), speak('Seconds, or text such as "5m".'),
                        default="300"),
                Control("rounds", "whole", speak("Rounds, at most"), bounds=("1", "8", "1"), default="1"),
                Control("samples", "whole", speak("Answers of each member (council)"), bounds=("1", "16", "1"),
                        default="1"),
                Control(
                    "merge", "choice", speak("How a council's answers become one"), options=(
                        ("conductor", speak("the conductor merges them")),
                        ("vote", speak("the most frequent short answer wins")),
                    ),
                ),
            ),
        ),
        Group(
            speak("How a route chooses"),
            (
                Control("rules", "rules", speak("Rules, tried in their order")),
                Control("default", "member", speak("Who answers when nothing decides")),
                Control("threshold", "slider", speak("Likeness that decides"), bounds=("0", "1", "0.05"),
                        default="0.3"),
                Control("embedder", "model", speak("Model that measures likeness by meaning")),
                Control(
                    "asks", "flag", speak("Ask the conductor when likeness does not decide"), options=(
                        ("true", speak("yes")), ("false", speak("no")),
                    ),
                ),
            ),
            folded=True,
        ),
    )  # fmt: skip


def _languages(speak: Speak) -> Options:
    return (
        ("en", speak("English")), ("ru", speak("Russian")), ("de", speak("German")), ("fr", speak("French")),
        ("es", speak("Spanish")), ("zh", speak("Chinese")),
    )  # fmt: skip
