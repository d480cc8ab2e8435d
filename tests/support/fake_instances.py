"""Instances over the fake engine, whose adapters have the abilities that the fake's calls stand for."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import httpx
import psutil

from ansambl.domain.engine import EngineOptions
from ansambl.domain.lora import LoraAdapter
from ansambl.domain.plan import Placement
from ansambl.domain.units import Bytes
from ansambl.engines.adapters.custom_command import CustomCommand
from ansambl.engines.registry import get_engine
from ansambl.engines.shared.llama_loras import LlamaLoras
from ansambl.engines.shared.vllm_calls import VllmLora, VllmSleep
from ansambl.runtime.engine.instance import EngineInstance
from ansambl.runtime.events import EventLog
from ansambl.runtime.launcher import LocalLauncher
from ansambl.runtime.state_files import StateFolders
from ansambl.testing.fake_engine import fake_engine_command


def fake_placement(script="", *, loras=(), parallel=1, settings=None, words=(), **options):
    """A model "m" on the fake engine; `words` come at the end of its command line."""
    command = fake_engine_command("{port}", script=script, model="m", slots=parallel, **options)
    return Placement(
        model="m", engine="command", checkpoint=None, context=4096, parallel=parallel, loras=tuple(loras),
        settings=settings or {}, options=EngineOptions(command=" ".join(command[:4]),
                                                       arguments=(*command[4:], *words)),
    )  # fmt: skip


def lora(name, identity="1", rank=8, **changes):
    """An adapter for "m" in both formats."""
    files = {"peft": f"/loras/{name}", "gguf": f"/loras/{name}.gguf"}
    return LoraAdapter(name, "m", files, rank, Bytes(1000), identity, **changes)


class SleepingCommand(CustomCommand):
    """The fake with vLLM's sleep."""

    def sleep_calls(self, placement):
        return VllmSleep()


class LoadingCommand(SleepingCommand):
    """The fake with vLLM's LoRA adapters."""

    traits = replace(CustomCommand.traits, lora_formats=frozenset({"peft"}))

    def lora_calls(self, placement):
        return VllmLora(placement.model)


class RankedCommand(LoadingCommand):
    """It is started for the rank of its adapters, 8 at least, and loads none of a greater rank."""

    def lora_calls(self, placement):
        return VllmLora(placement.model, max((8, *(one.rank for one in placement.loras))))


class ListingCommand(CustomCommand):
    """The fake with llama.cpp's LoRA adapters, which it has from its start."""

    traits = replace(CustomCommand.traits, lora_formats=frozenset({"gguf"}))

    def lora_calls(self, placement):
        return LlamaLoras(placement.loras)

    def launch_spec(self, placement, *, port, secret):
        spec = super().launch_spec(placement, port=port, secret=secret)
        words = [word for one in placement.loras for word in ("--lora", one.name)]
        return replace(spec, argv=(*spec.argv, *words))


class Stage:
    """Makes instances, and ends them."""

    def __init__(self, folder):
        self.folder = folder
        self.events = EventLog()
        self.made = []

    def __call__(self, placement, adapter=None, *, model=None, **options):
        placement = replace(placement, model=model) if model else placement
        options = {"states": StateFolders(self.folder, memory=()), "store": None, **options}
        one = EngineInstance(
            placement, adapter or get_engine("command"), launcher=LocalLauncher(), events=self.events,
            log_folder=self.folder / "logs", **options,
        )  # fmt: skip
        self.made.append(one)
        return one


@asynccontextmanager
async def stage(folder):
    """A stage; nothing of what it started is left afterwards."""
    found = Stage(folder)
    try:
        yield found
    finally:
        for one in found.made:
            await one.stop()
        assert not [child for child in psutil.Process().children(recursive=True) if child.status() != "zombie"]


async def say(endpoint, words, **fields):
    """What the engine answers, sent to it directly."""
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        answer = await client.post(
            f"{endpoint.base_url}/chat/completions", headers={"Authorization": f"Bearer {endpoint.key}"},
            json={"messages": [{"role": "user", "content": words}], **fields},
        )  # fmt: skip
    return answer.raise_for_status().json()["choices"][0]["message"]["content"]


def kinds(events):
    """The kinds of all events."""
    return [one.kind for one in events.recent()]
