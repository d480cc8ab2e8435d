"""Tasks and how their answers are checked: plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Message = Mapping[str, str]
"""One message of a conversation: ``role`` (system, user, assistant) and ``content``."""


@dataclass(frozen=True, slots=True)
class ExactCheck:
    """The final answer equals one of `answers`, letter case, quotes and punctuation at the edges aside.

    With `within` it is enough that one of them stands in the final answer as whole words.
    """

    answers: tuple[str, ...]
    within: bool = False


@dataclass(frozen=True, slots=True)
class NumberCheck:
    """The final number is `answer`, `tolerance` (absolute) aside."""

    answer: float
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True)
class ChoiceCheck:
    """The final answer names the option `answer`, one of `labels`; `options` are the options' texts, if known."""

    answer: str
    labels: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PatternCheck:
    """The whole answer matches a regular expression of Python; with `search`, a part of it does."""

    pattern: str
    search: bool = False


@dataclass(frozen=True, slots=True)
class CodeCheck:
    """The Python code of the answer passes `tests`.

    `entry_point` is the function that it must define. `preamble` runs before the answer's code; when the code does
    not define the function, `prefix` (the head of the function that the answer goes on with) is put before it.
    """

    tests: str
    entry_point: str | None = None
    preamble: str = ""
    prefix: str = ""


@dataclass(frozen=True, slots=True)
class HarmlessCheck:
    """A harmless question: the answer must not be a refusal. What else it says is not judged."""


Check = ExactCheck | NumberCheck | ChoiceCheck | PatternCheck | CodeCheck | HarmlessCheck
"""How an answer is judged."""

KINDS: Mapping[str, type] = {
    "exact": ExactCheck, "number": NumberCheck, "choice": ChoiceCheck, "regex": PatternCheck, "code": CodeCheck,
    "harmless": HarmlessCheck,
}  # fmt: skip
"""The checks by their names in task files."""


def kind_of(check: Check) -> str:
    """The name of a check in task files."""
    return next(name for name, kind in KINDS.items() if isinstance(check, kind))


@dataclass(frozen=True, slots=True)
class Task:
    """One question whose answer can be checked.

    `messages` is the conversation before the first question. `asks` are the questions, asked one after another in one
    conversation; the model's own answers stand between them, and the last answer is checked. `reference` is an answer
    that passes and `wrong` one that does not: with them a check can itself be checked.
    """

    id: str
    asks: tuple[str, ...]
    check: Check
    language: str = "en"
    messages: tuple[Message, ...] = ()
    reference: str | None = None
    wrong: str | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The name of its check."""
        return kind_of(self.check)
