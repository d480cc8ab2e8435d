"""Four roles at once and a merge, against what other tools do: separate calls, one after another.

The council answers one request: the conversation is prefilled once, copied into four slots, the roles answer at once,
and a conductor merges. Classic is four calls with the role's instruction first, and a fifth that carries the four
answers. Both run through the HTTP API on the real engine, each on one freshly started, over conversations that share
nothing with each other; every answer has the same number of tokens on both sides. Prefilled tokens are prompt tokens
minus cached tokens, as the engine reports them. Classic is measured with Ansambl's settings for the embedded model,
which favour short prefills, and with the engine's own, which favour long ones; ratios are against the quicker of both.
Absolute times are those of this machine's CPU; the token counts hold anywhere.

Two cases are measured. The engine has not seen a new conversation, and both sides must read it at least once: five
calls against one read bound what can be saved to about five times. In one that goes on, a single role has just
answered: there the council finds the conversation in the engine, and classic finds it for the one role that answered.

    python benchmarks/council.py [--tokens 2000] [--rounds 1]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from role_switch import ROLES, conversation, print_table
from support.processes import clean_up, start_ansambl, stop

CONDUCTOR = "summariser"
SINGLE = "brief"
"""The role that has answered alone where a conversation goes on."""
NEXT_QUESTION = "And which of these is the first to be mended?"
CASES = ("a new conversation", "one that goes on")
MODEL = "embedded"
ANSWER_TOKENS = 48
FASTER, FEWER = 6, 10
"""What a council is meant to reach: times faster end to end, and times fewer prefilled tokens."""


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to get the merged answer. `arguments` are the engine's; None leaves Ansambl's own."""

    title: str
    council: bool
    arguments: tuple[str, ...] | None = None


VARIANTS = (
    Variant("council", council=True),
    Variant("classic, same settings", council=False),
    Variant("classic, engine's settings", council=False, arguments=("--flash-attn", "auto", "--ubatch-size", "512")),
)


@dataclass(frozen=True, slots=True)
class Answered:
    """One merged answer: seconds from the first request to the last token, tokens of all calls together."""

    seconds: float
    prefilled: int
    prompt: int
    output: int
    sharing: str = ""


def ask(client: httpx.Client, model: str, messages: list[dict[str, str]]) -> tuple[dict[str, Any], dict[str, int]]:
    """One answer of exactly `ANSWER_TOKENS` tokens (by each call that it takes): the whole body, and its usage."""
    body = {"model": model, "messages": messages, "max_tokens": ANSWER_TOKENS, "temperature": 0, "ignore_eos": True}
    found = client.post("/v1/chat/completions", json=body).raise_for_status().json()
    return found, found["usage"]


def counted(began: float, usages: list[dict[str, Any]], sharing: str = "") -> Answered:
    """Add up what the calls since `began` took."""
    prompt = sum(one["prompt_tokens"] for one in usages)
    cached = sum(one["prompt_tokens_details"]["cached_tokens"] for one in usages)
    output = sum(one["completion_tokens"] for one in usages)
    return Answered(time.perf_counter() - began, prompt - cached, prompt, output, sharing)


def by_council(client: httpx.Client, messages: list[dict[str, str]]) -> Answered:
    """One request to the ensemble."""
    began = time.perf_counter()
    found, usage = ask(client, "four", messages)
    return counted(began, [usage], ", ".join(one["how"] for one in found["ansambl"]["sharing"]))


def by_calls(client: httpx.Client, messages: list[dict[str, str]]) -> Answered:
    """Four requests, and a fifth with their answers."""
    began = time.perf_counter()
    answers, usages = [], []
    for role in ROLES:
        found, usage = ask(client, role, messages)
        answers.append(f"[{role}]\n{found['choices'][0]['message']['content']}")
        usages.append(usage)
    wish = "Merge these answers into one."
    merging = {"role": "user", "content": "\n\n".join((messages[-1]["content"], *answers, wish))}
    usages.append(ask(client, CONDUCTOR, [*messages[:-1], merging])[1])
    return counted(began, usages)


def distinct(name: str, tokens: int) -> list[dict[str, str]]:
    """A conversation that begins like no other one."""
    messages = conversation(tokens)
    messages[0]["content"] = f"{name}. {messages[0]['content']}"
    return messages


def measure(variant: Variant, tokens: int, rounds: int) -> list[tuple[Answered, Answered]]:
    """Get `rounds` pairs of merged answers on a fresh engine, one for each case, no two over the same conversation."""
    layout = "shared-prefix" if variant.council else "classic"
    configuration = "".join(f'[roles.{role}]\nlayout = "{layout}"\n' for role in (*ROLES, CONDUCTOR))
    configuration += f'[models.{MODEL}]\ncheckpoint = "embedded"\n'
    if variant.arguments is not None:
        configuration += f"arguments = {json.dumps(variant.arguments)}\n"
    configuration += f'[ensembles.four]\npattern = "council"\nroles = {json.dumps(ROLES)}\nconductor = "{CONDUCTOR}"\n'
    configuration += f"branch_tokens = {ANSWER_TOKENS}\nanswer_tokens = {ANSWER_TOKENS}\n"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        pid, port = start_ansambl(configuration, Path(folder))
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=900, trust_env=False) as client:
            # The engine is loaded before anything is timed.
            ask(client, MODEL, [{"role": "user", "content": "Hello"}])
            for number in range(rounds):
                answer = by_council if variant.council else by_calls
                first = answer(client, distinct(f"New {number}", tokens))
                messages = distinct(f"Going on {number}", tokens)
                said = ask(client, SINGLE, messages)[0]["choices"][0]["message"]["content"]
                messages += [{"role": "assistant", "content": said}, {"role": "user", "content": NEXT_QUESTION}]
                found.append((first, answer(client, messages)))
        stop(pid)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2000, help="length of the shared conversation, about")
    parser.add_argument("--rounds", type=int, default=1, help="conversations for each way")
    chosen = parser.parse_args()
    measured = [measure(variant, chosen.tokens, chosen.rounds) for variant in VARIANTS]
    for case, title in enumerate(CASES):
        show(title, chosen.tokens, [[pair[case] for pair in pairs] for pairs in measured])


def show(case: str, tokens: int, measured: list[list[Answered]]) -> None:
    """Print what each variant took, and the ratios."""
    rows = []
    for variant, answers in zip(VARIANTS, measured, strict=True):
        seconds = statistics.median(one.seconds for one in answers)
        prefilled = statistics.median(one.prefilled for one in answers)
        rows.append((variant.title, seconds, prefilled, answers[0]))
    council, *classics = rows
    quickest, fewest = min(one[1] for one in classics), min(one[2] for one in classics)
    print_table(
        f"Four roles and a merge over {tokens} shared tokens, about: {case} (medians; this machine's CPU)",
        ("", "seconds", "prefilled tokens", "prompt tokens", "output tokens", "sharing"),
        [
            (title, f"{seconds:.1f}", f"{prefilled:.0f}", str(first.prompt), str(first.output), first.sharing)
            for title, seconds, prefilled, first in rows
        ],
    )
    print_table(
        f"Classic against the council: {case}",
        ("", "ratio", "aim"),
        [
            ("end to end", f"{quickest / council[1]:.1f} x", f"{FASTER} x"),
            ("prefilled tokens", f"{fewest / council[2]:.1f} x", f"{FEWER} x"),
        ],
    )


if __name__ == "__main__":
    with clean_up():
        main()
