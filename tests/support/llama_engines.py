"""The two real builds of llama.cpp that tests run: the bundled one, and a llama-server where the machine has one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from ansambl.domain.engine import EngineOptions, Installed, Surroundings
from ansambl.domain.instance import LoadMeasurement
from ansambl.domain.model import Checkpoint
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.engines.registry import get_engine
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.state_files import StateFolders

BUNDLED, OWN = "llama.cpp-bundled", "llama.cpp"
VARIABLE = "ANSAMBL_TEST_LLAMA_SERVER"


def installed(engine: str) -> Installed:
    """The engine on this machine; the test is skipped where a llama-server is wanted and there is none."""
    program = os.environ.get(VARIABLE) or shutil.which("llama-server")
    if engine == OWN and program is None:
        pytest.skip(
            f"no llama-server on this machine: build or install llama.cpp (ansambl engines install llama.cpp), and put "
            f"it on the PATH or its path into {VARIABLE}"
        )
    found = get_engine(engine).detect(Surroundings(program=program if engine == OWN else None))
    if not isinstance(found, Installed):
        pytest.fail(f"{found.reason.render()}; {found.how_to_fix.render()}")
    return found


def checkpoint_of(path: Path, context: int = 512) -> Checkpoint:
    """A GGUF file that a test has written."""
    return Checkpoint(path.name, str(path), "gguf", Bytes(path.stat().st_size), f"test {path}", context=context)


class Engines:
    """Runs instances of one build of llama.cpp, and ends them."""

    def __init__(self, engine: str, folder: Path) -> None:
        self.installed = installed(engine)
        self.engine = engine
        self.adapter = get_engine(engine)
        self.events = EventLog()
        self.loads: list[LoadMeasurement] = []
        self._folder = folder
        self._made: list[EngineInstance] = []

    def placement(self, checkpoint: Checkpoint, **more: Any) -> Placement:
        """Two slots of 1,024 tokens on two threads, unless said otherwise."""
        values: dict[str, Any] = {
            "model": "tiny", "engine": self.engine, "checkpoint": checkpoint, "context": 1024, "parallel": 2,
            "threads": 2, "installed": self.installed, "options": EngineOptions(arguments=("--no-warmup",)), **more,
        }  # fmt: skip
        if checkpoint.context is not None:
            values["context"] = min(values["context"], checkpoint.context)
        return Placement(**values)

    def instance(self, placement: Placement) -> EngineInstance:
        """An instance that is not started yet."""
        number = len(self._made)
        memory = self._folder / f"memory-{number}"
        memory.mkdir(parents=True)
        one = EngineInstance(
            placement, self.adapter, launcher=LocalLauncher(), store=None, events=self.events,
            log_folder=self._folder / f"logs-{number}", states=StateFolders(self._folder / f"data-{number}", (memory,)),
            on_ready=self.loads.append,
        )  # fmt: skip
        self._made.append(one)
        return one

    @contextlib.asynccontextmanager
    async def started(self, checkpoint: Checkpoint, **more: Any) -> AsyncIterator[Running]:
        """An instance that answers, until the block ends."""
        placement = self.placement(checkpoint, **more)
        instance = self.instance(placement)
        endpoint = await instance.ensure_ready()
        root = endpoint.base_url.removesuffix("/v1")
        async with httpx.AsyncClient(
            base_url=root, headers={"Authorization": f"Bearer {endpoint.key}"}, trust_env=False, timeout=60
        ) as client:
            yield Running(self, placement, instance, client)
        await instance.stop()

    async def close(self) -> None:
        """End what still runs."""
        for one in self._made:
            await one.stop()


class Running:
    """A running engine with a client of its own, past the gateway."""

    def __init__(
        self, engines: Engines, placement: Placement, instance: EngineInstance, client: httpx.AsyncClient
    ) -> None:
        self.engines = engines
        self.placement = placement
        self.instance = instance
        self.client = client

    async def post(self, path: str, body: Mapping[str, Any] | bytes) -> dict[str, Any]:
        """A request that must succeed."""
        if isinstance(body, bytes):
            answer = await self.client.post(path, content=body, headers={"Content-Type": "application/json"})
        else:
            answer = await self.client.post(path, json=dict(body))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def metrics(self) -> Any:
        """What its metrics page says, as our adapter reads it."""
        return self.engines.adapter.read_metrics((await self.client.get("/metrics")).text)


def chat_body(words: str, tokens: int = 16, **more: Any) -> dict[str, Any]:
    """A chat request whose answer is always the same."""
    return {"messages": [{"role": "user", "content": words}], "max_tokens": tokens, "temperature": 0, **more}


def said(answer: Mapping[str, Any]) -> str:
    """The words of an answer."""
    found: str = answer["choices"][0]["message"]["content"]
    return found


def cached(answer: Mapping[str, Any]) -> int:
    """How many tokens of its prompt were not read again."""
    found: int = answer["usage"]["prompt_tokens_details"]["cached_tokens"]
    return found
