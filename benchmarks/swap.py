"""What a swap costs a conversation: brought back from the disk beside read again, in one run.

Two models share a RAM budget that holds one of them. A conversation is held with the first, the second is asked
something, and the conversation goes on: its model has to be loaded again. Measured is the time from sending that turn
to its first token, the load of the model included, with saved conversations and without them (``persist = false``).
Both times the product is asked, through its gateway.

Then, on one engine alone: what saving and restoring take, and the largest pause between two tokens of another slot
that writes meanwhile, beside its largest pause when nothing is saved.

    python benchmarks/swap.py [--tokens 2000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from ansambl.app.data_folder import MIGRATIONS
from ansambl.domain.engine import EngineOptions, Installed
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import GIB, MIB
from ansambl.engines.registry import get_engine
from ansambl.foundation.clock import RealClock
from ansambl.foundation.paths import default_data_folder
from ansambl.foundation.sqlite import Database, load_migrations
from ansambl.model_catalog.embedded import find
from ansambl.runtime.carrying import Lease
from ansambl.runtime.conversations.conversations import Conversations
from ansambl.runtime.conversations.store import ConversationStore
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.state_files import StateFolders
from role_switch import conversation
from support.figures import Row, ratio, spread, table
from support.processes import BenchmarkError, clean_up, start_ansambl, stop

ENGINE = "llama.cpp-bundled"
FIRST, SECOND = "first", "second"
CONFIGURATION = """
[budget]
ram = "{budget}MiB"

[conversations]
persist = {persist}

[models.first]
checkpoint = "embedded"
context = {context}
parallel = 1

[models.second]
checkpoint = "embedded"
context = 1024
parallel = 1

[engines."llama.cpp-bundled"]
prompt_cache = 0
"""
ENOUGH = 0.95
"""The share of a prompt that must come back."""
NOTHING = 64
"""Tokens that may be cached where nothing was brought back: the template's own words."""
ANSWER_TOKENS = 16
WRITTEN_TOKENS = 300


@dataclass(frozen=True, slots=True)
class Turn:
    """One streamed answer; `first_token` in seconds, `gaps` the seconds between its tokens."""

    words: str
    prompt: int
    cached: int
    first_token: float
    gaps: tuple[float, ...]


def read_turn(lines: Sequence[tuple[float, str]]) -> Turn:
    """An answer from its stream's lines with the seconds at which each came.

    Raises:
        BenchmarkError: there is no answer in it.
    """
    words, usage, times = "", None, []
    for at, line in lines:
        if not line.startswith("data: {"):
            continue
        event = json.loads(line[6:])
        usage = event.get("usage") or usage
        content = (event.get("choices") or [{}])[0].get("delta", {}).get("content")
        if content:
            words += content
            times.append(at)
    if usage is None or not times:
        raise BenchmarkError(f"no answer: {[line for _, line in lines][:3]}")
    gaps = tuple(later - earlier for earlier, later in itertools.pairwise(times))
    return Turn(words, usage["prompt_tokens"], usage["prompt_tokens_details"]["cached_tokens"], times[0], gaps)


def body_of(messages: list[dict[str, str]], model: str, tokens: int, **more: Any) -> dict[str, Any]:
    """A streamed request whose answer is always the same."""
    return {
        "model": model, "messages": messages, "stream": True, "max_tokens": tokens, "temperature": 0,
        "stream_options": {"include_usage": True}, **more,
    }  # fmt: skip


# Through the product.


def ask(client: httpx.Client, model: str, messages: list[dict[str, str]]) -> Turn:
    """Ask one model through the gateway."""
    began = time.perf_counter()
    with client.stream("POST", "/v1/chat/completions", json=body_of(messages, model, ANSWER_TOKENS)) as answer:
        if answer.status_code != 200:
            raise BenchmarkError(f"{model}: {answer.status_code} {answer.read()[:300]!r}")
        lines = [(time.perf_counter() - began, line) for line in answer.iter_lines()]
    return read_turn(lines)


def budget_for(context: int) -> int:
    """MiB that hold either model and not both: their files, their KV, and room for one engine beside."""
    file = find(default_data_folder() / "models").size / MIB
    kv = 30 * 3 * 128 * 2 * context / MIB
    return round(1.45 * (file + kv + 110))


def swaps(tokens: int, rounds: int, *, persist: bool) -> tuple[list[Turn], float]:
    """The turns that came after a swap, and the MiB that are kept on the disk at the end."""
    context = 1024 * (tokens // 1024 + 2)
    written = CONFIGURATION.format(budget=budget_for(context), persist=str(persist).lower(), context=context)
    turns, kept = [], 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        models = folder / "data" / "models"
        models.parent.mkdir(parents=True)
        models.symlink_to(default_data_folder() / "models")
        pid, port = start_ansambl(written, folder)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600, trust_env=False) as client:
            for number in range(rounds):
                messages = conversation(tokens)
                messages[0]["content"] = f"Conversation {number}. {messages[0]['content']}"
                answer = ask(client, FIRST, messages)
                ask(client, SECOND, [{"role": "user", "content": "What is the capital of France?"}])
                more = [{"role": "assistant", "content": answer.words}, {"role": "user", "content": "Why is that so?"}]
                turns.append(ask(client, FIRST, [*messages, *more]))
                files = (folder / "data" / "conversations").glob("*.state")
                kept = max([kept, *(one.stat().st_size / MIB for one in files)])
        stop(pid)
    return turns, kept


def compare(tokens: int, rounds: int) -> None:
    """Print what the next turn costs after a swap, both ways.

    Raises:
        BenchmarkError: the models were never swapped, or nothing was brought back.
    """
    saved, kept = swaps(tokens, rounds, persist=True)
    read, _ = swaps(tokens, rounds, persist=False)
    if any(one.cached > NOTHING for one in read):
        raise BenchmarkError("there was no swap: the conversation was still in the engine")
    if any(one.cached < ENOUGH * one.prompt for one in saved):
        raise BenchmarkError(f"only {min(one.cached for one in saved)} tokens were brought back")
    rows = [
        Row("time to the first token, the model's load included", "s", spread([one.first_token for one in read]),
            spread([one.first_token for one in saved])),
        Row("prompt tokens", "tokens", spread([one.prompt for one in read]), spread([one.prompt for one in saved])),
        Row("of these read", "tokens", spread([one.prompt - one.cached for one in read]),
            spread([one.prompt - one.cached for one in saved])),
    ]  # fmt: skip
    print(f"The next turn of a conversation after a swap ({rounds} rounds; median and range)\n")
    print(table(rows, "read again", "brought back"))
    share = min(one.cached / one.prompt for one in saved)
    print(f"\nBrought back it is {ratio(rows[0])} times faster; at least {share:.1%} of the prompt came back.")
    print(f"The largest state on the disk is {kept:.1f} MiB.\n")


# On one engine.


class Stage:
    """One engine with two slots, and the conversations that are kept of it."""

    def __init__(self, folder: Path, checkpoint: Checkpoint, context: int) -> None:
        adapter, events, self.clock = get_engine(ENGINE), EventLog(), RealClock()
        installed = adapter.detect()
        if not isinstance(installed, Installed):
            raise BenchmarkError(installed.reason.render())
        placement = Placement(
            "first", ENGINE, checkpoint, context, 2, options=EngineOptions(), installed=installed,
            settings={"n_ubatch": 64},
        )  # fmt: skip
        self.instance = EngineInstance(
            placement, adapter, launcher=LocalLauncher(), store=None, events=events, log_folder=folder / "logs",
            states=StateFolders(folder),
        )  # fmt: skip
        self.database = Database(folder / "bench.db", load_migrations(MIGRATIONS))
        self.kept = Conversations(ConversationStore(self.database), folder / "kept", 8 * GIB, self.clock, events)

    async def lease(self, slot: int, messages: list[dict[str, str]]) -> Lease:
        """A slot of the engine."""
        endpoint = await self.instance.ensure_ready()
        calls = self.instance.conversations()
        return Lease("first", endpoint, 0.0, slot=slot, calls=calls, prompt=json.dumps(messages).encode())

    async def ask(self, lease: Lease, messages: list[dict[str, str]], tokens: int, **more: Any) -> Turn:
        """A streamed answer of one slot."""
        if lease.calls is None or lease.slot is None:
            raise BenchmarkError("the engine has no slots")
        body = lease.calls.pinned(json.dumps(body_of(messages, "first", tokens, **more)).encode(), lease.slot)
        headers = {"Authorization": f"Bearer {lease.endpoint.key}", "Content-Type": "application/json"}
        async with httpx.AsyncClient(base_url=lease.endpoint.base_url, headers=headers, timeout=600) as client:
            began = time.perf_counter()
            async with client.stream("POST", "/chat/completions", content=body) as answer:
                lines = [(time.perf_counter() - began, line) async for line in answer.aiter_lines()]
        return read_turn(lines)

    async def save(self, lease: Lease) -> float:
        """Save what the slot of a lease holds; returns the seconds."""
        identity, held = self.instance.state_identity(), {lease.slot or 0: lease.prompt}
        if lease.calls is None:
            raise BenchmarkError("the engine has no slots")
        await self.kept.remove_all()
        began = time.perf_counter()
        count = await self.kept.save("first", lease.endpoint, lease.calls, identity, held, patience=60)
        took = time.perf_counter() - began
        if count != 1:
            raise BenchmarkError("the conversation was not saved")
        return took

    async def restore(self, lease: Lease) -> float:
        """Restore it; returns the seconds."""
        began = time.perf_counter()
        tokens = await self.kept.bring_back(lease, self.instance.state_identity(), b"")
        took = time.perf_counter() - began
        if not tokens:
            raise BenchmarkError("the conversation was not restored")
        return took


async def measure_parts(tokens: int, rounds: int) -> None:
    """Print what saving and restoring take, and what another slot notices of it."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder), find(default_data_folder() / "models"), 1024 * (tokens // 1024 + 2))
        await stage.kept.begin()
        messages, other = conversation(tokens), [{"role": "user", "content": "Count from one to a thousand."}]
        lease, writer = await stage.lease(0, messages), await stage.lease(1, other)
        read = await stage.ask(lease, messages, ANSWER_TOKENS)
        quiet = await stage.ask(writer, other, WRITTEN_TOKENS, ignore_eos=True)
        writing = asyncio.create_task(stage.ask(writer, other, WRITTEN_TOKENS, ignore_eos=True))
        saves: list[float] = []
        restores: list[float] = []
        while not writing.done() or len(saves) < rounds:
            saves.append(await stage.save(lease))
            restores.append(await stage.restore(lease))
            await asyncio.sleep(0.2)
        busy, counts = await writing, stage.kept.counts()
        again = await stage.ask(lease, messages, ANSWER_TOKENS)
        await stage.instance.stop()
        stage.database.close()
    rows = [
        Row("reading it", "ms", spread([1000 * read.first_token])),
        Row("saving it, checksum and move included", "ms", spread([1000 * one for one in saves])),
        Row("restoring it, check and copy included", "ms", spread([1000 * one for one in restores])),
        Row("its size", "MiB", spread([counts.size / MIB])),
        Row("cached in the next answer", "%", spread([100 * again.cached / again.prompt])),
        Row("largest pause between tokens of another slot", "ms", spread([1000 * max(busy.gaps)]),
            spread([1000 * max(quiet.gaps)])),
    ]  # fmt: skip
    print(f"A conversation of {read.prompt} tokens on one engine (reference: nothing is saved meanwhile)\n")
    print(table(rows, f"{len(saves)} times", "reference"))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2000, help="length of the conversation")
    parser.add_argument("--rounds", type=int, default=3, help="swaps each way")
    parser.add_argument("--parts", action="store_true", help="only on one engine, without the product")
    chosen = parser.parse_args()
    os.environ.setdefault("ANSAMBL_LANG", "en")
    if not chosen.parts:
        compare(chosen.tokens, chosen.rounds)
    asyncio.run(measure_parts(chosen.tokens, chosen.rounds))


if __name__ == "__main__":
    with clean_up():
        main()
