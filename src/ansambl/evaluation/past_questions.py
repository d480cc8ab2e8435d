"""Old questions of one's own as tasks: chosen from past conversations, with what was said before them. Pure."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PastQuestion:
    """A question with the messages before it, the answer that was given then and who gave it."""

    conversation: str
    title: str
    messages: tuple[dict[str, str], ...]
    old: str
    author: str

    @property
    def question(self) -> str:
        """What was asked."""
        return self.messages[-1]["content"]

    def as_training(self) -> dict[str, object]:
        """One line of a file for training or evaluation: the messages with the old answer."""
        answer = {"role": "assistant", "content": self.old}
        return {"messages": [*self.messages, answer], "id": self.conversation, "title": self.title}


SHORTEST, LONGEST = 12, 4000
"""Letters of a question: "thanks" and "go on" ask nothing, and pasted books make no question."""


def questions_of(
    conversation: str, title: str, messages: Sequence[dict[str, str]], author: str, words: str = ""
) -> Iterable[PastQuestion]:
    """The questions of one conversation that were answered, and hold one of `words` where some are given.

    `messages` alternate between user and assistant. Whatever stood before a question goes with it.
    """
    wanted = [one.casefold() for one in words.split()]
    for number in range(len(messages) - 1):
        asked, answered = messages[number], messages[number + 1]
        content = asked["content"]
        if asked["role"] != "user" or answered["role"] != "assistant" or not SHORTEST <= len(content) <= LONGEST:
            continue
        folded = f"{title} {content}".casefold()
        if wanted and not any(one in folded for one in wanted):
            continue
        yield PastQuestion(conversation, title, tuple(messages[: number + 1]), answered["content"], author)


def choose(questions: Iterable[PastQuestion], count: int, seed: int) -> list[PastQuestion]:
    """`count` of them by `seed`, each question once; a larger count holds what a smaller one held.

    At most one question of each conversation comes before all have given one, or a long one would be all there is.
    """
    found: dict[str, list[tuple[str, PastQuestion]]] = {}
    seen: set[str] = set()
    for one in questions:
        if one.question.strip() in seen:
            continue
        seen.add(one.question.strip())
        key = hashlib.sha256(f"{one.conversation}\n{len(one.messages)}\n{one.question}".encode()).hexdigest()
        found.setdefault(one.conversation, []).append((key, one))
    rounds: list[tuple[int, str, PastQuestion]] = []
    dice = random.Random(seed)  # noqa: S311 - an order, no secret
    for conversation in sorted(found):
        some = sorted(found[conversation], key=lambda one: one[0])
        dice.shuffle(some)
        rounds += [(number, hashlib.sha256(f"{seed}{key}".encode()).hexdigest(), one)
                   for number, (key, one) in enumerate(some)]  # fmt: skip
    return [one for _, _, one in sorted(rounds, key=lambda one: one[:2])[:count]]
