"""What changing the role costs on the real engine: shared-prefix beside classic, in one run.

One conversation is asked of the four roles in turn. Counted for each change of role: prompt tokens that the engine had
to prefill (prompt tokens minus cached tokens, as it reports them) and the time to the first streamed token. The same is
done with ``layout = "classic"`` (instruction first, as other tools do it), each on a freshly started engine, and
printed as a ratio. Classic is measured twice: with Ansambl's settings for the embedded model, which favour short
prefills, and with the engine's own, which favour the long ones that classic needs; ratios are against the quicker of
both. Absolute times are those of this machine's CPU; the token counts hold anywhere.

    python benchmarks/role_switch.py [--tokens 500 2000 6000] [--rounds 1]
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
PLAIN = "embedded"
SPARE = 64
"""Tokens that a change of role may prefill beyond the newest message and the note: the template's own marks."""
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


def count(client: httpx.Client, written: str) -> int:
    """The tokens of a text as the engine counts them, without the template's marks."""
    totals = []
    for content in (written, "."):
        body = {"model": PLAIN, "max_tokens": 1, "messages": [{"role": "user", "content": content}]}
        answer = client.post("/v1/chat/completions", json=body).raise_for_status().json()
        totals.append(int(answer["usage"]["prompt_tokens"]))
    return totals[0] - totals[1] + 1


def allowed(client: httpx.Client, token: str, role: str, messages: list[dict[str, str]]) -> int:
    """The most that a change to `role` may prefill: the newest message, the role's note and `SPARE`."""
    found = client.post(
        "/admin/api/explain", json={"model": role, "messages": messages}, headers={"authorization": f"Bearer {token}"}
    )
    note = str(found.raise_for_status().json()["note"])
    return count(client, messages[-1]["content"]) + count(client, note) + SPARE


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to run the conversation. `arguments` are the engine's; None leaves Ansambl's own."""

    title: str
    layout: str
    arguments: tuple[str, ...] | None = None


VARIANTS = (
    Variant("shared-prefix", "shared-prefix"),
    Variant("classic, same settings", "classic"),
    Variant("classic, engine's settings", "classic", ("--flash-attn", "auto", "--ubatch-size", "512")),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What one variant gave for one length: `limits` are the tokens that each role may prefill."""

    turns: list[Turn]
    limits: dict[str, int]

    @property
    def changes(self) -> list[Turn]:
        """The turns in which the role changed."""
        return [turn for index, turn in enumerate(self.turns) if index % len(ROLES)]

    @property
    def prefilled(self) -> float:
        """The median of prefilled tokens at a change of role."""
        return statistics.median(one.prefilled for one in self.changes)

    @property
    def first_token(self) -> float:
        """The median of seconds to the first token at a change of role."""
        return statistics.median(one.first_token for one in self.changes)


def measure(variant: Variant, lengths: list[int], rounds: int) -> list[Measured]:
    """Ask the four roles in turn, for each length on a fresh engine; `rounds` conversations that share nothing."""
    configuration = "".join(f'[roles.{role}]\nlayout = "{variant.layout}"\n' for role in ROLES)
    configuration += f'[models.{PLAIN}]\ncheckpoint = "embedded"\n'
    if variant.arguments is not None:
        configuration += f"arguments = {json.dumps(variant.arguments)}\n"
    # Without the engine's own prompt cache, so that a return to a role is not counted as a change of role.
    configuration += '[engines."llama.cpp-bundled"]\nprompt_cache = 0\n'
    found = []
    for tokens in lengths:
        turns: list[Turn] = []
        with tempfile.TemporaryDirectory() as folder:
            pid, port = start_ansambl(configuration, Path(folder))
            token = json.loads((Path(folder) / "data" / "state.json").read_text(encoding="utf-8"))["token"]
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=900, trust_env=False) as client:
                for number in range(rounds):
                    messages = conversation(tokens)
                    messages[0]["content"] = f"Conversation {number}. {messages[0]['content']}"
                    turns += [ask(client, role, messages) for role in ROLES]
                limits = {role: allowed(client, token, role, messages) for role in ROLES}
            stop(pid)
        found.append(Measured(turns, limits))
    return found


def print_table(title: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Print figures beside each other."""
    table = Table(*head, title=title, title_justify="left")
    for row in rows:
        table.add_row(*row)
    Console(width=150).print(table)


def compare(shared: Measured, others: list[Measured]) -> tuple[str, ...]:
    """One row: what a change of role costs here, in classic, and how many times that is."""
    quickest = min(others, key=lambda one: one.first_token)
    saved = quickest.first_token - shared.first_token
    return (
        str(shared.turns[0].prompt), f"{shared.prefilled:.0f}", f"{quickest.prefilled:.0f}",
        f"{quickest.prefilled / shared.prefilled:.0f} x", f"{shared.first_token:.2f}",
        " / ".join(f"{one.first_token:.2f}" for one in others), f"{quickest.first_token / shared.first_token:.0f} x",
        f"{saved:.1f}",
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[500, 2000, 6000], help="lengths of the conversation")
    parser.add_argument("--rounds", type=int, default=1, help="conversations for each length and layout")
    chosen = parser.parse_args()
    shared, *classics = [measure(variant, chosen.tokens, chosen.rounds) for variant in VARIANTS]
    print_table(
        "A change of role (medians; this machine's CPU; classic: Ansambl's / the engine's own settings, ratio against "
        "the quicker)",
        ("prompt tokens", "prefilled", "classic", "ratio", "first token, s", "classic, s", "ratio", "seconds saved"),
        [compare(one, [other[index] for other in classics]) for index, one in enumerate(shared)],
    )
    over = False
    rows = []
    for one in shared:
        for turn in one.changes:
            limit = one.limits[turn.role]
            over = over or turn.prefilled > limit
            rows.append((str(turn.prompt), turn.role, str(turn.prefilled), str(limit), str(turn.prefilled <= limit)))
    print_table(
        f"Prefilled at each change of role, and the limit: the newest message + the note + {SPARE}",
        ("prompt tokens", "role", "prefilled", "limit", "within"),
        rows,
    )
    if over:
        raise SystemExit("a change of role prefilled more than it may")


if __name__ == "__main__":
    with clean_up():
        main()
