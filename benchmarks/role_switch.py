"""What changing the role costs on the real engine: shared-prefix beside classic, in one run.

One conversation is asked of the four roles in turn. Counted for each change of role: prompt tokens that the engine had
to prefill (prompt tokens minus cached tokens, as it reports them) and the time to the first streamed token. The same is
done with ``layout = "classic"`` (instruction first, as other tools do it), each on a freshly started engine, and
printed as a ratio. Absolute times are those of this machine's CPU; the token counts hold anywhere.

    python benchmarks/role_switch.py [--tokens 1500] [--rounds 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from support.processes import clean_up, start_ansambl, stop

ROLES = ("coder", "reasoner", "brief", "philosopher")
ANSWER_TOKENS = 8
TOKENS_PER_TURN = 75
QUESTION = "Now tell me in one sentence what matters most in all of this."


@dataclass(frozen=True, slots=True)
class Turn:
    """One streamed answer. Tokens are the engine's own count, `first_token` is in seconds."""

    role: str
    prompt: int
    cached: int
    first_token: float

    @property
    def prefilled(self) -> int:
        """Prompt tokens that were not in the KV cache."""
        return self.prompt - self.cached


def conversation(tokens: int) -> list[dict[str, str]]:
    """A conversation of about `tokens` tokens that ends with a question; the same in every run."""
    subjects = ("sorting", "caching", "queues", "hashing", "locking", "paging", "parsing", "routing")
    messages: list[dict[str, str]] = []
    for number in range(max(1, tokens // TOKENS_PER_TURN)):
        subject = subjects[number % len(subjects)]
        messages.append({"role": "user", "content": f"Question {number}: why does {subject} matter in large programs?"})
        messages.append(
            {
                "role": "assistant",
                "content": f"Answer {number}: {subject} decides how work is shared out. Done well it keeps a program "
                f"quick when its data grows, and done badly it is the first thing that breaks, so engineers measure it "
                f"early and change it only with figures in hand.",
            }
        )
    messages.append({"role": "user", "content": QUESTION})
    return messages


def ask(client: httpx.Client, role: str, messages: list[dict[str, str]]) -> Turn:
    """Ask one role, streamed."""
    body = {
        "model": role, "messages": messages, "stream": True, "max_tokens": ANSWER_TOKENS, "temperature": 0,
        "stream_options": {"include_usage": True},
    }  # fmt: skip
    began, first, usage = time.perf_counter(), None, None
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        answer.raise_for_status()
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line[6:])
            choices = event.get("choices") or [{}]
            if first is None and choices[0].get("delta", {}).get("content"):
                first = time.perf_counter() - began
            usage = event.get("usage") or usage
    if usage is None or first is None:
        message = f"{role}: no usage or no text in the answer"
        raise RuntimeError(message)
    return Turn(role, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], first)


def measure(layout: str, tokens: int, rounds: int) -> list[Turn]:
    """Ask the four roles in turn on a fresh engine; `rounds` conversations that share nothing."""
    configuration = "".join(f'[roles.{role}]\nlayout = "{layout}"\n' for role in ROLES)
    # Without the engine's own prompt cache, so that a return to a role is not counted as a change of role.
    configuration += '[engines."llama.cpp-bundled"]\nprompt_cache = 0\n'
    turns: list[Turn] = []
    with tempfile.TemporaryDirectory() as folder:
        pid, port = start_ansambl(configuration, Path(folder))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
            for number in range(rounds):
                messages = conversation(tokens)
                messages[0]["content"] = f"Conversation {number}. {messages[0]['content']}"
                turns += [ask(client, role, messages) for role in ROLES]
        stop(pid)
    return turns


def print_table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print figures beside each other."""
    table = Table(*head, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console().print(table)


def summary(turns: list[Turn]) -> tuple[float, float]:
    """Medians of prefilled tokens and of seconds to the first token, over the changes of role."""
    changes = [turn for index, turn in enumerate(turns) if index % len(ROLES)]
    return statistics.median(one.prefilled for one in changes), statistics.median(one.first_token for one in changes)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=1500, help="length of the conversation, in tokens, about")
    parser.add_argument("--rounds", type=int, default=2, help="conversations for each layout")
    chosen = parser.parse_args()
    found = {layout: measure(layout, chosen.tokens, chosen.rounds) for layout in ("shared-prefix", "classic")}
    shared, classic = summary(found["shared-prefix"]), summary(found["classic"])
    print_table(
        f"A change of role over a conversation of {found['classic'][0].prompt} tokens (medians, this machine's CPU)",
        ("", "shared-prefix", "classic", "classic / shared"),
        [
            ("prefilled tokens", f"{shared[0]:.0f}", f"{classic[0]:.0f}", f"{classic[0] / shared[0]:.0f} x"),
            ("time to first token, s", f"{shared[1]:.2f}", f"{classic[1]:.2f}", f"{classic[1] / shared[1]:.0f} x"),
        ],
    )
    print_table(
        "Each role in turn, the first conversation",
        ("role", "prompt tokens", "cached, shared", "prefilled, shared", "prefilled, classic"),
        [
            (one.role, str(one.prompt), str(one.cached), str(one.prefilled), str(other.prefilled))
            for one, other in zip(found["shared-prefix"][: len(ROLES)], found["classic"][: len(ROLES)], strict=True)
        ],
    )


if __name__ == "__main__":
    with clean_up():
        main()
