"""Disturbs a running product in every way at once while clients use it, and then looks whether anything was lost.

Everything random comes from one seed; the schedule of the operating system does not, so a seed repeats what is done and
not what happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from product import Started

from ansambl.runtime.launcher import LOG_VARIABLE

REQUEST_LIMIT = float(os.environ.get("CHAOS_REQUEST_LIMIT", "240"))
"""Seconds after which a request counts as hanging. The patience for a hung engine and several loads fit into it."""
SETTLE_LIMIT = 120.0
MODELS = ("small", "middle", "large")
NAMES = (*MODELS, "helper")
WORDS = ("river", "stone", "lamp", "window", "garden", "letter", "copper", "winter", "harbour", "candle")

CONFIGURATION = """
[recovery]
silence = "4s"

[models.small]
checkpoint = "embedded"
context = 1024
parallel = 2

[models.middle]
checkpoint = "embedded"
context = 2048
parallel = 2

[models.large]
checkpoint = "embedded"
context = 4096
parallel = 1

[roles.helper]
model = "small"
instruction = "You are brief. Edition {edition}."
"""


def configuration(budget: str, edition: int = 0) -> str:
    """The configuration; another `edition` differs in a role. `budget` is RAM that the three models do not fit into."""
    return f'[budget]\nram = "{budget}"\n' + CONFIGURATION.format(edition=edition)


class LostError(Exception):
    """A request ended without an answer and without an error that says why."""


@dataclass
class Report:
    """What was done and what came of it."""

    seed: int
    disturbances: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0
    swaps: int = 0

    @property
    def requests(self) -> int:
        return sum(self.outcomes.values())

    def line(self) -> str:
        """One line for people."""
        done = ", ".join(f"{name} {count}" for name, count in sorted(self.disturbances.items()))
        ended = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
        return (
            f"chaos: seed {self.seed}; {self.requests} requests ({ended}); disturbances: {done}; {self.swaps} swaps; "
            f"slowest request {self.slowest:.1f} s; lost {len(self.lost)}"
        )


class Chaos:
    """One run. `restart` starts the product again after it was killed, on the same port; None where that is not done.

    Args:
        product: the running product.
        config: its configuration file.
        budget: as in that file.
        seed: for everything random.
        restart: starts another product in place of a killed one.
    """

    def __init__(
        self, product: Started, config: Path, budget: str, seed: int,
        restart: Callable[[], Awaitable[Started]] | None = None,
    ) -> None:  # fmt: skip
        self.product = product
        self.report = Report(seed)
        self._config, self._budget, self._restart = config, budget, restart
        self._random = random.Random(seed)  # noqa: S311 - it is to repeat itself
        self._stopped: dict[int, float] = {}
        self._runs = asyncio.Event()
        self._runs.set()
        self._edition, self._file = 0, asyncio.Lock()
        # One connection for each request: its end is then seen by the product as it happens.
        self._client = httpx.AsyncClient(
            base_url=product.address, timeout=httpx.Timeout(REQUEST_LIMIT, connect=10.0), trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )  # fmt: skip

    async def run(self, seconds: float, clients: int, every: float) -> Report:
        """Use and disturb it for `seconds`, with a disturbance about `every` that many; then let it settle and check.

        Raises:
            AssertionError: something was lost, left behind or does not work any more.
        """
        end, seed = time.monotonic() + seconds, self.report.seed
        async with self._client:
            users = [
                asyncio.create_task(self._use(number, random.Random(f"{seed}/{number}"), end))  # noqa: S311
                for number in range(clients)
            ]
            disturbing = asyncio.create_task(self._disturb(end, every))
            await asyncio.gather(disturbing, *users)
            self._go_on()
            await self._check()
        return self.report

    # Clients.

    async def _use(self, number: int, own: random.Random, end: float) -> None:
        talk: list[dict[str, str]] = []
        while time.monotonic() < end:
            await self._runs.wait()
            if not talk or len(talk) > 6 or own.random() < 0.3:
                talk = []
            words = " ".join(own.choices(WORDS, k=own.choice((3, 10, 60))))
            talk.append({"role": "user", "content": f"Client {number}. Say something about: {words}."})
            began = time.monotonic()
            try:
                outcome, said = await self._ask(own, talk)
            except LostError as lost:
                outcome, said = "lost", ""
                self.report.lost.append(f"client {number}: {lost}")
            self.report.outcomes[outcome] += 1
            self.report.slowest = max(self.report.slowest, time.monotonic() - began)
            if said:
                talk.append({"role": "assistant", "content": said})
            else:
                talk.pop()
            if outcome.startswith("error"):
                await asyncio.sleep(own.uniform(0.1, 1.0))
            elif own.random() < 0.2:
                await asyncio.sleep(own.uniform(0.0, 1.0))

    async def _ask(self, own: random.Random, talk: list[dict[str, str]]) -> tuple[str, str]:
        """One request; how it ended, and what was said where that was an answer."""
        headers = {}
        kind = own.random()
        if kind < 0.1:
            headers["X-Task"] = "title_generation"
        elif kind < 0.4:
            headers["X-Ansambl-Class"] = own.choice(("interactive", "batch", "background"))
            headers["X-Ansambl-Patience"] = "60"
        leaves = own.uniform(0.0, 1.5) if own.random() < 0.15 else None
        stream = own.random() < 0.6
        body = {
            "model": own.choice(NAMES), "messages": talk, "max_tokens": own.choice((4, 16, 48)), "stream": stream,
        }  # fmt: skip
        ask = self._streamed(body, headers) if stream else self._whole(body, headers)
        killed_before = self.report.disturbances["ansambl killed"]
        try:
            async with asyncio.timeout(leaves):
                return await ask
        except TimeoutError:
            if leaves is not None:
                return "left", ""
            raise
        except httpx.TimeoutException as slow:
            message = f"nothing for {REQUEST_LIMIT:.0f} s: {body['model']}, {type(slow).__name__}"
            raise LostError(message) from slow
        except httpx.TransportError as failure:
            if self.report.disturbances["ansambl killed"] > killed_before or not self._runs.is_set():
                # Nobody is there who could say anything.
                return "ansambl was gone", ""
            message = f"{type(failure).__name__} {failure}: {body['model']}, stream {stream}"
            raise LostError(message) from failure

    async def _whole(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[str, str]:
        answer = await self._client.post("/v1/chat/completions", json=body, headers=headers)
        return _judged(answer.status_code, answer.content)

    async def _streamed(self, body: dict[str, Any], headers: dict[str, str]) -> tuple[str, str]:
        async with self._client.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
            if answer.status_code != 200:
                return _judged(answer.status_code, await answer.aread())
            said: list[str] = []
            finished = False
            async for line in answer.aiter_lines():
                if not line.startswith("data: "):
                    continue
                data = line.removeprefix("data: ")
                if data == "[DONE]":
                    finished = True
                    continue
                event = json.loads(data)
                if "error" in event:
                    return f"error event {event['error'].get('code')}", ""
                said += [one.get("delta", {}).get("content") or "" for one in event.get("choices", ())]
        if not finished:
            message = f"a stream without an end and without an error: {body['model']}"
            raise LostError(message)
        return "streamed", "".join(said)

    # Disturbances.

    async def _disturb(self, end: float, every: float) -> None:
        deeds: list[tuple[int, Callable[[], Awaitable[str | None]]]] = [
            (4, self._kill_engine), (4, self._hang_engine), (2, self._stop_model), (2, self._wake_model),
            (1, self._sleep_model), (2, self._reload), (1, self._reload_broken),
        ]  # fmt: skip
        if self._restart is not None:
            deeds.append((1, self._kill_ansambl))
        # Dealt like cards, so that a short run has some of each.
        deck: list[Callable[[], Awaitable[str | None]]] = []
        doing: list[asyncio.Task[None]] = []
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, self._random.expovariate(1 / every)))
            if not deck:
                deck = [act for weight, act in deeds for _ in range(weight)]
                self._random.shuffle(deck)
            act = deck.pop()
            if act == self._kill_ansambl:
                await self._do(act)
            else:
                # To wake a model may take long, and the next blow falls meanwhile.
                doing.append(asyncio.create_task(self._do(act)))
            for pid, until in tuple(self._stopped.items()):
                if time.monotonic() > until:
                    self._go_on(pid)
        await asyncio.gather(*doing)

    async def _do(self, act: Callable[[], Awaitable[str | None]]) -> None:
        done = await act()
        if done is not None:
            self.report.disturbances[done] += 1

    def _engine(self) -> int | None:
        pids = sorted(engines_of(self.product.data))
        return self._random.choice(pids) if pids else None

    async def _kill_engine(self) -> str | None:
        pid = self._engine()
        if pid is None:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return "engine killed"

    async def _hang_engine(self) -> str | None:
        pid = self._engine()
        if pid is None or pid in self._stopped:
            return None
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
        # Some go on before anybody notices, others never do.
        self._stopped[pid] = time.monotonic() + self._random.choice((0.5, 2.0, 600.0))
        return "engine stopped"

    def _go_on(self, pid: int | None = None) -> None:
        for one in [pid] if pid is not None else list(self._stopped):
            self._stopped.pop(one, None)
            with contextlib.suppress(ProcessLookupError):
                if one in engines_of(self.product.data):
                    os.kill(one, signal.SIGCONT)

    async def _admin(self, path: str) -> int:
        """The status of a POST to the admin API; 0 when it does not answer in time or nobody is there."""
        token = self.product.token
        with contextlib.suppress(httpx.TransportError):
            answer = await self._client.post(
                f"/admin/api/{path}", headers={"Authorization": f"Bearer {token}"}, timeout=20.0
            )
            return answer.status_code
        return 0

    def _expected(self, deed: str, status: int, expected: set[int]) -> str:
        """What is counted of a deed. Its status is 0 where no answer was waited for, or nobody was there."""
        if status not in expected:
            self.report.wrong.append(f"{deed} was answered with status {status}")
        return f"{deed} done" if status == 200 else f"{deed} refused" if status else f"{deed} unanswered"

    async def _stop_model(self) -> str:
        status = await self._admin(f"instances/{self._random.choice(MODELS)}/stop")
        return self._expected("stop", status, {0, 200})

    async def _wake_model(self) -> str:
        status = await self._admin(f"instances/{self._random.choice(MODELS)}/wake")
        return self._expected("wake", status, {0, 200, 503})

    async def _sleep_model(self) -> str:
        status = await self._admin(f"instances/{self._random.choice(MODELS)}/sleep")
        # llama.cpp cannot sleep, and one that does not run can neither.
        return self._expected("sleep", status, {0, 200, 501, 503})

    async def _reload(self) -> str:
        async with self._file:
            self._edition += 1
            self._config.write_text(configuration(self._budget, self._edition), encoding="utf-8")
            return self._expected("reload", await self._admin("reload"), {0, 200})

    async def _reload_broken(self) -> str:
        async with self._file:
            self._config.write_text("[models.small\ncheckpoint = ", encoding="utf-8")
            done = self._expected("reload of a broken file", await self._admin("reload"), {0, 400})
            self._config.write_text(configuration(self._budget, self._edition), encoding="utf-8")
        return done

    async def _kill_ansambl(self) -> str:
        assert self._restart is not None
        self._runs.clear()
        with contextlib.suppress(httpx.TransportError):
            self._count_swaps((await self._client.get("/admin/api/state", timeout=5.0)).json())
        self.report.disturbances["ansambl killed"] += 1
        self.product.process.kill()
        await asyncio.to_thread(self.product.process.wait)
        await asyncio.sleep(self._random.uniform(0.0, 1.0))
        async with self._file:
            self.product = await self._restart()
        self._runs.set()
        return "ansambl started again"

    # Afterwards.

    async def _check(self) -> None:
        """Raises AssertionError when something was lost, is left over, or does not work."""
        assert not self.report.lost, self.report.lost
        assert not self.report.wrong, self.report.wrong
        for model in MODELS:
            await self._answers(model)
        state = await self._settled()
        self._count_swaps(state)
        self._check_ledger(state)
        await self._check_slots()

    def _count_swaps(self, state: dict[str, Any]) -> None:
        """A new Ansambl counts from nothing."""
        self.report.swaps += sum(one["swaps"] for one in state["instances"])

    async def _answers(self, model: str) -> None:
        """A fresh request to it is answered, once a circuit breaker's pause is over."""
        body = {"model": model, "messages": [{"role": "user", "content": "Are you there?"}], "max_tokens": 4}
        end, outcome = time.monotonic() + SETTLE_LIMIT, ""
        while time.monotonic() < end:
            answer = await self._client.post("/v1/chat/completions", json=body)
            outcome, _ = _judged(answer.status_code, answer.content)
            if outcome == "whole":
                return
            await asyncio.sleep(min(5.0, float(answer.headers.get("retry-after", 1))))
        message = f"{model} does not answer any more: {outcome}"
        raise AssertionError(message)

    async def _settled(self) -> dict[str, Any]:
        """The state when nothing runs, waits, loads or leaves."""
        end = time.monotonic() + SETTLE_LIMIT
        while True:
            state: dict[str, Any] = (await self._client.get("/admin/api/state")).json()
            busy = [
                f"{one['model']}: running {one['running']}, waiting {one['waiting']}, {one['residency']}"
                for one in state["instances"]
                if one["running"] or one["waiting"] or one["residency"] in {"loading", "draining", "leaving"}
            ]
            if not busy:
                return state
            assert time.monotonic() < end, f"a place is still taken: {busy}"
            await asyncio.sleep(0.2)

    def _check_ledger(self, state: dict[str, Any]) -> None:
        """Reserved is what the resident models hold, and no more than there is."""
        reserved: Counter[str] = Counter()
        for one in state["instances"]:
            if one["residency"] == "out":
                assert not any(one["reserved"].values()), f"{one['model']} is out and has {one['reserved']} reserved"
                assert one["pid"] is None, f"{one['model']} is out and runs"
            reserved.update(one["reserved"])
        assert state["devices"]
        for one in state["devices"]:
            assert one["reserved"] == reserved[one["device"]], f"{one} but its models have {reserved}"
            assert one["reserved"] <= one["capacity"], f"over-committed: {one}"

    async def _check_slots(self) -> None:
        """No slot of an engine is busy, by what the engine says itself."""
        end = time.monotonic() + 10.0
        for model, (port, secret) in handles(self.product.data).items():
            while True:
                async with httpx.AsyncClient(trust_env=False, timeout=10.0) as client:
                    answer = await client.get(
                        f"http://127.0.0.1:{port}/slots", headers={"Authorization": f"Bearer {secret}"}
                    )
                busy = [one["id"] for one in answer.raise_for_status().json() if one["is_processing"]]
                if not busy:
                    break
                assert time.monotonic() < end, f"slots {busy} of {model} are still busy"
                await asyncio.sleep(0.2)


def _judged(status: int, body: bytes) -> tuple[str, str]:
    """How a whole answer ended.

    Raises:
        LostError: it is neither an answer nor an error that says why.
    """
    try:
        content = json.loads(body)
        if status == 200:
            return "whole", content["choices"][0]["message"]["content"] or ""
        return f"error {status} {content['error']['code']}", ""
    except (ValueError, KeyError, IndexError, TypeError) as failure:
        message = f"status {status} with {body[:200]!r}"
        raise LostError(message) from failure


def engines_of(data: Path) -> set[int]:
    """The engines' processes of a data folder that run, known or not, by the mark in their environment."""
    found = set()
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            log = one.environ().get(LOG_VARIABLE)
            if log is not None and Path(log).is_relative_to(data) and one.status() != psutil.STATUS_ZOMBIE:
                found.add(one.pid)
    return found


def handles(data: Path) -> dict[str, tuple[int, str]]:
    """Port and key of each engine that is written down, by model."""
    with contextlib.closing(sqlite3.connect(f"file:{data / 'ansambl.db'}?mode=ro", uri=True)) as database:
        rows = [json.loads(row[0]) for row in database.execute("SELECT handle FROM instances")]
    return {one["model"]: (one["port"], one["secret"]) for one in rows}
