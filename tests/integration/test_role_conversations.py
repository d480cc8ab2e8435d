"""Ten turns with changing roles on the real engine: what was said once is not prefilled again, and edits do no harm."""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import openai
import pytest

pytestmark = pytest.mark.engine

ROLES = ("coder", "reasoner", "brief", "philosopher")
QUESTIONS = (
    "Name one sorting algorithm and say when it is quick.",
    "How would you test it?",
    "Напиши коротко, что такое кэш.",
    "Which of the two matters more for a small program?",
    "And for a large one?",
    "What would you measure first?",
    "Give one example from everyday life.",
    "What speaks against it?",
    "Say the same for a child of ten.",
    "Sum up what we said.",
)
FRAME = 16
"""Tokens of the template around one message and of a cut in the middle of a word, at most."""


class Conversation:
    """A client that keeps the history itself, as every client of this API does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": "You talk with an engineer."}]

    def ask(self, role: str, question: str) -> Any:
        self.messages.append({"role": "user", "content": question})
        with openai.OpenAI(base_url=f"{self.address}/v1", api_key="any", max_retries=0) as client:
            answer = client.chat.completions.create(
                model=role, messages=self.messages, max_tokens=40, temperature=0.3, seed=1
            )
        self.messages.append({"role": "assistant", "content": answer.choices[0].message.content})
        return answer.usage


def test_ten_turns_with_changing_roles_prefill_only_what_is_new(start):
    conversation = Conversation(start().address)
    before = None
    for role, question in zip(islice(cycle(ROLES), len(QUESTIONS)), QUESTIONS, strict=True):
        usage = conversation.ask(role, question)
        if before is not None:
            # The last token of an answer is generated and never read by the engine before the next turn.
            kept = before.prompt_tokens + before.completion_tokens - FRAME
            assert usage.prompt_tokens_details.cached_tokens >= kept, (role, question)
        before = usage
    assert before is not None
    assert before.prompt_tokens > 600


def test_turns_of_a_restarted_ansambl_still_go_on_from_the_same_prompt(start):
    first = start()
    conversation = Conversation(first.address)
    for role, question in zip(ROLES, QUESTIONS, strict=False):
        conversation.ask(role, question)
    explained = first.command("ask", "coder", "x", "--explain", "--json")
    assert explained.returncode == 0
    assert first.stop() == 0
    second = start()
    # The engine is a new one, so its cache is empty; the prompt must be laid out with all four notes all the same.
    headers = {"authorization": f"Bearer {second.token}"}
    body = {"model": "brief", "messages": [*conversation.messages, {"role": "user", "content": QUESTIONS[4]}]}
    found = second.client.post("/admin/api/explain", json=body, headers=headers).json()
    assert [one["role"] for one in found["remembered"]] == list(ROLES)


def test_an_edited_history_is_answered_and_costs_only_what_follows_the_edit(start):
    product = start()
    for place in (1, 2, 4):
        conversation = Conversation(product.address)
        usages = [conversation.ask(role, question) for role, question in zip(ROLES, QUESTIONS, strict=False)]
        edited = dict(conversation.messages[place])
        edited["content"] = f"{edited['content']} I have changed my mind about this."
        conversation.messages[place] = edited
        usage = conversation.ask("brief", "What do you say now?")
        assert conversation.messages[-1]["content"]
        assert usage.prompt_tokens > usages[0].prompt_tokens
        # A turn later the new history is the known one.
        again = conversation.ask("coder", "And why?")
        kept = usage.prompt_tokens + usage.completion_tokens - FRAME
        assert again.prompt_tokens_details.cached_tokens >= kept, place
